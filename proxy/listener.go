package proxy

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// listener accepts client connections, up to a number of them that all the
// server's listeners share.
type listener struct {
	*net.TCPListener
	crowd *crowd
}

// listen binds address. MPTCP is left alone: it keeps the kernel from moving
// bytes between two sockets without copying them.
func listen(ctx context.Context, address string, c *crowd) (*listener, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	bound, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("proxy: listen on %q: %w", address, err)
	}
	tcp, ok := bound.(*net.TCPListener)
	if !ok {
		_ = bound.Close()
		return nil, fmt.Errorf("proxy: listen on %q: not a TCP address", address)
	}
	return &listener{TCPListener: tcp, crowd: c}, nil
}

// Accept waits for a client. A client that is one too many is closed at once,
// so that accepting never stalls and those who are inside are not disturbed.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptTCP()
		if err != nil {
			return nil, err
		}
		if !l.crowd.admit() {
			_ = conn.Close()
			continue
		}
		client, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
		return &clientConn{TCPConn: conn, addr: client.Addr().Unmap().WithZone("")}, nil
	}
}

// clientConn is a client's connection. It embeds the TCP connection, so that
// the kernel's shortcuts stay open. It keeps the head of the request that is
// being read, and remembers the end of what was read, which tells whether the
// client sent more than that.
type clientConn struct {
	*net.TCPConn
	addr netip.Addr
	head headKeeper
	tail atomic.Uint32 // the last four bytes read, the latest in the low byte
}

// Read reads as TCPConn does.
func (c *clientConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if n > 0 {
		c.head.take(p[:n])
		tail := c.tail.Load()
		for _, b := range p[max(0, n-4):n] {
			tail = tail<<8 | uint32(b)
		}
		c.tail.Store(tail)
	}
	return n, err
}

// sentEarly reports whether the client has sent something behind the head of
// the request that is being served, which must be one without a body. What is
// still on its way cannot be known.
func (c *clientConn) sentEarly() bool {
	tail := c.tail.Load()
	endOfHead := tail&0xffff == '\n'<<8|'\n' || tail&0xffffff == '\n'<<16|'\r'<<8|'\n'
	return !endOfHead || waiting(c.TCPConn) > 0
}

// crowd counts the connections that net/http looks after, and knows those that
// have not sent a byte yet.
type crowd struct {
	limit int
	shed  prometheus.Counter

	mu      sync.Mutex
	inside  int
	silent  map[net.Conn]struct{}
	closing bool
}

func newCrowd(limit int, shed prometheus.Counter) *crowd {
	return &crowd{limit: limit, shed: shed, silent: make(map[net.Conn]struct{})}
}

func (c *crowd) admit() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inside >= c.limit {
		c.shed.Inc()
		return false
	}
	c.inside++
	return true
}

// changed follows a connection's life; it is net/http's ConnState hook.
func (c *crowd) changed(conn net.Conn, state http.ConnState) {
	if state == http.StateIdle {
		if client, ok := conn.(*clientConn); ok {
			client.head.restart() // nobody reads at this moment
		}
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		if c.closing {
			_ = conn.Close()
			return
		}
		c.silent[conn] = struct{}{}
	case http.StateActive:
		delete(c.silent, conn)
	case http.StateClosed, http.StateHijacked:
		delete(c.silent, conn)
		c.inside--
	}
}

// closeSilent closes the connections that have not sent a byte: browsers open
// some for later, and net/http would wait seconds for each before it stops.
// Those that come afterwards are closed at once.
func (c *crowd) closeSilent() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	for conn := range c.silent {
		_ = conn.Close()
	}
}
