package proxy

//lint:file-ignore SA1019 net/http's own way to serve HTTP/2 hides the scheme of a request

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"

	"golang.org/x/net/http2"
)

// Bounds of a connection that speaks HTTP/2.
const (
	maxStreams   = 256       // under way at a time: tunnels and requests
	streamWindow = 256 << 10 // bytes of one stream that wait to be read
	connWindow   = 1 << 20   // bytes of all of them
)

// newStreamServer makes the server of HTTP/2, whose connections come from
// s.security.streams. It is net/http's, with a handler that gets requests as they
// came: net/http itself gives those of scheme http a TLS state as well, and
// nobody could tell them from those of https any more.
func (s *Server) newStreamServer() (*http.Server, error) {
	server := s.newHTTPServer()
	server.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams:          maxStreams,
		MaxReceiveBufferPerStream:     streamWindow,
		MaxReceiveBufferPerConnection: connWindow,
		// A client that takes nothing at all for so long is gone.
		WriteByteTimeout: server.IdleTimeout,
	}
	engine := &http2.Server{}
	if err := http2.ConfigureServer(server, engine); err != nil {
		return nil, fmt.Errorf("proxy: set up HTTP/2: %w", err)
	}
	server.TLSNextProto[protocolHTTP2] = func(server *http.Server, conn *tls.Conn, h http.Handler) {
		options := &http2.ServeConnOpts{BaseConfig: server, Handler: http.HandlerFunc(s.serveStream)}
		if based, ok := h.(interface{ BaseContext() context.Context }); ok {
			options.Context = based.BaseContext()
		}
		engine.ServeConn(conn, options)
	}
	server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, clientOf(conn))
	}
	server.ConnState = func(conn net.Conn, state http.ConnState) { s.crowd.changed(clientOf(conn), state) }
	return server, nil
}

// streamListener is what net/http accepts connections from that speak HTTP/2:
// TLS is there, and the protocol agreed.
type streamListener struct {
	passed  chan net.Conn
	closing sync.Once
	closed  chan struct{}
}

func newStreamListener() *streamListener {
	return &streamListener{passed: make(chan net.Conn), closed: make(chan struct{})}
}

// pass leaves a connection to net/http; false where that has stopped.
func (l *streamListener) pass(conn *tls.Conn) bool {
	select {
	case l.passed <- conn:
		return true
	case <-l.closed:
		return false
	}
}

// Accept waits for a connection.
func (l *streamListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.passed:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close lets no more connections in. It may be called again.
func (l *streamListener) Close() error {
	l.closing.Do(func() { close(l.closed) })
	return nil
}

// Addr is no address: the connections come from listeners that have one each.
func (l *streamListener) Addr() net.Addr { return &net.TCPAddr{} }
