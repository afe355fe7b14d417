package proxy

import (
	"context"
	"net"
	"sync"

	"github.com/sallyport/sallyport/gate"
)

// forwardWebSocket opens a plain WebSocket. It is registered, and judged once
// more, before the origin hears of it (see Recheck). Its tunnel begins with the
// 101; an origin that answers anything else has answered a plain request.
func (s *Server) forwardWebSocket(x *exchange, web *webFront) {
	t := s.newTunnel(x)
	if t == nil {
		x.record()
		x.busy()
		return
	}
	t.watched()
	defer t.finish()
	ctx, cancel := context.WithCancel(x.ctx)
	defer cancel()
	t.attach(closeFunc(func() error { cancel(); return nil }))
	x.ctx = ctx
	if !x.decided() {
		return
	}
	t.decide(x.record())
	s.carryHTTP(x, web, t, nil)
}

// closeFunc is a func that closes something.
type closeFunc func() error

// Close calls the func.
func (f closeFunc) Close() error { return f() }

// socketConn is the client's connection of a WebSocket: it counts what passes,
// and ends with its tunnel.
type socketConn struct {
	net.Conn
	tunnel *tunnel
	busy   gate.Gate // reads and writes under way
	over   chan struct{}
	end    sync.Once // closes over
}

// newSocketConn begins the tunnel. buffered bytes have been read from the
// client already and are on their way up.
func newSocketConn(conn net.Conn, t *tunnel, buffered int) *socketConn {
	c := &socketConn{Conn: conn, tunnel: t, over: make(chan struct{})}
	t.attach(c)
	t.establish()
	if buffered > 0 {
		t.movedUp(int64(buffered))
	}
	return c
}

// Close closes the connection, and ends what waits for bandwidth.
func (c *socketConn) Close() error {
	c.end.Do(func() { close(c.over) })
	return c.Conn.Close()
}

// Read reads from the client.
func (c *socketConn) Read(p []byte) (int, error) {
	if !c.busy.Enter() {
		return 0, net.ErrClosed
	}
	defer c.busy.Leave()
	n, err := c.Conn.Read(p)
	if !c.tunnel.pacer.pay(true, n, c.over) {
		return 0, net.ErrClosed
	}
	if n > 0 {
		c.tunnel.movedUp(int64(n))
	}
	if err != nil {
		c.tunnel.reached(closedByClient)
	}
	return n, err
}

// Write writes to the client.
func (c *socketConn) Write(p []byte) (int, error) {
	if !c.busy.Enter() {
		return 0, net.ErrClosed
	}
	defer c.busy.Leave()
	if !c.tunnel.pacer.pay(false, len(p), c.over) {
		return 0, net.ErrClosed
	}
	n, err := c.Conn.Write(p)
	if n > 0 {
		c.tunnel.movedDown(int64(n))
	}
	if err != nil {
		c.tunnel.reached(closedByClient)
	}
	return n, err
}

// settle is called when goproxy has returned, which it does when either side
// has ended: it forgets the client's connection, and the goroutine that reads
// from it. If it was not the client who left, it was the origin.
func (c *socketConn) settle() {
	c.tunnel.reached(closedByUpstream)
	_ = c.Close()
	<-c.busy.Close()
}
