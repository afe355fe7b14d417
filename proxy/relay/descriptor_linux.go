package relay

import (
	"errors"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// newEnd looks at what a stream is. A TCP connection is used by its
// descriptor, which it goes on owning: every use is inside of its RawConn's
// Control, so that it cannot be closed meanwhile.
func newEnd(stream Stream) end {
	e := end{stream: stream}
	tcp, ok := stream.(*net.TCPConn)
	if !ok {
		return e
	}
	if raw, err := tcp.SyscallConn(); err == nil { // or it fails as a stream
		e.raw = raw
	}
	return e
}

// calls are the calls that a mover makes on descriptors, of which none waits.
type calls struct {
	look, fetch, write, drain func(fd uintptr) // callLook and so on, bound once

	n     int    // the result of the last one
	err   error  // of the last one
	out   []byte // to be written
	limit int    // of what may be fetched
}

func (c *calls) bind(m *mover) {
	c.look, c.fetch, c.write, c.drain = m.callLook, m.callFetch, m.callWrite, m.callDrain
}

// fetch takes what there is into a buffer, or into the pipe.
func (m *mover) fetch() ending {
	if !m.src.bare() {
		return m.fetchStream()
	}
	if m.dry {
		m.dry = false
		return m.park(false)
	}
	if m.flow.pace == nil || m.way.greeting {
		m.calls.limit = mostAtOnce
		return m.fromSource(m.calls.fetch)
	}
	return m.fetchPaced()
}

// fetchPaced takes as much of what there is as it is granted.
func (m *mover) fetchPaced() ending {
	w := m.way
	if w.credit == 0 {
		if how := m.fromSource(m.calls.look); how != going {
			return how
		}
		waiting := m.calls.n
		m.relay.release(&m.cargo)
		if w.credit = m.flow.pace.Take(w.up(), waiting, m.flow.over); w.credit <= 0 {
			return stopped
		}
	}
	m.bulk = w.credit >= blockBytes
	m.calls.limit = min(w.credit, mostAtOnce)
	how := m.fromSource(m.calls.fetch)
	if how == going {
		w.credit -= m.calls.n
	}
	return how
}

// fromSource makes one of the calls on the source, and parks the way where
// there is nothing for it.
func (m *mover) fromSource(call func(fd uintptr)) ending {
	c := &m.calls
	c.n, c.err = 0, nil
	if err := m.src.raw.Control(call); err != nil {
		return readFailed
	}
	switch {
	case c.err == nil:
		return going
	case errors.Is(c.err, unix.EAGAIN):
		return m.park(false)
	case errors.Is(c.err, io.EOF):
		return eof
	default:
		return readFailed
	}
}

// write writes some of p. Who has to wait for a stream's next bytes anyhow waits
// until they are written, too.
func (m *mover) write(p []byte) (int, ending) {
	if !m.src.bare() || !m.dst.bare() {
		return m.writeStream(p)
	}
	m.calls.out = p
	n, how := m.toDestination(m.calls.write)
	m.calls.out = nil
	return n, how
}

// drain writes some of what is in the pipe.
func (m *mover) drain() (int, ending) { return m.toDestination(m.calls.drain) }

func (m *mover) toDestination(call func(fd uintptr)) (int, ending) {
	c := &m.calls
	c.n, c.err = 0, nil
	if err := m.dst.raw.Control(call); err != nil {
		return 0, writeFailed
	}
	switch {
	case c.err == nil:
		return c.n, going
	case errors.Is(c.err, unix.EAGAIN):
		return 0, blocked
	default:
		return 0, writeFailed
	}
}

// callLook counts what is waiting.
func (m *mover) callLook(fd uintptr) {
	c := &m.calls
	if c.n, c.err = unix.IoctlGetInt(int(fd), unix.TIOCINQ); c.err != nil || c.n > 0 {
		return
	}
	// There is nothing yet, or no more, or it is broken.
	var one [1]byte
	for {
		c.n, _, c.err = unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		if !errors.Is(c.err, unix.EINTR) {
			break
		}
	}
	if c.err == nil && c.n == 0 {
		c.err = io.EOF
	}
}

// callFetch reads once, or splices once where a lot is expected.
func (m *mover) callFetch(fd uintptr) {
	if m.bulk && m.takePipe() {
		m.spliceIn(fd)
		return
	}
	c := &m.calls
	room := m.room()
	room = room[:min(len(room), c.limit)]
	for {
		c.n, c.err = unix.Read(int(fd), room)
		if !errors.Is(c.err, unix.EINTR) {
			break
		}
	}
	switch {
	case c.err != nil:
	case c.n == 0:
		c.err = io.EOF
	default:
		m.cargo.piece = room[:c.n]
		m.bulk = c.n >= blockBytes && !m.way.greeting
		m.dry = c.n < len(room)
	}
}

// room is a buffer to read into.
func (m *mover) room() []byte {
	c := &m.cargo
	if m.bulk {
		if c.slab == nil {
			c.slab = m.relay.slabs.get()
		}
		return c.slab[:]
	}
	if c.block == nil {
		c.block = m.relay.blocks.get()
	}
	return c.block[:]
}

// callWrite writes once.
func (m *mover) callWrite(fd uintptr) {
	c := &m.calls
	for {
		c.n, c.err = unix.Write(int(fd), c.out)
		if !errors.Is(c.err, unix.EINTR) {
			return
		}
	}
}
