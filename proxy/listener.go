package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
)

// listener accepts client connections, up to a number of them that all the
// server's listeners share. To net/http it is the listener of those that were
// left to it.
type listener struct {
	*net.TCPListener
	name      string // "proxy http"
	serve     func(*listener, *clientConn)
	full      []byte // what a client is told that is one too many
	crowd     *crowd
	behind    func(netip.Addr) bool // of load balancers, which say for whom they come
	headLimit int                   // of a request, in bytes
	passed    chan net.Conn
	closing   sync.Once
	closed    chan struct{}
}

// kind is what listens: one for each way in which clients come.
type kind struct {
	name      string
	addresses []string
	serve     func(*listener, *clientConn) // until the connection is over or a tunnel
	full      []byte                       // what a client is told that is one too many; nil: nothing
	control   func(network, address string, raw syscall.RawConn) error
}

// kinds lists what is to listen, and where.
func (s *Server) kinds() []kind {
	return []kind{
		{name: "proxy http", addresses: s.config.Listen, serve: s.serveHTTP, full: tooManyConnections()},
		{name: "proxy socks", addresses: s.config.SOCKS, serve: s.serveSOCKS},
		{name: "proxy transparent", addresses: s.config.Transparent.Listen, serve: s.serveTransparent, control: s.config.Transparent.control()},
		{name: nameTLS, addresses: s.config.TLS.Listen, serve: s.serveTLS},
	}
}

// listen binds address. MPTCP is left alone: it keeps the kernel from moving
// bytes between two sockets without copying them.
func (s *Server) listen(ctx context.Context, k kind, address string) (*listener, error) {
	config := net.ListenConfig{Control: k.control, KeepAlive: keepAlive}
	config.SetMultipathTCP(false)
	bound, err := s.dependencies.Listen(ctx, &config, k.name, address)
	if err != nil {
		return nil, &ListenError{Name: k.name, Address: address, Err: err}
	}
	tcp, ok := bound.(*net.TCPListener)
	if !ok {
		_ = bound.Close()
		return nil, &ListenError{Name: k.name, Address: address, Err: errors.New("not a TCP address")}
	}
	if err := inheritKeepAlive(tcp); err != nil {
		_ = bound.Close()
		return nil, &ListenError{Name: k.name, Address: address, Err: err}
	}
	return &listener{
		TCPListener: tcp,
		name:        k.name,
		serve:       k.serve,
		full:        k.full,
		crowd:       s.crowd,
		behind:      func(addr netip.Addr) bool { return contains(s.config.ProxyFrom, addr) },
		headLimit:   s.config.MaxHeaderBytes + headSlack,
		passed:      make(chan net.Conn),
		closed:      make(chan struct{}),
	}, nil
}

// Close stops accepting. It may be called again, and is: by Shutdown, which
// wants every listener shut before it waits for anything, and by net/http.
func (l *listener) Close() (err error) {
	l.closing.Do(func() {
		err = l.TCPListener.Close()
		close(l.closed)
	})
	return err
}

// next waits for a client. Nobody waits for one that is too many, so that
// accepting never stalls and those who are inside are not disturbed.
func (s *Server) next(l *listener) (*clientConn, error) {
	for {
		conn, err := l.AcceptTCP()
		if err != nil {
			return nil, err
		}
		client, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
		addr := client.Addr().Unmap().WithZone("")
		balancer := l.behind(addr)
		if !l.crowd.admit(addr, !balancer) {
			s.turnAway(l, conn)
			continue
		}
		return &clientConn{Conn: conn, tcp: conn, addr: addr, balancer: balancer, heads: heads{limit: l.headLimit}}, nil
	}
}

// pass leaves a connection to net/http; false where that has stopped.
func (l *listener) pass(conn *clientConn) bool {
	select {
	case l.passed <- conn:
		return true
	case <-l.closed:
		return false
	}
}

// Accept waits for a connection that is left to net/http.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.passed:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// accept has every client served that comes to l, until it is closed.
func (s *Server) accept(l *listener) {
	exhausted := exhaustion{server: s, listener: l}
	exhausted.save()
	defer exhausted.drop()
	for {
		conn, err := s.next(l)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			exhausted.endure(err)
		default:
			s.serving.Go(func() { s.serveClient(l, conn) })
		}
	}
}

// serveClient serves a client until its connection is over, or a tunnel, or
// left to net/http. A mistake of ours in one connection does not end the
// others.
func (s *Server) serveClient(l *listener, conn *clientConn) {
	defer func() {
		mistake := recover()
		if mistake == nil {
			return
		}
		s.hangUp(conn)
		s.mistaken("panic while serving a connection", mistake)
	}()
	if s.introduced(l, conn) {
		l.serve(l, conn)
	}
}
