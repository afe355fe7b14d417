//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/sallyport/sallyport/bench/proxy/plan"
)

// open opens a tunnel to a place of the backend, or connects to it where there
// is no proxy.
func (s settings) open(place int) (*net.TCPConn, error) {
	target := plan.At(s.backend, place)
	at := target
	if s.proxy.IsValid() {
		at = s.proxy
	}
	conn, err := dial(at)
	if err != nil || !s.proxy.IsValid() {
		return conn, err
	}
	if err := ask(conn, target.String()); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

func dial(at netip.AddrPort) (*net.TCPConn, error) {
	conn, err := net.DialTCP("tcp4", nil, net.TCPAddrFromAddrPort(at))
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// ask asks for a tunnel, and reads no byte more than the answer.
func ask(conn net.Conn, target string) error {
	if _, err := conn.Write(connectTo(target)); err != nil {
		return err
	}
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return fmt.Errorf("answer to CONNECT: %w", err)
	}
	if response.StatusCode != http.StatusOK || reader.Buffered() > 0 {
		return fmt.Errorf("%w: status %d and %d bytes", errWrong, response.StatusCode, reader.Buffered())
	}
	return nil
}

// echo sends a byte and wants it back.
func echo(conn net.Conn, b byte) error {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte{b}); err != nil {
		return err
	}
	var back [1]byte
	if _, err := io.ReadFull(conn, back[:]); err != nil {
		return err
	}
	if back[0] != b {
		return fmt.Errorf("%w: %x came back as %x", errWrong, b, back[0])
	}
	return nil
}

// reset closes a connection so that nobody has to remember its ports.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}
