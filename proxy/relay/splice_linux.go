package relay

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// mostAtOnce is how much one splice(2) moves at most.
const mostAtOnce = pipeBytes

// takePipe makes sure of a pipe, if there is one to be had and it is of use.
func (m *mover) takePipe() bool {
	if m.pipe != nil {
		return true
	}
	if m.way.copies || !m.dst.bare() {
		return false
	}
	m.pipe = m.relay.pipes.get()
	return m.pipe != nil
}

// trySplice moves what is waiting into the pipe, which is empty: where there is
// no more to be had, it is because of the source.
func (m *mover) trySplice(fd uintptr) bool {
	c := &m.descriptors
	n, err := spliceOnce(int(fd), m.pipe.in, c.limit)
	switch {
	case errors.Is(err, unix.EAGAIN):
		m.release()
		return false
	case errors.Is(err, unix.EINVAL):
		// Not every socket can be spliced; one with a protocol of its own on
		// top (TLS in the kernel) cannot.
		m.way.copies = true
		m.release()
		return m.tryFetch(fd)
	case err != nil:
		c.err = err
	case n == 0:
		c.err = io.EOF
	default:
		c.n, m.held = n, n
		m.bulk = n >= blockBytes
	}
	return true
}

// drain writes some of what is in the pipe.
func (m *mover) drain() (int, error) {
	return m.writeDescriptor(m.descriptors.drain)
}

// tryDrain moves once from the pipe to the destination.
func (m *mover) tryDrain(fd uintptr) bool {
	c := &m.descriptors
	c.n, c.err = spliceOnce(m.pipe.out, int(fd), m.held)
	switch {
	case errors.Is(c.err, unix.EAGAIN):
		m.way.stalled.Store(true)
		return false
	case c.err == nil && c.n == 0:
		c.err = io.ErrShortWrite // a pipe that holds bytes has no end
	}
	return true
}

// spliceOnce calls splice(2), which waits for nothing.
func spliceOnce(from, to, most int) (int, error) {
	for {
		n, err := unix.Splice(from, nil, to, nil, most, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if !errors.Is(err, unix.EINTR) {
			return int(max(n, 0)), err
		}
	}
}

// keep puts what the mover has fetched and not written into memory of its size,
// and gives everything else back.
func (m *mover) keep() bool {
	if rest := m.held + len(m.piece); rest > 0 {
		kept := make([]byte, rest)
		if m.held > 0 && !m.pipe.empty(kept) {
			return false
		}
		copy(kept, m.piece)
		m.held = 0
		m.way.rest = kept
	}
	m.release()
	return true
}
