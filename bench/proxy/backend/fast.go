//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport/sallyport/bench/proxy/events"
	"github.com/sallyport/sallyport/bench/proxy/plan"
)

// fast serves the places that must cost nearly nothing, in one event loop.
type fast struct {
	loop  *events.Loop
	conns []*conn // by file descriptor; listeners too
	spare []*conn
	piece [16 << 10]byte
}

// conn is a connection, or a listener.
type conn struct {
	place    int
	listener bool
	held     []byte // the beginning of a request whose end is not there yet
}

func newFast(base netip.AddrPort) (*fast, error) {
	loop, err := events.NewLoop()
	if err != nil {
		return nil, err
	}
	f := &fast{loop: loop}
	for _, place := range []int{plan.EchoOnce, plan.EchoKeep, plan.Page} {
		fd, err := events.Listen(plan.At(base, place))
		if err != nil {
			return nil, err
		}
		if err := f.take(fd, &conn{place: place, listener: true}); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *fast) take(fd int, c *conn) error {
	for fd >= len(f.conns) {
		f.conns = append(f.conns, make([]*conn, len(f.conns)+64)...)
	}
	f.conns[fd] = c
	return f.loop.Watch(fd, int32(fd))
}

func (f *fast) serve() error {
	for {
		ready, err := f.loop.Wait(time.Minute)
		if err != nil {
			return err
		}
		for _, fd := range ready {
			if err := f.advance(int(fd)); err != nil {
				return err
			}
		}
	}
}

// advance does what can be done at a socket now.
func (f *fast) advance(fd int) error {
	c := f.conns[fd]
	if c == nil {
		return nil // was closed by an event before this one
	}
	if c.listener {
		return f.accept(fd, c.place)
	}
	for {
		n, err := events.Read(fd, f.piece[:])
		if errors.Is(err, events.ErrAgain) {
			return nil
		}
		if err != nil || !f.answer(fd, c, f.piece[:n]) {
			f.drop(fd)
			return nil
		}
	}
}

// accept takes all who wait. Whoever has sent something already is answered at
// once.
func (f *fast) accept(listener, place int) error {
	for {
		fd, err := events.Accept(listener)
		switch {
		case errors.Is(err, events.ErrAgain):
			return nil
		case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
			return fmt.Errorf("too few descriptors for the tunnels: raise the limit (ulimit -n): %w", err)
		case err != nil:
			continue // the client has left already
		}
		c := &conn{}
		if n := len(f.spare); n > 0 {
			c, f.spare = f.spare[n-1], f.spare[:n-1]
		}
		c.place = place
		if err := f.take(fd, c); err != nil {
			return err
		}
	}
}

// answer gives what a place answers, and reports whether the connection stays.
func (f *fast) answer(fd int, c *conn, data []byte) bool {
	switch c.place {
	case plan.EchoOnce:
		// Who closes first has to remember the ports for a while. It is this
		// side, so that a proxy does not run out of ports to dial from.
		_ = events.Write(fd, data[:1]) // a client that is gone is not waiting
		return false
	case plan.EchoKeep:
		return events.Write(fd, data) == nil
	default:
		return f.page(fd, c, data)
	}
}

var (
	endOfHead = []byte("\r\n\r\n")
	whole     = append(append([]byte(nil), plan.Head...), plan.Body...)
)

// page answers every request whose head is whole. They have no bodies.
func (f *fast) page(fd int, c *conn, data []byte) bool {
	if len(c.held) > 0 {
		data = append(c.held, data...)
	}
	for {
		end := bytes.Index(data, endOfHead)
		if end < 0 {
			break
		}
		if !bytes.HasPrefix(data, []byte("GET /")) || events.Write(fd, whole) != nil {
			return false
		}
		data = data[end+len(endOfHead):]
	}
	c.held = append(c.held[:0], data...)
	return len(c.held) < len(f.piece)
}

func (f *fast) drop(fd int) {
	c := f.conns[fd]
	f.conns[fd] = nil
	c.held = c.held[:0]
	f.spare = append(f.spare, c)
	events.Close(fd)
}
