package upstream

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
)

// sessionQUIC asks one server over QUIC (RFC 9250): a stream for each query, on
// a connection that is kept.
type sessionQUIC struct {
	to     *endpoint
	secure *tls.Config
	crew   *crew
	calls  *calls
	ctx    context.Context // ends the connection that is being made, and every exchange
	lines  sync.WaitGroup  // of connections that are there; none begins once the crew has gone

	mu      sync.Mutex
	current *connQUIC // nil: none
}

// connQUIC is one connection, from the wish for it to its end.
type connQUIC struct {
	ready chan struct{} // closed once conn or err is set
	conn  *quic.Conn
	err   error

	mu        sync.Mutex
	lastHeard time.Time
}

const (
	protocolQUIC = "doq"
	idleQUIC     = 30 * time.Second

	// RFC 9250 §4.3
	codeNoErrorQUIC   = 0x0
	codeCancelledQUIC = 0x3

	windowQUIC = 1 << 20 // bytes that a server may send ahead, on all streams
)

func (t *sessionQUIC) exchange(ctx context.Context, q Query, deadline time.Time) (*dns.Msg, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	c := t.calls.borrow(q)
	defer t.calls.giveBack(c)
	c.sent = appendQuery(append(c.sent[:0], 0, 0), q, 0, []byte(q.Name), extras{padded: true}) // id 0: RFC 9250 §4.2.1
	binary.BigEndian.PutUint16(c.sent, uint16(len(c.sent)-lengthBytes))

	used, err := t.ask(ctx, c)
	if used && errors.Is(err, errCut) {
		_, err = t.ask(ctx, c) // on a new connection: this one has ended
	}
	if err != nil {
		return nil, err
	}
	return unpackWithoutID(c.response, q)
}

// ask sends c on a stream of its own and reads the answer. used says that the
// connection had been in use before.
func (t *sessionQUIC) ask(ctx context.Context, c *call) (used bool, err error) {
	conn, used, err := t.connection(ctx)
	if err != nil {
		return false, err
	}
	begun := time.Now()
	err = conn.ask(ctx, c)
	switch {
	case err == nil:
		conn.heard()
		return used, nil
	case errors.Is(ctx.Err(), context.Canceled):
		return used, timedOut(why(ctx))
	case conn.endedWith(err):
		t.drop(conn)
		return used, fmt.Errorf("ask %s: %w: %w", t.to.server.name, errCut, err)
	case isTimeout(err):
		if conn.silentSince(begun) {
			t.drop(conn) // it leads nowhere any more, though nobody said so
		}
		return used, timedOut(err)
	default: // the stream only
		return used, cutOff(err)
	}
}

// endedWith reports whether err is the end of the whole connection. Its context
// ends a little after its streams.
func (c *connQUIC) endedWith(err error) bool {
	var byPeer *quic.ApplicationError
	var broken *quic.TransportError
	var idle *quic.IdleTimeoutError
	var reset *quic.StatelessResetError
	return c.conn.Context().Err() != nil ||
		errors.As(err, &byPeer) || errors.As(err, &broken) || errors.As(err, &idle) || errors.As(err, &reset)
}

func (c *connQUIC) ask(ctx context.Context, call *call) error {
	stream, err := c.conn.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	defer stream.CancelRead(codeCancelledQUIC) // no effect on what was read to the end
	deadline, _ := ctx.Deadline()
	if err := stream.SetDeadline(deadline); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = stream.SetDeadline(time.Unix(1, 0)) })()
	if _, err := stream.Write(call.sent); err != nil {
		stream.CancelWrite(codeCancelledQUIC)
		return err
	}
	if err := stream.Close(); err != nil { // RFC 9250 §4.2: no more queries here
		return err
	}
	call.response, err = readMessage(stream, call.response)
	return err
}

// connection returns the connection in use, or makes one, once for all who
// wait for it. used says that it was there already.
func (t *sessionQUIC) connection(ctx context.Context) (conn *connQUIC, used bool, err error) {
	conn, used = t.join()
	if conn == nil {
		return nil, false, unreachable(ErrClosed)
	}
	select {
	case <-conn.ready:
		return conn, used, conn.err
	case <-ctx.Done():
		return nil, false, timedOut(why(ctx))
	}
}

func (t *sessionQUIC) join() (conn *connQUIC, used bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current != nil && !t.current.over() {
		return t.current, t.current.made()
	}
	fresh := &connQUIC{ready: make(chan struct{})}
	unmade := func(err error) {
		fresh.err = err
		t.settle(fresh)
	}
	if !t.crew.start(func() { t.connect(fresh) }, unmade) {
		return nil, false
	}
	t.current = fresh
	return fresh, false
}

func (t *sessionQUIC) connect(c *connQUIC) {
	ctx, cancel := context.WithTimeout(t.ctx, connectTimeout)
	defer cancel()
	c.conn, c.err = connect(ctx, t.to, t.dial)
	t.settle(c)
}

// dial makes a connection on a line of its own, which goes with it.
func (t *sessionQUIC) dial(ctx context.Context, target netip.AddrPort) (*quic.Conn, error) {
	line, err := openLine(target)
	if err != nil {
		return nil, err
	}
	conn, err := line.transport.Dial(ctx, net.UDPAddrFromAddrPort(target), t.secure, &quic.Config{
		HandshakeIdleTimeout:       connectTimeout,
		MaxIdleTimeout:             idleQUIC,
		MaxConnectionReceiveWindow: windowQUIC,
		MaxIncomingStreams:         -1, // the server has nothing to ask
		MaxIncomingUniStreams:      -1,
	})
	if err != nil {
		line.close()
		return nil, err
	}
	t.lines.Go(func() {
		<-conn.Context().Done() // by then the server has been told
		line.close()
	})
	return conn, nil
}

// settle tells those who wait for a connection that it is there, or that it is
// not to be had.
func (t *sessionQUIC) settle(c *connQUIC) {
	if c.err != nil {
		t.forget(c)
	}
	close(c.ready)
}

// made reports whether the connection is there.
func (c *connQUIC) made() bool {
	select {
	case <-c.ready:
		return true
	default:
		return false
	}
}

// over reports whether the connection was there and has ended.
func (c *connQUIC) over() bool {
	return c.made() && (c.err != nil || c.conn.Context().Err() != nil)
}

func (c *connQUIC) heard() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastHeard = time.Now()
}

func (c *connQUIC) silentSince(t time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastHeard.Before(t)
}

func (t *sessionQUIC) forget(c *connQUIC) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == c {
		t.current = nil
	}
}

// drop ends a connection that is there.
func (t *sessionQUIC) drop(c *connQUIC) {
	t.forget(c)
	_ = c.conn.CloseWithError(codeNoErrorQUIC, "")
}

// hangUp has nothing to do: the Pool's context ends every exchange.
func (t *sessionQUIC) hangUp() {}

func (t *sessionQUIC) cleanUp() {
	t.mu.Lock()
	c := t.current
	t.mu.Unlock()
	if c != nil && c.made() && c.err == nil {
		t.drop(c)
	}
	t.lines.Wait()
}
