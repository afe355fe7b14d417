package ingress

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// A header of version 1 is a line of text (§2.1 of the HAProxy specification).
const (
	proxyLineBegin = "PROXY "
	maxProxyLine   = 107 // with CR and LF
)

// clientOf is who is at the other end of a connection: its address, or behind
// a listed proxy whom the PROXY header names, which must come first and is
// read to its last byte and no further. The connection's deadline bounds it.
func (s *shared) clientOf(conn *net.TCPConn) (netip.AddrPort, error) {
	peer := peerAddress(conn.RemoteAddr())
	if !s.behindProxy(peer.Addr()) {
		return peer, nil
	}
	client, err := readProxyHeader(conn)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if !client.IsValid() {
		return peer, nil // the proxy asks in its own name
	}
	return client, nil
}

// peerAddress is a socket's address as policies and limits know it.
func peerAddress(addr net.Addr) netip.AddrPort {
	var bare netip.AddrPort
	switch addr := addr.(type) {
	case *net.TCPAddr:
		bare = addr.AddrPort()
	case *net.UDPAddr:
		bare = addr.AddrPort()
	}
	return netip.AddrPortFrom(bare.Addr().Unmap().WithZone(""), bare.Port())
}

// readProxyHeader reads a header of either version. The zero AddrPort is a
// proxy that asks in its own name.
func readProxyHeader(r io.Reader) (netip.AddrPort, error) {
	var header [maxProxyHeader]byte
	// The shortest header of either version has as many bytes.
	begin := header[:len("PROXY UNKNOWN\r\n")]
	if _, err := io.ReadFull(r, begin); err != nil {
		return netip.AddrPort{}, fmt.Errorf("read the PROXY header: %w", err)
	}
	if bytes.HasPrefix(begin, []byte(proxyLineBegin)) {
		return readProxyLine(r, header[:0:maxProxyLine], begin)
	}
	if _, err := io.ReadFull(r, header[len(begin):proxyPrefixBytes]); err != nil {
		return netip.AddrPort{}, fmt.Errorf("read the PROXY header: %w", err)
	}
	n, err := proxyHeaderBytes(header[:proxyPrefixBytes])
	if err != nil {
		return netip.AddrPort{}, err
	}
	if _, err := io.ReadFull(r, header[proxyPrefixBytes:n]); err != nil {
		return netip.AddrPort{}, fmt.Errorf("read the PROXY header: %w", err)
	}
	client, _, err := proxyHeader(header[:n])
	return client, err
}

// readProxyLine reads the rest of a line, a byte at a time: what comes behind
// it is somebody else's.
func readProxyLine(r io.Reader, line, begin []byte) (netip.AddrPort, error) {
	line = append(line, begin...)
	for !bytes.HasSuffix(line, []byte("\r\n")) {
		if len(line) == cap(line) {
			return netip.AddrPort{}, fmt.Errorf("read the PROXY header: no end of line in %d bytes", maxProxyLine)
		}
		next := line[len(line) : len(line)+1]
		if _, err := io.ReadFull(r, next); err != nil {
			return netip.AddrPort{}, fmt.Errorf("read the PROXY header: %w", err)
		}
		line = line[:len(line)+1]
	}
	return proxyLine(strings.TrimSuffix(string(line), "\r\n"))
}

// proxyLine reads "PROXY TCP4 192.0.2.1 192.0.2.53 40000 53".
func proxyLine(line string) (netip.AddrPort, error) {
	fields := strings.Split(line, " ")
	if len(fields) != 6 {
		// "UNKNOWN" too: the rules of a client that is not known must not be
		// those of the proxy.
		return netip.AddrPort{}, fmt.Errorf("read the PROXY header: %q names no client", line)
	}
	client, err := proxyLineAddress(fields[1], fields[2], fields[4])
	if err == nil {
		_, err = proxyLineAddress(fields[1], fields[3], fields[5])
	}
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("read the PROXY header: %q: %w", line, err)
	}
	return client, nil
}

func proxyLineAddress(family, address, port string) (netip.AddrPort, error) {
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
