package ingress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Bounds of the HTTP servers.
const (
	maxHTTPHeader  = 16 << 10         // bytes; the longest query in a URL has 5462
	maxHTTPStreams = 128              // requests of one connection under way at a time
	httpWindow     = 64 << 10         // bytes of bodies of one connection that wait to be read
	httpIdle       = 2 * time.Minute  // browsers keep a connection; where there is need, the crowd ends it
	replyTime      = 30 * time.Second // for a query to be answered
)

// web is a listener for DNS over HTTPS, by HTTP/1.1 and HTTP/2.
type web struct {
	*shared
	listener *net.TCPListener
	server   *http.Server
	handler  *dohHandler
	conns    sync.WaitGroup // that net/http serves
	leaving  atomic.Bool    // every answer is the last of its connection

	stopping chan struct{}
	stopOnce sync.Once
}

// listenWeb binds address.
func listenWeb(ctx context.Context, address string, h *dohHandler, config *tls.Config, log *zap.Logger) (*web, error) {
	// What net/http has to say of broken clients is for a level at which nobody
	// can fill an admin's disk with it.
	quiet, err := zap.NewStdLogAt(log, zap.DebugLevel)
	if err != nil {
		return nil, fmt.Errorf("make the log of HTTP: %w", err)
	}
	listener, err := h.listenTCP(ctx, HTTPS, address)
	if err != nil {
		return nil, err
	}
	in := &web{shared: h.shared, listener: listener, handler: h, stopping: make(chan struct{})}
	in.server = &http.Server{
		Handler:           in,
		TLSConfig:         config,
		ReadHeaderTimeout: h.idle, // and of the handshake, and the PROXY header before it
		// No ReadTimeout: with HTTP/1.1 it would end slow answers too. The
		// handler gives a body its time.
		WriteTimeout:   h.idle + replyTime,
		IdleTimeout:    max(h.idle, httpIdle),
		MaxHeaderBytes: maxHTTPHeader,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxHTTPStreams,
			MaxReceiveBufferPerConnection: httpWindow,
			MaxReceiveBufferPerStream:     httpWindow,
			WriteByteTimeout:              h.idle,
		},
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     quiet,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, visitorKey{}, &webConnOf(conn).visitor)
		},
		ConnState: in.changed,
	}
	return in, nil
}

// Address is where it listens.
func (in *web) Address() Address {
	return Address{Name: "dns " + HTTPS.String(), Addr: in.listener.Addr().String()}
}

// Serve answers the requests of every connection, and returns after Stop when
// the last reply has gone out and every connection is closed, or when ctx ends.
func (in *web) Serve(ctx context.Context, door Door) {
	in.handler.open(door)
	in.server.BaseContext = func(net.Listener) context.Context { return ctx }
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = in.server.ServeTLS((*webListener)(in), "", "") // ends with the listener
	}()
	deserted := make(chan struct{})
	go func() {
		defer close(deserted)
		<-served
		in.conns.Wait()
	}()
	select {
	case <-in.stopping:
	case <-deserted: // after Leave
	case <-ctx.Done():
	}
	_ = in.listener.Close()
	<-served                    // net/http knows of every connection that was accepted
	_ = in.server.Shutdown(ctx) // says GOAWAY, and waits
	_ = in.server.Close()       // of what is left when ctx has ended
	<-deserted
	<-in.handler.requests.Close()
}

// ServeHTTP answers one request; it is net/http's to call.
func (in *web) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if in.leaving.Load() { // of HTTP/2, a GOAWAY follows
		w.Header().Set("Connection", "close")
	}
	in.handler.ServeHTTP(w, r)
}

// leave ends accepting; whoever is connected may ask once more, which net/http
// lets nobody once it is shut down.
func (in *web) leave() {
	in.leaving.Store(true)
	_ = in.listener.Close()
}

// changed follows a connection's life; it is net/http's ConnState hook.
func (in *web) changed(conn net.Conn, state http.ConnState) {
	if state != http.StateClosed {
		return
	}
	defer in.conns.Done()
	secured, ok := conn.(*tls.Conn)
	if ok && !secured.ConnectionState().HandshakeComplete && !webConnOf(conn).refused.Load() {
		in.shed(ShedHandshake, 1)
	}
}

// Stop ends reading; requests under way are still answered.
func (in *web) Stop() {
	in.stopOnce.Do(func() { close(in.stopping) })
	_ = in.listener.Close()
}

// Close closes the listener; it is Stop.
func (in *web) Close() { in.Stop() }

// webListener is what net/http accepts connections from.
type webListener web

// Accept waits for a client that may be served.
func (l *webListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.listener.AcceptTCP()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil, err
			}
			l.crowd.relieve()       // out of descriptors
			time.Sleep(acceptPause) // or of what only time brings back
			continue
		}
		w := l.welcome(conn)
		if w == nil {
			_ = conn.Close()
			continue
		}
		l.conns.Add(1)
		return w, nil
	}
}

// welcome admits a connection; nil is one too many. Whoever stands behind a
// proxy is known only when the connection is read.
func (l *webListener) welcome(conn *net.TCPConn) *webConn {
	w := &webConn{TCPConn: conn, shared: l.shared}
	w.visitor.member = &member{
		transport: HTTPS,
		interrupt: func() {
			if !w.visitor.served.Load() {
				_ = conn.Close() // net/http would wait seconds for its first request
			}
		},
		cut: func() { _ = conn.Close() },
	}
	w.visitor.client = func() netip.AddrPort { return w.client }
	if !l.crowd.admit(w.visitor.member) {
		return nil
	}
	peer := peerAddress(conn.RemoteAddr())
	if l.behindProxy(peer.Addr()) {
		return w
	}
	w.client = peer
	w.once.Do(func() {}) // there is no header to be read
	if !l.crowd.claim(w.visitor.member, peer.Addr(), unproven) {
		l.crowd.leave(w.visitor.member)
		return nil
	}
	return w
}

// Close closes the listener.
func (l *webListener) Close() error { return l.listener.Close() }

// Addr is where it listens.
func (l *webListener) Addr() net.Addr { return l.listener.Addr() }

// webConn is a connection that net/http serves. The PROXY header is read with
// the first of its bytes, so that accepting never waits for a client.
type webConn struct {
	*net.TCPConn
	shared  *shared
	visitor visitor
	refused atomic.Bool // what it is refused for has been counted

	once   sync.Once
	client netip.AddrPort // good once once is done
	err    error
}

// webConnOf is the webConn that net/http knows as conn.
func webConnOf(conn net.Conn) *webConn {
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn()
	}
	w, ok := conn.(*webConn)
	if !ok {
		panic("ingress: connection from a foreign listener")
	}
	return w
}

// Read reads as TCPConn does, what is behind the PROXY header.
func (w *webConn) Read(p []byte) (int, error) {
	w.once.Do(w.readHeader)
	if w.err != nil {
		return 0, w.err
	}
	return w.TCPConn.Read(p)
}

func (w *webConn) readHeader() {
	w.client, w.err = w.shared.clientOf(w.TCPConn)
	if w.err != nil {
		w.shared.shed(ShedProxyHeader, 1)
		w.refused.Store(true)
		return
	}
	if !w.shared.crowd.claim(w.visitor.member, w.client.Addr(), unproven) {
		w.refused.Store(true)
		w.err = errSentAway
	}
}

// Close closes the connection and counts it out.
func (w *webConn) Close() error {
	w.shared.crowd.leave(w.visitor.member)
	return w.TCPConn.Close()
}
