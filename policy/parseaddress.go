package policy

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// parseIPv6 reads an IPv6 address, in brackets or not.
func parseIPv6(s string) (Host, error) {
	inner, bracketed := strings.CutPrefix(s, "[")
	if bracketed {
		var closed bool
		if inner, closed = strings.CutSuffix(inner, "]"); !closed {
			return Host{}, fmt.Errorf("%q is not an address: it must end with the bracket", s)
		}
	}
	addr, err := netip.ParseAddr(inner)
	switch {
	case err != nil && !bracketed:
		return Host{}, fmt.Errorf("%q is not a name or an address: a port or a scheme does not belong here", s)
	case err != nil || addr.Is4():
		return Host{}, fmt.Errorf("%q is not an IPv6 address", s)
	case addr.Zone() != "":
		return Host{}, fmt.Errorf("%q has a zone: it means something else on every machine; write the address without it", s)
	}
	return HostFromAddr(addr), nil
}

// parseIPv4 reads an IPv4 address as inet_aton(3) and browsers do: one to four
// parts, of which the last fills what the others leave; each decimal, octal
// (leading 0) or hexadecimal (leading 0x).
func parseIPv4(s string) (netip.Addr, bool) {
	if strings.Count(s, ".") > 3 {
		return netip.Addr{}, false
	}
	var addr uint64
	rest := uint64(1 << 32) // values that the parts not yet read may take
	for more := true; more; {
		var part string
		part, s, more = strings.Cut(s, ".")
		n, ok := parseNumber(part)
		if !ok {
			return netip.Addr{}, false
		}
		limit := rest
		if more {
			limit, rest = 256, rest>>8
		}
		if n >= limit {
			return netip.Addr{}, false
		}
		if more {
			n *= rest
		}
		addr += n
	}
	var bytes [4]byte
	binary.BigEndian.PutUint32(bytes[:], uint32(addr))
	return netip.AddrFrom4(bytes), true
}

// isNumber reports whether a name's last label makes the whole an address or
// nothing: digits only, or 0x and hexadecimal digits (WHATWG URL §3.5).
func isNumber(label string) bool {
	digits, hex := cutHexPrefix(label)
	for i := 0; i < len(digits); i++ {
		if v := digitValue(digits[i]); v > 9 && (!hex || v > 15) {
			return false
		}
	}
	return true
}

// parseNumber reads one part of an IPv4 address. A part that is larger than
// any address is not a number.
func parseNumber(s string) (uint64, bool) {
	digits, hex := cutHexPrefix(s)
	base := uint64(10)
	switch {
	case hex:
		base = 16
	case len(s) > 1 && s[0] == '0':
		base = 8
	}
	var n uint64
	for i := 0; i < len(digits); i++ {
		v := digitValue(digits[i])
		if v >= base {
			return 0, false
		}
		if n = n*base + v; n >= 1<<32 {
			return 0, false
		}
	}
	return n, s != ""
}

func cutHexPrefix(s string) (digits string, hex bool) {
	if len(s) >= 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
		return s[2:], true
	}
	return s, false
}

// digitValue is the value of a hexadecimal digit, or more than any digit's.
func digitValue(c byte) uint64 {
	switch {
	case c >= '0' && c <= '9':
		return uint64(c - '0')
	case c >= 'a' && c <= 'f':
		return uint64(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return uint64(c-'A') + 10
	default:
		return 99
	}
}
