package ingress

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// limits bounds what the clients of connections may take up.
type limits struct {
	idle      time.Duration  // for a query to arrive whole, and for a reply to leave
	proxyFrom []netip.Prefix // whose connections begin with a PROXY header
}

// shared is what all listeners of a Set have in common.
type shared struct {
	limits
	crowd *crowd
	slots slots
	// reading bounds how many queries by HTTPS and QUIC are being read at a
	// time: they come in streams, of which a connection has many, and one that
	// never ends costs as much as one that is answered.
	reading slots
	shed    func(reason string, n int)
	sockets Sockets

	stopped atomic.Bool
}

// stop ends the reading of every connection and admits no other. What is under
// way is still answered.
func (s *shared) stop() {
	s.stopped.Store(true)
	s.crowd.stop()
}

// arm gives the next query of a connection its time. It comes before or after
// stop interrupts the connection; either way, the deadline in the past is the
// last to be set.
func (s *shared) arm(conn net.Conn) {
	_ = conn.SetReadDeadline(time.Now().Add(s.idle))
	if s.stopped.Load() {
		_ = conn.SetReadDeadline(longAgo)
	}
}

// behindProxy reports whether an address is one of a proxy that must say for
// whom it asks.
func (s *shared) behindProxy(addr netip.Addr) bool {
	return slices.ContainsFunc(s.proxyFrom, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// streams is a listener whose connections carry framed queries: TCP, and with
// certificates TLS.
type streams struct {
	*shared
	transport Transport
	listener  *net.TCPListener
	tls       *tls.Config // nil: plain TCP

	door      Door
	bursts    *bursts
	exchanges *exchanges
	backlog   atomic.Int64
}

// listenStreams binds address. With a TLS configuration it speaks DoT.
func listenStreams(ctx context.Context, address string, s *shared, config *tls.Config) (*streams, error) {
	in := &streams{shared: s, transport: TCP, tls: config, exchanges: newExchanges()}
	if config != nil {
		in.transport = TLS
	}
	var err error
	in.listener, err = s.listenTCP(ctx, in.transport, address)
	if err != nil {
		return nil, err
	}
	return in, nil
}

// listenTCP binds address, without what a DNS connection has no use for:
// probes while it is idle, and more than one path.
func (s *shared) listenTCP(ctx context.Context, t Transport, address string) (*net.TCPListener, error) {
	config := net.ListenConfig{KeepAlive: -1}
	config.SetMultipathTCP(false)
	bound, err := s.sockets.listenTCP(ctx, &config, t, address)
	if err != nil {
		return nil, err
	}
	listener, ok := bound.(*net.TCPListener)
	if !ok {
		_ = bound.Close()
		return nil, errors.New("not a TCP address")
	}
	return listener, nil
}

// Address is where it listens.
func (in *streams) Address() Address {
	return Address{Name: "dns " + in.transport.String(), Addr: in.listener.Addr().String()}
}

// Serve answers the queries of every connection, and returns after Stop when
// the last reply has gone out.
func (in *streams) Serve(ctx context.Context, door Door) {
	in.door, in.bursts = door, newBursts(door)
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, err := in.listener.AcceptTCP()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			in.crowd.relieve()      // out of descriptors
			time.Sleep(acceptPause) // or of what only time brings back
			continue
		}
		m := newMember(in.transport, conn)
		if !in.crowd.admit(m) {
			_ = conn.Close()
			continue
		}
		open.Go(func() {
			defer in.crowd.leave(m)
			defer conn.Close()
			in.serveConn(ctx, conn, m)
		})
	}
}

// acceptPause is how long a listener that cannot accept waits.
const acceptPause = 5 * time.Millisecond

// newMember makes the member of a TCP connection.
func newMember(t Transport, conn *net.TCPConn) *member {
	return &member{
		transport: t,
		interrupt: func() { _ = conn.SetReadDeadline(longAgo) },
		cut:       func() { _ = conn.Close() },
	}
}

// serveConn finds out who the client is and answers it.
func (in *streams) serveConn(ctx context.Context, conn *net.TCPConn, m *member) {
	in.arm(conn)
	client, err := in.clientOf(conn)
	if err != nil {
		in.shed(ShedProxyHeader, 1)
		return
	}
	otherwise := stranger
	if in.tls != nil {
		otherwise = unproven // until its handshake is over
	}
	if !in.crowd.claim(m, client.Addr(), otherwise) {
		return
	}
	c := &conversation{streams: in, member: m, query: Query{Client: client, Transport: in.transport}}
	c.outbox = outbox{patience: in.idle, backlog: &in.backlog, cut: m.cut}
	if in.tls == nil {
		in.converse(ctx, c, conn)
		return
	}
	in.converseTLS(ctx, c, conn)
}

func (in *streams) converse(ctx context.Context, c *conversation, conn *net.TCPConn) {
	arrivals, err := newArrivals(c, conn)
	if err != nil {
		return
	}
	c.outbox.conn, c.input = conn, arrivals
	c.run(ctx)
	_ = conn.CloseWrite()
	in.drain(conn, c)
}

func (in *streams) converseTLS(ctx context.Context, c *conversation, conn *net.TCPConn) {
	secured := tls.Server(&tlsInput{TCPConn: conn, waiting: c.waiting}, in.tls)
	c.outbox.conn, c.input = secured, secured
	if conn.SetWriteDeadline(time.Now().Add(in.idle)) != nil {
		return
	}
	if err := secured.Handshake(); err != nil {
		in.shed(ShedHandshake, 1)
		return
	}
	c.armed = false
	c.query.Peer = peerOf(secured.ConnectionState())
	if !in.crowd.settle(c.member, c.query.Peer != nil) {
		return
	}
	c.run(ctx)
	_ = secured.CloseWrite()
	_ = conn.CloseWrite()
	in.drain(conn, c)
}

// Bounds for reading what nobody wants.
const (
	drainTime  = time.Second
	drainBytes = 64 << 10
)

// drain reads, for a while, what the client has sent and will not get an
// answer to: a connection closed with something unread is reset, and a reset
// overtakes replies.
func (in *streams) drain(conn *net.TCPConn, c *conversation) {
	var patience time.Duration
	switch {
	case c.ended:
		return // it has sent all that it wants to
	case in.stopped.Load() || !c.refused && !c.member.is(stranger):
		patience = time.Millisecond // what is here already
	default:
		patience = drainTime
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	_, _ = io.CopyN(io.Discard, conn, drainBytes)
}

// Stop closes the listener. Connections end with those of every other listener
// that shares their crowd.
func (in *streams) Stop() { _ = in.listener.Close() }

// Close closes the listener; it is Stop.
func (in *streams) Close() { in.Stop() }
