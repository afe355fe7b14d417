//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/sallyport/sallyport/bench/proxy/events"
	"github.com/sallyport/sallyport/bench/proxy/plan"
)

// connect counts tunnels: each is opened, carries a byte there and back, and is
// closed. The backend is the first to close it, the client does not wait for
// that: there are proxies that do not pass it on.
func connect(s settings) (report, error) {
	d := &connecting{to: plan.At(s.backend, plan.EchoOnce)}
	if s.proxy.IsValid() {
		d.request = connectTo(d.to.String())
		d.to = s.proxy
	}
	return repeat(d, s.workers, s.span)
}

// connectTo is the head of a CONNECT.
func connectTo(target string) []byte {
	return []byte("CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n")
}

// token is a byte to send through a tunnel, another one each time. No protocol
// begins with it: a proxy that looks how a tunnel begins need not wait for more.
func token(i int) byte { return 0xc0 | byte(i)&0x3f }

type connecting struct {
	to      netip.AddrPort
	request []byte // nil: there is no proxy to ask
}

func (d *connecting) where() netip.AddrPort { return d.to }

// The phases of a tunnel.
const (
	asking   = iota // nothing is sent yet
	awaiting        // the proxy's answer
	sending         // the byte
	echoing         // it is on its way back
)

func (d *connecting) step(s *slot) (v verdict, err error) {
	for {
		switch s.phase {
		case asking:
			if d.request == nil {
				s.phase = sending
				continue
			}
			err = events.Write(s.fd, d.request)
		case awaiting:
			var status, size int
			status, size, err = s.head()
			switch {
			case err != nil:
			case size == 0:
				err = events.ErrAgain
			case status != 200 || s.n != size:
				err = fmt.Errorf("%w: status %d and %d bytes", errWrong, status, s.n-size)
			}
		case sending:
			s.data[0] = token(s.turn)
			err = events.Write(s.fd, s.data[:1])
		case echoing:
			s.n, err = events.Read(s.fd, s.data[1:])
			switch {
			case errors.Is(err, io.EOF):
				err = io.ErrUnexpectedEOF
			case err != nil:
			case s.n != 1 || s.data[1] != s.data[0]:
				err = fmt.Errorf("%w: %x came back as %x", errWrong, s.data[0], s.data[1:1+s.n])
			default:
				return over, nil
			}
		}
		switch {
		case errors.Is(err, events.ErrAgain):
			return waiting, nil
		case err != nil:
			return waiting, err
		}
		s.phase++
	}
}
