//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"

	"github.com/sallyport/sallyport/bench/proxy/events"
	"github.com/sallyport/sallyport/bench/proxy/plan"
)

// plain counts GETs over kept connections. A proxy that does not keep them is
// connected to anew.
func plain(s settings) (report, error) {
	return repeat(newGetting(s), s.workers, s.span)
}

func newGetting(s settings) *getting {
	origin := plan.At(s.backend, plan.Page)
	d := &getting{to: origin, request: []byte("GET /page HTTP/1.1\r\nHost: " + origin.String() + "\r\n\r\n")}
	if s.proxy.IsValid() {
		d.to = s.proxy
		d.request = []byte("GET http://" + origin.String() + "/page HTTP/1.1\r\nHost: " + origin.String() + "\r\n\r\n")
	}
	return d
}

type getting struct {
	to      netip.AddrPort
	request []byte
}

func (d *getting) where() netip.AddrPort { return d.to }

func (d *getting) step(s *slot) (v verdict, err error) {
	if s.phase == asking {
		if err := events.Write(s.fd, d.request); err != nil {
			return dropped(s, err)
		}
		s.phase, s.n = awaiting, 0
	}
	if s.phase == awaiting {
		status, size, err := s.head()
		switch {
		case err != nil && s.n == 0:
			return dropped(s, err)
		case err != nil || size == 0:
			return waiting, err
		}
		length, err := lengthOf(s.data[:size])
		if err != nil {
			return waiting, err
		}
		if status != 200 || length >= 0 && length != len(plan.Body) {
			return waiting, fmt.Errorf("%w: status %d, %d bytes announced", errWrong, status, length)
		}
		s.want, s.body, s.phase = size+len(plan.Body), size, reading
	}
	for s.n < s.want {
		n, err := events.Read(s.fd, s.data[s.n:])
		if err != nil {
			return stopped(err)
		}
		s.n += n
	}
	if !bytes.Equal(s.data[s.body:s.n], plan.Body) {
		return waiting, fmt.Errorf("%w: page %.40q", errWrong, s.data[s.body:s.n])
	}
	s.phase = asking
	if closes(s.data[:s.body]) {
		return over, nil
	}
	return kept, nil
}

// dropped is a step on a connection that a proxy has closed. Where the
// connection was used before it may, at any time (RFC 9112 §9.3.1), and the
// request is sent again.
func dropped(s *slot, err error) (verdict, error) {
	if !errors.Is(err, events.ErrAgain) && s.used > 0 {
		return again, nil
	}
	return stopped(err)
}

var (
	closing = []byte("\r\nconnection: close\r\n")
	version = []byte("HTTP/1.1 ")
)

// closes reports whether a connection ends with the answer whose head it is.
func closes(head []byte) bool {
	if !bytes.HasPrefix(head, version) {
		return true
	}
	for from := 0; ; {
		i := bytes.IndexByte(head[from:], '\r')
		if i < 0 {
			return false
		}
		if line := head[from+i:]; len(line) >= len(closing) && bytes.EqualFold(line[:len(closing)], closing) {
			return true
		}
		from += i + 1
	}
}
