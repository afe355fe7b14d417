//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/sallyport/sallyport/bench/proxy/events"
)

// refuse counts refusals of CONNECT, each on a connection of its own and read
// to its end.
func refuse(s settings) (report, error) {
	if !s.proxy.IsValid() || len(s.names) == 0 {
		return report{}, errors.New("refusals want a proxy and names")
	}
	return repeat(&refusing{to: s.proxy, names: s.names}, s.workers, s.span)
}

type refusing struct {
	to      netip.AddrPort
	names   []string
	next    int
	request []byte
}

func (d *refusing) where() netip.AddrPort { return d.to }

const reading = awaiting + 1 // the page

func (d *refusing) step(s *slot) (v verdict, err error) {
	if s.phase == asking {
		if err := d.ask(s); err != nil {
			return stopped(err)
		}
		s.phase = awaiting
	}
	if s.phase == awaiting {
		status, size, err := s.head()
		if err != nil || size == 0 {
			return waiting, err
		}
		if status != 403 {
			return waiting, fmt.Errorf("%w: status %d instead of 403", errWrong, status)
		}
		if s.want, err = lengthOf(s.data[:size]); err != nil {
			return waiting, err
		}
		s.body = s.n - size
		s.phase = reading
	}
	for s.want < 0 || s.body < s.want {
		n, err := events.Read(s.fd, s.data[:])
		if errors.Is(err, io.EOF) && s.want < 0 {
			break
		}
		if err != nil {
			return stopped(err)
		}
		s.body += n
	}
	if s.body == 0 || s.want >= 0 && s.body != s.want {
		return waiting, fmt.Errorf("%w: a page of %d bytes, %d announced", errWrong, s.body, s.want)
	}
	return over, nil
}

// ask writes a CONNECT to the next of the names.
func (d *refusing) ask(s *slot) error {
	d.request = append(d.request[:0], "CONNECT "...)
	name := d.names[d.next%len(d.names)]
	d.request = append(append(d.request, name...), ":443 HTTP/1.1\r\nHost: "...)
	d.request = append(append(d.request, name...), ":443\r\n\r\n"...)
	err := events.Write(s.fd, d.request)
	if err == nil {
		d.next++
	}
	return err
}

// stopped is a step that has come to an error, or has to wait.
func stopped(err error) (verdict, error) {
	switch {
	case errors.Is(err, events.ErrAgain):
		return waiting, nil
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return waiting, err
}
