package upstream

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// datagrams asks one server over UDP, and over TCP where that does not do. Its
// sockets are each for one server (RFC 5452 §9.2): the kernel picks the port
// and takes packets from nobody else. Many are open at a time, each query
// takes one at random, and none lives long, so that who wants to forge an
// answer has to guess port, id and letter case.
type datagrams struct {
	to    *endpoint
	over  *streams // for what does not fit, and what is suspicious
	crew  *crew
	calls *calls
	life  time.Duration // of a socket, before its last query ends
	now   func() time.Time

	sockets [maxSockets]atomic.Pointer[socket]

	mu     sync.Mutex // held while sockets change
	open   map[*socket]struct{}
	closed bool

	letters letterCase
}

const (
	maxSockets     = 32   // open at a time, and a divisor of 256
	maxSocketAsked = 1024 // queries that one socket carries
	socketLife     = 20 * time.Second
	firstResend    = 400 * time.Millisecond // a resolver that is well and near answers sooner
	readGrace      = time.Second            // a reader outlives the last query
	maxStray       = 64                     // answers to something else that a socket reads past
	maxDatagram    = 4096                   // more than the query offers to take
	letterMisses   = 3                      // answers in other letters that say a server does not repeat them
	letterAmnesty  = time.Hour
)

func (t *datagrams) exchange(ctx context.Context, q Query, deadline time.Time) (*dns.Msg, error) {
	response, err := t.exchangeUDP(ctx, q, deadline)
	if errors.Is(err, errTruncated) || errors.Is(err, errSuspicious) || errors.Is(err, errLetterCase) {
		return t.over.exchange(ctx, q, deadline)
	}
	return response, err
}

func (t *datagrams) exchangeUDP(ctx context.Context, q Query, deadline time.Time) (*dns.Msg, error) {
	c := t.calls.borrow(q)
	defer t.calls.giveBack(c)
	mixed := t.letters.mixed(t.now)
	if mixed {
		c.name = c.dice.scramble(c.name[:0], q.Name)
	} else {
		c.name = append(c.name[:0], q.Name...)
	}
	c.sent = appendQuery(c.sent[:0], q, 0, c.name, extras{})
	s, err := t.seat(ctx, c, deadline)
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint16(c.sent, c.id)
	if err := s.send(c.sent); err != nil {
		s.end(fmt.Errorf("ask %s: %w", t.to.server.name, err))
	}
	if !t.waitAndResend(ctx, s, c, deadline) {
		if s.giveUp(c) {
			return nil, timedOut(why(ctx))
		}
		<-c.done // it came at the last moment
	}
	if mixed {
		t.letters.note(c, t.now)
	}
	switch {
	case c.err != nil:
		return nil, c.err
	case truncated(c.response):
		return nil, errTruncated
	default:
		return unpack(c.response, q)
	}
}

// waitAndResend waits for the answer and sends the query again, as it was, each
// time that a longer pause brought nothing: one lost packet must not cost a
// whole try. It returns as call.wait does.
func (t *datagrams) waitAndResend(ctx context.Context, s *socket, c *call, deadline time.Time) bool {
	for pause := firstResend; ; pause *= 2 {
		next := time.Now().Add(pause)
		if !next.Before(deadline) {
			return c.wait(ctx, deadline)
		}
		if c.wait(ctx, next) {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if !s.sendAgain(c) {
			return c.wait(ctx, deadline)
		}
	}
}

// seat finds a socket for c, chosen at random, and opens one where there is
// none any more.
func (t *datagrams) seat(ctx context.Context, c *call, deadline time.Time) (*socket, error) {
	place := &t.sockets[c.dice.uint8()%maxSockets]
	if s := place.Load(); s != nil && s.take(c, deadline) {
		return s, nil
	}
	targets, err := t.targets(ctx, deadline)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := place.Load(); s != nil && s.take(c, deadline) { // somebody was quicker
		return s, nil
	}
	s, err := t.openLocked(targets, deadline)
	if err != nil { // perhaps there are no ports left, or no descriptors
		if s := t.anySocket(c, deadline); s != nil {
			return s, nil
		}
		return nil, err
	}
	place.Store(s)
	if !s.take(c, deadline) {
		return nil, unreachable(errSocketEnded)
	}
	return s, nil
}

var errSocketEnded = errors.New("the socket ended at once")

func (t *datagrams) targets(ctx context.Context, deadline time.Time) ([]netip.AddrPort, error) {
	if t.to.server.host == "" {
		return t.to.addresses(ctx)
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	return t.to.addresses(ctx)
}

func (t *datagrams) anySocket(c *call, deadline time.Time) *socket {
	for i := range t.sockets {
		if s := t.sockets[i].Load(); s != nil && s.take(c, deadline) {
			return s
		}
	}
	return nil
}

// openLocked makes a socket with its reader, which ends by itself, even if no
// query ever comes by again.
func (t *datagrams) openLocked(targets []netip.AddrPort, deadline time.Time) (*socket, error) {
	if t.closed {
		return nil, unreachable(ErrClosed)
	}
	conn, target, err := dialUDP(targets)
	if err != nil {
		return nil, fmt.Errorf("reach %s: %w", t.to.server.name, err)
	}
	s := &socket{conn: conn, to: t.to, target: target, until: deadline.Add(t.life)}
	if err := conn.SetReadDeadline(s.until.Add(readGrace)); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("set the deadline of %s: %w", t.to.server.name, err)
	}
	begun := t.crew.start(func() {
		defer t.forget(s)
		s.read()
	}, s.end)
	if !begun {
		_ = conn.Close()
		return nil, unreachable(ErrClosed)
	}
	t.open[s] = struct{}{}
	return s, nil
}

func (t *datagrams) forget(s *socket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, s)
}

func dialUDP(targets []netip.AddrPort) (conn *net.UDPConn, target netip.Addr, err error) {
	for _, t := range targets {
		if conn, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(t)); err == nil {
			return conn, t.Addr(), nil
		}
	}
	return nil, netip.Addr{}, err
}

func (t *datagrams) hangUp() {
	t.mu.Lock()
	t.closed = true
	for s := range t.open {
		s.end(ErrClosed)
	}
	t.mu.Unlock()
	t.over.hangUp()
}

func (t *datagrams) cleanUp() {}

// letterCase remembers whether a server repeats the letters of a question.
// Safe for concurrent use.
type letterCase struct {
	misses atomic.Int32
	until  atomic.Int64 // nanoseconds since 1970; before it, letters are not mixed
}

func (l *letterCase) mixed(now func() time.Time) bool {
	until := l.until.Load()
	return until == 0 || now().UnixNano() >= until
}

// note learns from a call whose letters were mixed. One answer in other letters
// may be a forgery; several in a row, with none that is right between them, are
// the server's way.
func (l *letterCase) note(c *call, now func() time.Time) {
	switch {
	case errors.Is(c.err, errLetterCase):
		if l.misses.Add(1) >= letterMisses {
			l.misses.Store(0)
			l.until.Store(now().Add(letterAmnesty).UnixNano())
		}
	case c.err == nil && string(c.name) != c.query.Name && l.misses.Load() != 0:
		l.misses.Store(0)
	}
}
