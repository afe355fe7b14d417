package gateway

import (
	"net"
	"net/netip"
	"sync"
)

// Bounds of the connections to one of the console's listeners. Without them,
// anybody who may see a page could take all descriptors, and neither door would
// answer anybody. A page is one connection, and a browser opens six at most.
const (
	maxWebConns       = 2048
	maxWebConnsClient = maxWebConns / 4 // behind a load balancer all are one client
)

// webCrowd is a listener that closes the connections that are too many as soon
// as they come: an answer would have to be waited for. Safe for concurrent use.
type webCrowd struct {
	net.Listener

	mu   sync.Mutex
	all  int
	each map[netip.Addr]int
}

func newWebCrowd(l net.Listener) *webCrowd {
	return &webCrowd{Listener: l, each: map[netip.Addr]int{}}
}

// Accept waits for the next connection that there is room for.
func (c *webCrowd) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		client := webClient(conn.RemoteAddr())
		if c.enter(client) {
			return &webConn{Conn: conn, leave: sync.OnceFunc(func() { c.leave(client) })}, nil
		}
		_ = conn.Close()
	}
}

func (c *webCrowd) enter(client netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= maxWebConns || c.each[client] >= maxWebConnsClient {
		return false
	}
	c.all++
	c.each[client]++
	return true
}

func (c *webCrowd) leave(client netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.each[client]--; c.each[client] == 0 {
		delete(c.each, client)
	}
}

// webClient is who connects: an address, or an IPv6 network of 64 bits, which is
// one client's to choose addresses from.
func webClient(remote net.Addr) netip.Addr {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	if network, err := addr.Prefix(64); err == nil && addr.Is6() {
		return network.Addr()
	}
	return addr
}

// webConn gives its place back when it is closed.
type webConn struct {
	net.Conn
	leave func()
}

// Close closes the connection; net/http calls it more than once.
func (c *webConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
