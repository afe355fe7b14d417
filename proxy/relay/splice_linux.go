package relay

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// mostAtOnce is how much is fetched at a time at most.
const mostAtOnce = pipeBytes

// takePipe makes sure of a pipe, if there is one to be had and it is of use.
func (m *mover) takePipe() bool {
	if m.cargo.pipe != nil {
		return true
	}
	if m.way.copies || !m.dst.bare() {
		return false
	}
	m.cargo.pipe = m.relay.pipes.get()
	return m.cargo.pipe != nil
}

// spliceIn moves what is waiting into the pipe. That is empty: where nothing
// can be moved, it is because of the source.
func (m *mover) spliceIn(fd uintptr) {
	c := &m.calls
	c.n, c.err = splice(int(fd), m.cargo.pipe.in, c.limit)
	switch {
	case errors.Is(c.err, unix.EINVAL):
		// Not every socket can be spliced; one with a protocol of its own on
		// top (TLS in the kernel) cannot.
		m.way.copies = true
		m.relay.release(&m.cargo)
		m.callFetch(fd)
	case c.err != nil:
	case c.n == 0:
		c.err = io.EOF
	default:
		m.cargo.held = c.n
		m.bulk = c.n >= blockBytes
	}
}

// callDrain moves once from the pipe to the destination.
func (m *mover) callDrain(fd uintptr) {
	c := &m.calls
	c.n, c.err = splice(m.cargo.pipe.out, int(fd), m.cargo.held)
	if c.err == nil && c.n == 0 {
		c.err = io.ErrNoProgress // a pipe that holds bytes has no end
	}
}

// splice calls splice(2), which waits for nothing.
func splice(from, to, most int) (int, error) {
	for {
		n, err := unix.Splice(from, nil, to, nil, most, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if !errors.Is(err, unix.EINTR) {
			return int(max(n, 0)), err
		}
	}
}
