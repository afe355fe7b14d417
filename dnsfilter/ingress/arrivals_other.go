//go:build !unix

package ingress

import "net"

// arrivals reads a TCP connection for a conversation. On systems that cannot
// wait without it, a connection holds the memory of one burst.
type arrivals struct {
	conversation *conversation
	conn         *net.TCPConn
}

func newArrivals(c *conversation, conn *net.TCPConn) (*arrivals, error) {
	return &arrivals{conversation: c, conn: conn}, nil
}

// Read reads what came with the last burst, or waits for another.
func (a *arrivals) Read(p []byte) (int, error) {
	c := a.conversation
	if len(c.unread) == 0 {
		c.waiting()
		c.burst = c.streams.bursts.get()
		n, err := a.conn.Read(c.burst.in)
		if n == 0 {
			return 0, err
		}
		c.unread = c.burst.in[:n]
		if err := c.begin(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}
