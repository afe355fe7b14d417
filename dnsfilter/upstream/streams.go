package upstream

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// streams asks one server over TCP or TLS, on connections that are kept and
// that many queries share, answered in any order (RFC 7766 §6.2, RFC 7858
// §3.3).
type streams struct {
	to     *endpoint
	secure *tls.Config // nil: plain TCP
	crew   *crew
	calls  *calls
	ctx    context.Context // ends connections that are being made
	now    func() time.Time

	mu       sync.Mutex // guards the connections' fields as well
	conns    []*stream
	closed   bool
	shyUntil time.Time // before it, a connection gets one query at a time
}

const (
	maxStreams    = 8   // connections to one server
	maxShyStreams = 32  // to one that takes a query at a time
	streamDepth   = 64  // queries on a connection before there is another one
	maxPipelined  = 512 // queries on a connection, those given up included
	maxGivenUp    = 128 // ids lost to answers that never came

	connectTimeout = 5 * time.Second
	writeTimeout   = 5 * time.Second
	shyTime        = 10 * time.Minute
)

var errFull = errors.New("all connections are full")

func (t *streams) exchange(ctx context.Context, q Query, deadline time.Time) (*dns.Msg, error) {
	c := t.calls.borrow(q)
	defer t.calls.giveBack(c)
	c.name = append(c.name[:0], q.Name...)
	c.sent = appendQuery(append(c.sent[:0], 0, 0), q, 0, c.name, extras{keepalive: true, padded: t.secure != nil})
	binary.BigEndian.PutUint16(c.sent, uint16(len(c.sent)-lengthBytes))

	st, used, err := t.ask(ctx, c, false, deadline)
	if used && errors.Is(err, errCut) {
		// A server may end a connection at any time, and the query that met the
		// end may not have been seen (RFC 7766 §6.2.4).
		st, _, err = t.ask(ctx, c, true, deadline)
	}
	if err != nil {
		return nil, err
	}
	response, err := unpack(c.response, q)
	if err == nil {
		if idle, said := keepaliveIn(response); said {
			st.letIdle(idle)
		}
	}
	return response, err
}

// ask sends c on a connection and waits for the answer. used says that the
// connection was in use, before or by others: then its end need not have to do
// with c.
func (t *streams) ask(ctx context.Context, c *call, fresh bool, deadline time.Time) (st *stream, used bool, err error) {
	begun := time.Now()
	st, used, err = t.join(c, fresh)
	if err != nil {
		return nil, false, err
	}
	if !c.wait(ctx, deadline) {
		if st.giveUp(c, begun, ctx.Err() == nil) {
			return nil, false, timedOut(why(ctx))
		}
		<-c.done // it came at the last moment
	}
	if c.err != nil {
		return st, used || st.wasShared(), c.err
	}
	return st, used, nil
}

// join puts c on the connection that has least to do, or on a new one. fresh
// asks for one that is not in use yet.
func (t *streams) join(c *call, fresh bool) (st *stream, used bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, false, unreachable(ErrClosed)
	}
	depth, limit, most := streamDepth, maxStreams, maxPipelined
	if t.shyUntil.After(t.now()) {
		depth, limit, most = 1, maxShyStreams, 1
	}
	best := t.leastBusy(fresh)
	if (best == nil || best.load() >= depth) && len(t.conns) < limit {
		best = t.openLocked()
	}
	if best == nil {
		best = t.leastBusy(false)
	}
	if best == nil || best.load() >= most {
		return nil, false, unreachable(errFull)
	}
	used = best.conn != nil
	if !best.addLocked(c) {
		return nil, false, unreachable(errFull)
	}
	return best, used, nil
}

func (t *streams) leastBusy(fresh bool) *stream {
	var best *stream
	for _, st := range t.conns {
		if fresh && st.conn != nil {
			continue
		}
		if best == nil || st.load() < best.load() {
			best = st
		}
	}
	return best
}

// openLocked begins a connection; queries may join it at once. nil: the Pool
// is closing.
func (t *streams) openLocked() *stream {
	st := &stream{owner: t, wake: make(chan struct{}, 1), dead: make(chan struct{}), idle: defaultIdle, lastUsed: time.Now()}
	if !t.crew.start(st.run, st.end) {
		return nil
	}
	t.conns = append(t.conns, st)
	return st
}

// connect makes a connection, and sees to it that the server is who it should
// be.
func (t *streams) connect() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.ctx, connectTimeout)
	defer cancel()
	return connect(ctx, t.to, func(ctx context.Context, target netip.AddrPort) (net.Conn, error) {
		conn, err := dialTCP(ctx, target)
		if err != nil || t.secure == nil {
			return conn, err
		}
		secured := tls.Client(conn, t.secure)
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
		return secured, nil
	})
}

func (t *streams) hangUp() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for len(t.conns) > 0 {
		t.conns[0].endLocked(unreachable(ErrClosed))
	}
}

func (t *streams) cleanUp() {}
