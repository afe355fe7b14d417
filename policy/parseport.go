package policy

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/strictyaml"
)

// parsePortRange reads 443, 8000-8100, tcp/443 or udp/8801-8810.
func parsePortRange(text string) (PortRange, error) {
	r := PortRange{Any: true}
	rest := text
	if protocol, after, ok := strings.Cut(text, "/"); ok {
		r.Any, rest = false, after
		switch protocol {
		case "tcp":
			r.Protocol = ProtocolTCP
		case "udp":
			r.Protocol = ProtocolUDP
		default:
			return PortRange{}, fmt.Errorf("%q is not a port: the protocol stands first and is tcp or udp, as in tcp/443", text)
		}
	}
	from, to, isRange := strings.Cut(rest, "-")
	if !isRange {
		to = from
	}
	var okFrom, okTo bool
	r.From, okFrom = parsePort(from)
	r.To, okTo = parsePort(to)
	switch {
	case !okFrom || !okTo:
		return PortRange{}, fmt.Errorf("%q is not a port: write 443, 8000-8100, tcp/443 or udp/8801-8810, each from 1 to 65535", text)
	case r.From > r.To:
		return PortRange{}, fmt.Errorf("%q is upside down: write %s%s-%s", text, strings.TrimSuffix(text, rest), to, from)
	}
	return r, nil
}

// parsePort reads a port number, without signs, spaces or leading zeros.
func parsePort(s string) (uint16, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil && s[0] != '0'
}

// ports makes a field that is a list of port ranges.
func ports(into *[]PortRange) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		items(v, func(item strictyaml.Value) {
			if r, ok := readPortRange(item); ok {
				*into = append(*into, r)
			}
		})
	}
}

// readPortRange reads one port range.
func readPortRange(v strictyaml.Value) (PortRange, bool) {
	text, ok := v.Line()
	if !ok {
		return PortRange{}, false
	}
	r, err := parsePortRange(text)
	if err != nil {
		v.Errorf("%v", err)
		return PortRange{}, false
	}
	r.Position = v.Position()
	return r, true
}
