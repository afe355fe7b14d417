package outbound

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
)

// What SOCKS calls things (RFC 1928, RFC 1929).
const (
	socksVersion     = 5
	socksNoAuth      = 0
	socksPassword    = 2
	socksNoneFits    = 0xff
	socksConnect     = 1
	socksIPv4        = 1
	socksName        = 3
	socksIPv6        = 4
	socksAuthVersion = 1
)

// askSOCKS asks a SOCKS parent for a connection. Every part of its answers has
// a length that is known beforehand, so that nothing behind them is read. One
// part is sent at a time: there are servers that throw away what comes sooner.
func (p *parent) askSOCKS(conn net.Conn, host string, port uint16) error {
	var said *ParentError
	switch err := p.greetSOCKS(conn); {
	case errors.As(err, &said):
		return said
	case err != nil:
		return p.broken(fmt.Errorf("SOCKS: %w", err))
	}
	request, err := socksRequest(host, port)
	if err != nil {
		return err
	}
	if _, err := conn.Write(request); err != nil {
		return p.broken(fmt.Errorf("ask for a connection: %w", err))
	}
	reply, err := readSOCKSReply(conn)
	if isTimeout(err) {
		return err
	}
	if err != nil {
		return p.broken(fmt.Errorf("SOCKS: %w", err))
	}
	if reply != 0 {
		answer, kind := socksReply(reply)
		return &ParentError{Parent: p.name, Answer: answer, kind: kind}
	}
	return nil
}

// greetSOCKS agrees on how to say who we are, and says it.
func (p *parent) greetSOCKS(conn net.Conn) error {
	hello := []byte{socksVersion, 1, socksNoAuth}
	if !p.credentials.isZero() {
		hello = []byte{socksVersion, 2, socksPassword, socksNoAuth}
	}
	if _, err := conn.Write(hello); err != nil {
		return err
	}
	var chosen [2]byte
	if _, err := io.ReadFull(conn, chosen[:]); err != nil {
		return fmt.Errorf("read the choice: %w", err)
	}
	switch {
	case chosen[0] != socksVersion:
		return errors.New("the answer is not SOCKS 5: is that a SOCKS proxy?")
	case chosen[1] == socksNoAuth:
		return nil
	case chosen[1] == socksPassword && !p.credentials.isZero():
		return p.signIn(conn)
	case chosen[1] == socksNoneFits:
		return &ParentError{Parent: p.name, Answer: "SOCKS: no way of signing in that we offered will do", kind: kindCredentials}
	default:
		return fmt.Errorf("it chose method %d, which was not offered", chosen[1])
	}
}

// signIn sends the credentials (RFC 1929 §2).
func (p *parent) signIn(conn net.Conn) error {
	c := p.credentials
	message := append([]byte{socksAuthVersion, byte(len(c.user))}, c.user...)
	message = append(append(message, byte(len(c.password))), c.password...)
	if _, err := conn.Write(message); err != nil {
		return err
	}
	var status [2]byte
	if _, err := io.ReadFull(conn, status[:]); err != nil {
		return fmt.Errorf("read whether we may come in: %w", err)
	}
	if status[1] != 0 {
		return &ParentError{Parent: p.name, Answer: fmt.Sprintf("SOCKS: user name and password refused (%d)", status[1]), kind: kindCredentials}
	}
	return nil
}

// socksRequest is a request to connect (RFC 1928 §4).
func socksRequest(host string, port uint16) ([]byte, error) {
	request := []byte{socksVersion, socksConnect, 0}
	address, err := netip.ParseAddr(host)
	switch address = address.Unmap(); {
	case err != nil && len(host) > 255:
		return nil, fmt.Errorf("a name of %d bytes: SOCKS takes 255", len(host))
	case err != nil:
		request = append(append(request, socksName, byte(len(host))), host...)
	case address.Is4():
		request = append(append(request, socksIPv4), address.AsSlice()...)
	default:
		request = append(append(request, socksIPv6), address.WithZone("").AsSlice()...)
	}
	return binary.BigEndian.AppendUint16(request, port), nil
}

// readSOCKSReply reads a reply (RFC 1928 §6), and of one that says no only the
// beginning: some servers leave the rest out.
func readSOCKSReply(r io.Reader) (byte, error) {
	var start [4]byte
	if _, err := io.ReadFull(r, start[:2]); err != nil {
		return 0, fmt.Errorf("read the reply: %w", err)
	}
	if start[0] != socksVersion {
		return 0, fmt.Errorf("the reply is of version %d", start[0])
	}
	if start[1] != 0 {
		return start[1], nil
	}
	if _, err := io.ReadFull(r, start[2:]); err != nil {
		return 0, fmt.Errorf("read the reply: %w", err)
	}
	var rest [255 + 2]byte // the address, and a port
	var length int
	switch start[3] {
	case socksIPv4:
		length = 4
	case socksIPv6:
		length = 16
	case socksName:
		var n [1]byte
		if _, err := io.ReadFull(r, n[:]); err != nil {
			return 0, fmt.Errorf("read the reply: %w", err)
		}
		length = int(n[0])
	default:
		return 0, fmt.Errorf("the reply has an address of type %d", start[3])
	}
	if _, err := io.ReadFull(r, rest[:length+2]); err != nil {
		return 0, fmt.Errorf("read the reply: %w", err)
	}
	return 0, nil
}

// socksReply says what a reply means.
func socksReply(reply byte) (string, answerKind) {
	text, kind := "unknown", kindUnreachable
	switch reply {
	case 1:
		text = "general failure"
	case 2:
		text, kind = "not allowed by its rules", kindDenied
	case 3:
		text = "network unreachable"
	case 4:
		text = "host unreachable"
	case 5:
		text, kind = "connection refused", kindRefused
	case 6:
		text, kind = "TTL expired", kindTimeout
	case 7:
		text = "command not supported"
	case 8:
		text = "kind of address not supported"
	}
	return fmt.Sprintf("SOCKS reply %d, %s", reply, text), kind
}
