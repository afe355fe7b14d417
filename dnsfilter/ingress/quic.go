package ingress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
)

// Bounds of QUIC. A connection's memory is its windows; queries are small.
const (
	quicHandshake  = 5 * time.Second
	quicIdle       = 30 * time.Second // setting up costs more than over TCP (RFC 9250 §5.5.1)
	quicStreams    = 100              // queries of one connection under way at a time
	streamWindow   = 16 << 10
	quicConnWindow = 256 << 10

	// lastWords is how long a connection that we end stays for its last reply
	// to arrive: closing it takes back what the client has not received.
	lastWords = 500 * time.Millisecond
)

// quicSocket is a UDP socket that accepts QUIC connections. It is closed by
// who made it.
type quicSocket struct {
	*shared
	name      Transport // that its connections count as
	conn      net.PacketConn
	transport *quic.Transport
	listener  *quic.Listener
	serving   atomic.Bool

	handshakes handshakes

	accepting context.Context
	refuse    context.CancelFunc // ends accepting
}

// listenQUIC binds address. Client-made unidirectional streams are as many as
// the protocol needs.
func listenQUIC(ctx context.Context, address string, s *shared, name Transport, config *tls.Config, unidirectional int64) (*quicSocket, error) {
	conn, err := s.sockets.listenQUIC(ctx, &net.ListenConfig{}, name, address)
	if err != nil {
		return nil, err
	}
	q := &quicSocket{shared: s, name: name, conn: conn}
	q.accepting, q.refuse = context.WithCancel(context.Background())
	q.transport = &quic.Transport{
		Conn:                conn,
		ConnContext:         q.arrive,
		VerifySourceAddress: q.mustProve,
	}
	if key := quic.StatelessResetKey(s.sockets.ResetKey); key != (quic.StatelessResetKey{}) {
		q.transport.StatelessResetKey = &key
	}
	q.listener, err = q.transport.Listen(config, &quic.Config{
		HandshakeIdleTimeout:           quicHandshake,
		MaxIdleTimeout:                 max(s.idle, quicIdle),
		InitialStreamReceiveWindow:     streamWindow,
		MaxStreamReceiveWindow:         streamWindow,
		InitialConnectionReceiveWindow: quicConnWindow,
		MaxConnectionReceiveWindow:     quicConnWindow,
		MaxIncomingStreams:             quicStreams,
		MaxIncomingUniStreams:          unidirectional,
		// Data of 0-RTT can be replayed by who recorded it: a replayed query
		// shows, by what we ask upstream, what it was (RFC 9250 §4.5).
		Allow0RTT: false,
	})
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("start QUIC: %w", err)
	}
	return q, nil
}

// handshakeKey is how a connection's context has the func that ends its
// handshake.
type handshakeKey struct{}

var errRefused = errors.New("refused")

// arrive decides on a connection whose handshake is about to begin, and gives
// its context what accept and the requests of HTTP/3 look for there. The PROXY
// protocol has no form for QUIC, and the rules of a client that is not known
// must not be those of the proxy.
func (q *quicSocket) arrive(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	client := peerAddress(info.RemoteAddr).Addr()
	if q.behindProxy(client) {
		q.shed(ShedProxyHeader, 1)
		return nil, errRefused
	}
	known := q.crowd.known(client)
	if !q.handshakes.begin(client, known) {
		q.shed(ShedHandshake, 1)
		return nil, errRefused
	}
	failed := context.AfterFunc(ctx, func() {
		q.handshakes.end(client, known)
		q.shed(ShedHandshake, 1)
	})
	succeeded := func() {
		if failed() {
			q.handshakes.end(client, known)
		}
	}
	ctx = context.WithValue(ctx, visitorKey{}, &visitor{})
	return context.WithValue(ctx, handshakeKey{}, succeeded), nil
}

// mustProve reports whether a client must prove its address before anything
// else is done for it.
func (q *quicSocket) mustProve(addr net.Addr) bool {
	return q.handshakes.many() || !q.crowd.known(peerAddress(addr).Addr())
}

// accept waits for a connection that may be served, and makes it a member,
// whose interrupt is made for it. One that may not ask by its address, and has
// no certificate that names it, has the standing otherwise. code is what those
// are closed with that are too many.
func (q *quicSocket) accept(code quic.ApplicationErrorCode, otherwise standing, interrupt func() func()) (*quic.Conn, *member, error) {
	for {
		conn, err := q.listener.Accept(q.accepting)
		if err != nil {
			return nil, nil, err
		}
		if succeeded, ok := conn.Context().Value(handshakeKey{}).(func()); ok {
			succeeded()
		}
		m := &member{
			transport: q.name,
			interrupt: interrupt(),
			cut:       func() { _ = conn.CloseWithError(code, "") },
		}
		if q.crowd.admit(m) {
			is := otherwise
			if peerOf(conn.ConnectionState().TLS) != nil {
				is = known
			}
			if q.crowd.claim(m, peerAddress(conn.RemoteAddr()).Addr(), is) {
				return conn, m, nil
			}
			q.crowd.leave(m)
		}
		_ = conn.CloseWithError(code, "")
	}
}

// Address is where it listens.
func (q *quicSocket) Address() Address {
	return Address{Name: "dns " + q.name.String(), Addr: q.conn.LocalAddr().String()}
}

// Stop ends accepting. Connections end with those of every other listener that
// shares their crowd. Those whose handshake is under way are told before accept
// returns: what comes after that may take their words away.
func (q *quicSocket) Stop() {
	_ = q.listener.Close()
	q.refuse()
}

// Close is Stop, and closes a socket that is not being served. One that is
// goes when the context ends that Serve was given, after its clients have been
// told.
func (q *quicSocket) Close() {
	q.Stop()
	if !q.serving.Load() {
		q.free()
	}
}

// free closes the socket. Connections that are still there learn nothing.
func (q *quicSocket) free() {
	_ = q.transport.Close()
	_ = q.conn.Close()
}
