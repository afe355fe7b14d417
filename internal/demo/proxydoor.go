package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// meeting is an open TLS connection to the origin, through the proxy door.
type meeting struct {
	who  person
	host string
	conn net.Conn
	line *bufio.Reader
}

// visit goes to host through the proxy door, says one line and leaves.
func (s *stage) visit(ctx context.Context, p person, host string) (said, error) {
	m, answer, err := s.join(ctx, p, host)
	if m != nil {
		m.leave()
	}
	return answer, err
}

// join opens a meeting at host, in a CONNECT tunnel. A nil meeting with a nil
// error was refused.
func (s *stage) join(ctx context.Context, p person, host string) (*meeting, said, error) {
	ctx, cancel := context.WithTimeout(ctx, knockTimeout)
	defer cancel()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: p.desk.AsSlice()}}
	conn, err := dialer.DialContext(ctx, "tcp", s.proxyDoor)
	if err != nil {
		return nil, said{}, fmt.Errorf("go to the proxy door: %w", err)
	}
	m, answer, err := s.tunnel(conn, p, host)
	if m == nil {
		conn.Close()
	}
	return m, answer, err
}

func (s *stage) tunnel(conn net.Conn, p person, host string) (*meeting, said, error) {
	if err := conn.SetDeadline(time.Now().Add(knockTimeout)); err != nil {
		return nil, said{}, err
	}
	target := net.JoinHostPort(host, strconv.Itoa(s.origin.port()))
	credentials := base64.StdEncoding.EncodeToString([]byte(p.user + ":" + p.password))
	_, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nProxy-Authorization: Basic %s\r\nAccept: application/json\r\n\r\n",
		target, target, credentials)
	if err != nil {
		return nil, said{}, fmt.Errorf("ask the proxy door: %w", err)
	}
	reply := bufio.NewReader(conn)
	response, err := http.ReadResponse(reply, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, said{}, fmt.Errorf("hear the proxy door: %w", err)
	}
	if response.StatusCode == http.StatusForbidden {
		answer, err := readRefusal(response)
		return nil, answer, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, said{}, fmt.Errorf("the proxy door's reply is neither a tunnel nor a refusal: %s", response.Status)
	}
	if reply.Buffered() > 0 {
		return nil, said{}, errors.New("the tunnel carries bytes before anybody spoke")
	}
	m := &meeting{who: p, host: host, conn: tls.Client(conn, &tls.Config{ServerName: host, RootCAs: s.origin.trust})}
	m.line = bufio.NewReader(m.conn)
	if err := m.talk(); err != nil {
		return nil, said{}, err
	}
	return m, said{word: saysOpen}, nil
}

// readRefusal reads the memo in its JSON form.
func readRefusal(response *http.Response) (said, error) {
	defer response.Body.Close()
	var memo struct{ Reason string }
	if err := json.NewDecoder(io.LimitReader(response.Body, 64<<10)).Decode(&memo); err != nil {
		return said{}, fmt.Errorf("read the refusal: %w", err)
	}
	return said{word: saysRefused, reason: memo.Reason}, nil
}

// talk says one line and waits to hear it back.
func (m *meeting) talk() error {
	const line = "can you hear me?\n"
	if err := m.conn.SetDeadline(time.Now().Add(knockTimeout)); err != nil {
		return err
	}
	if _, err := io.WriteString(m.conn, line); err != nil {
		return fmt.Errorf("speak to %s: %w", m.host, err)
	}
	heard, err := m.line.ReadString('\n')
	if err != nil {
		return fmt.Errorf("hear %s: %w", m.host, err)
	}
	if heard != line {
		return fmt.Errorf("%s said %q", m.host, heard)
	}
	return nil
}

// awaitCut returns nil once the other side has ended the meeting.
func (m *meeting) awaitCut() error {
	if err := m.conn.SetDeadline(time.Now().Add(knockTimeout)); err != nil {
		return err
	}
	_, err := m.line.ReadByte()
	var timeout net.Error
	if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("the meeting goes on")
	}
	return nil
}

func (m *meeting) leave() { m.conn.Close() }
