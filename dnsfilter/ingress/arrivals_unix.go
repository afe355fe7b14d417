//go:build unix

package ingress

import (
	"io"
	"net"
	"os"
	"syscall"
)

// arrivals reads a TCP connection for a conversation. It takes memory only
// once there is something to put into it: the wait itself costs none, so that
// thousands of clients that say nothing cost little.
type arrivals struct {
	conversation *conversation
	raw          syscall.RawConn
	receive      func(fd uintptr) bool // made once: a closure a read would be garbage
	err          error
}

func newArrivals(c *conversation, conn *net.TCPConn) (*arrivals, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	a := &arrivals{conversation: c, raw: raw}
	a.receive = a.receiveFrom
	return a, nil
}

// Read reads what came with the last burst, or waits for another.
func (a *arrivals) Read(p []byte) (int, error) {
	c := a.conversation
	if len(c.unread) == 0 {
		c.waiting()
		if err := a.raw.Read(a.receive); err != nil {
			return 0, err
		}
		if a.err != nil {
			return 0, a.err
		}
		if err := c.begin(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}

// receiveFrom is called when there may be something to read, and reports
// whether there was.
func (a *arrivals) receiveFrom(fd uintptr) bool {
	c := a.conversation
	if c.burst == nil {
		c.burst = c.streams.bursts.get()
	}
	for {
		n, err := syscall.Read(int(fd), c.burst.in)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			c.rest()
			return false
		case err != nil:
			a.err = os.NewSyscallError("read", err)
		case n <= 0:
			a.err = io.EOF
		default:
			c.unread = c.burst.in[:n]
		}
		return true
	}
}
