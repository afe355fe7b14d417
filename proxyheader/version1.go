package proxyheader

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// A header of version 1 is a line of text (§2.1 of the HAProxy specification).
const (
	lineBegin = "PROXY "
	maxLine   = 107 // with CR and LF
)

// readLine reads the rest of a line of which the beginning is there, a byte at a
// time: what comes behind it is somebody else's.
func readLine(r io.Reader, line []byte) (netip.AddrPort, error) {
	for !bytes.HasSuffix(line, []byte("\r\n")) {
		if len(line) == cap(line) {
			return netip.AddrPort{}, fmt.Errorf("read the PROXY header: no end of line in %d bytes", maxLine)
		}
		next := line[len(line) : len(line)+1]
		if err := fill(r, next); err != nil {
			return netip.AddrPort{}, err
		}
		line = line[:len(line)+1]
	}
	return parseLine(strings.TrimSuffix(string(line), "\r\n"))
}

// parseLine reads "PROXY TCP4 192.0.2.1 192.0.2.53 40000 53".
func parseLine(line string) (netip.AddrPort, error) {
	fields := strings.Split(line, " ")
	if len(fields) != 6 {
		// "UNKNOWN" too: the rules of a client that is not known must not be
		// those of the proxy.
		return netip.AddrPort{}, fmt.Errorf("read the PROXY header: %q names no client", line)
	}
	client, err := parseAddress(fields[1], fields[2], fields[4])
	if err == nil {
		_, err = parseAddress(fields[1], fields[3], fields[5])
	}
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("read the PROXY header: %q: %w", line, err)
	}
	return client, nil
}

func parseAddress(family, address, port string) (netip.AddrPort, error) {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	switch {
	case addr.Zone() != "":
		return netip.AddrPort{}, errors.New("an address with a zone")
	case family == "TCP4" && addr.Is4(), family == "TCP6" && addr.Is6():
	default:
		return netip.AddrPort{}, errors.New("the address is not of the family")
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(number)), nil
}
