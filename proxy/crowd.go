package proxy

import (
	"net"
	"net/http"
	"net/netip"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// crowd counts the connections that are not tunnels, and knows those on which
// nothing is under way.
type crowd struct {
	limit      int
	each       int // limit of one client
	shed       prometheus.Counter
	shedClient prometheus.Counter

	mu      sync.Mutex
	inside  int
	clients map[netip.Addr]int // of whom they are, by clientKey
	silent  map[net.Conn]struct{}
	reading map[net.Conn]struct{} // half a request has come, and is not net/http's
	closing bool
}

func newCrowd(limit, each int, shed *prometheus.CounterVec) *crowd {
	return &crowd{
		limit:      limit,
		each:       each,
		shed:       shed.WithLabelValues(shedConnections),
		shedClient: shed.WithLabelValues(shedClient),
		clients:    make(map[netip.Addr]int),
		silent:     make(map[net.Conn]struct{}),
		reading:    make(map[net.Conn]struct{}),
	}
}

// clientKey is whom a connection is counted for: the address, and of IPv6 the
// network of 64 bits, in which a machine has as many addresses as it likes.
func clientKey(addr netip.Addr) netip.Addr {
	if addr.Is4() {
		return addr
	}
	network, err := addr.Prefix(64)
	if err != nil {
		return addr
	}
	return network.Addr()
}

// admit counts a connection in, if there is room for it. Those of a load
// balancer, which is many clients, are not limited as one client's.
func (c *crowd) admit(addr netip.Addr, client bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.inside >= c.limit:
		c.shed.Inc()
		return false
	case client && c.clients[clientKey(addr)] >= c.each:
		c.shedClient.Inc()
		return false
	}
	c.enter(addr)
	return true
}

// move counts a connection of a load balancer for the client that it comes for,
// from now on, if there is room for one more of that client.
func (c *crowd) move(balancer, client netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clients[clientKey(client)] >= c.each {
		c.shedClient.Inc()
		return false
	}
	c.exit(balancer)
	c.enter(client)
	return true
}

// stay counts a connection once more, so that it still counts when it is taken
// from net/http. leave must follow.
func (c *crowd) stay(addr netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enter(addr)
}

// leave counts a connection out.
func (c *crowd) leave(addr netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.exit(addr)
}

func (c *crowd) enter(addr netip.Addr) {
	c.inside++
	c.clients[clientKey(addr)]++
}

func (c *crowd) exit(addr netip.Addr) {
	c.inside--
	key := clientKey(addr)
	if c.clients[key]--; c.clients[key] <= 0 {
		delete(c.clients, key)
	}
}

// changed follows a connection's life; it is net/http's ConnState hook.
func (c *crowd) changed(conn net.Conn, state http.ConnState) {
	client, ok := conn.(*clientConn)
	if !ok {
		panic("proxy: connection from a foreign listener")
	}
	if state == http.StateHijacked {
		client.heads.stop() // what comes now is no request
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
		c.exit(client.addr)
	}
}

// rest says that nothing is under way on a connection until a request comes;
// false where the server is stopping and none will be served.
func (c *crowd) rest(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	c.silent[conn] = struct{}{}
	return true
}

// wake says that a request has begun to come.
func (c *crowd) wake(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.silent, conn)
	c.reading[conn] = struct{}{}
}

// read says that the request is there, or will not come.
func (c *crowd) read(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.reading, conn)
}

// closeSilent closes the connections on which nothing is under way: browsers
// open some for later, and net/http would wait seconds for each before it stops.
// Those that come afterwards are closed at once.
func (c *crowd) closeSilent() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	for conn := range c.silent {
		_ = conn.Close()
	}
}

// closeReading closes the connections on which half a request has come.
func (c *crowd) closeReading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.reading {
		_ = conn.Close()
	}
}
