package relay

import (
	"errors"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// newEnd looks at what a stream is. A TCP connection is used by its
// descriptor, which it goes on owning: every use is inside of one of its
// RawConn's methods, so that it cannot be closed meanwhile.
func newEnd(stream Stream) end {
	e := end{stream: stream}
	tcp, ok := stream.(*net.TCPConn)
	if !ok {
		return e
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return e // it fails as a stream, then
	}
	e.tcp, e.raw = tcp, raw
	return e
}

// descriptorCalls are the calls that a mover makes on descriptors. Each is
// tried at once, and again whenever the runtime's poller says so.
type descriptorCalls struct {
	look, fetch, write, drain func(fd uintptr) bool // bound once

	n     int    // the result of the last one
	err   error  // of the last one
	out   []byte // to be written
	limit int    // of what may be fetched
}

func (c *descriptorCalls) bind(m *mover) {
	c.look, c.fetch, c.write, c.drain = m.tryLook, m.tryFetch, m.tryWrite, m.tryDrain
}

// fetch waits until there is something, and takes it into the block, or into
// the pipe.
func (m *mover) fetch() ending {
	if !m.src.bare() {
		return m.fetchStream()
	}
	if m.flow.pace == nil || m.way.greeting {
		m.descriptors.limit = mostAtOnce
		return m.fetchDescriptor(m.descriptors.fetch)
	}
	if m.way.credit == 0 {
		if how := m.fetchDescriptor(m.descriptors.look); how != going {
			return how
		}
		waiting := m.descriptors.n
		m.release()
		if m.way.credit = m.flow.pace.Take(m.way.up(), waiting, m.flow.over); m.way.credit <= 0 {
			return stopped
		}
	}
	m.bulk = m.way.credit >= blockBytes
	m.descriptors.limit = min(m.way.credit, mostAtOnce)
	how := m.fetchDescriptor(m.descriptors.fetch)
	if how == going {
		m.way.credit -= m.descriptors.n
	}
	return how
}

// fetchDescriptor makes one of the calls on the source, and waits as long as
// there is nothing for it.
func (m *mover) fetchDescriptor(call func(fd uintptr) bool) ending {
	c := &m.descriptors
	for {
		c.n, c.err = 0, nil
		err := m.src.raw.Read(call)
		switch {
		case err == nil && c.err == nil:
			return going
		case err == nil && errors.Is(c.err, io.EOF):
			return eof
		case errors.Is(err, os.ErrDeadlineExceeded):
			if how := m.interrupted(false); how != going {
				return how
			}
		default:
			return readFailed
		}
	}
}

// write writes some of p.
func (m *mover) write(p []byte) (int, error) {
	if !m.dst.bare() {
		return m.writeStream(p)
	}
	m.descriptors.out = p
	n, err := m.writeDescriptor(m.descriptors.write)
	m.descriptors.out = nil
	return n, err
}

func (m *mover) writeDescriptor(call func(fd uintptr) bool) (int, error) {
	c := &m.descriptors
	c.n, c.err = 0, nil
	err := m.dst.raw.Write(call)
	m.way.stalled.Store(false)
	if err == nil {
		err = c.err
	}
	return c.n, err
}

// tryLook counts what is waiting.
func (m *mover) tryLook(fd uintptr) bool {
	c := &m.descriptors
	if c.n, c.err = unix.IoctlGetInt(int(fd), unix.TIOCINQ); c.err != nil || c.n > 0 {
		return true
	}
	var one [1]byte
	n, _, err := unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	switch {
	case errors.Is(err, unix.EAGAIN):
		m.release()
		return false
	case errors.Is(err, unix.EINTR):
		return m.tryLook(fd)
	case err != nil:
		c.err = err
	case n == 0:
		c.err = io.EOF
	default:
		c.n = n // it has just come
	}
	return true
}

// tryFetch reads once, or splices once where a lot is expected.
func (m *mover) tryFetch(fd uintptr) bool {
	if m.bulk && m.takePipe() {
		return m.trySplice(fd)
	}
	c := &m.descriptors
	room := m.room()
	room = room[:min(len(room), c.limit)]
	c.n, c.err = unix.Read(int(fd), room)
	for errors.Is(c.err, unix.EINTR) {
		c.n, c.err = unix.Read(int(fd), room)
	}
	switch {
	case errors.Is(c.err, unix.EAGAIN):
		m.bulk = false
		m.release()
		return false
	case c.err != nil:
	case c.n == 0:
		c.err = io.EOF
	default:
		m.piece = room[:c.n]
		m.bulk = c.n >= blockBytes && !m.way.greeting
	}
	return true
}

// room is a buffer to read into.
func (m *mover) room() []byte {
	if m.bulk {
		if m.slab == nil {
			m.slab = m.relay.slabs.get()
		}
		return m.slab[:]
	}
	if m.block == nil {
		m.block = m.relay.blocks.get()
	}
	return m.block[:]
}

// tryWrite writes once.
func (m *mover) tryWrite(fd uintptr) bool {
	c := &m.descriptors
	c.n, c.err = unix.Write(int(fd), c.out)
	for errors.Is(c.err, unix.EINTR) {
		c.n, c.err = unix.Write(int(fd), c.out)
	}
	c.n = max(c.n, 0)
	if errors.Is(c.err, unix.EAGAIN) {
		m.way.stalled.Store(true)
		return false
	}
	return true
}
