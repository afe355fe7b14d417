package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/policy"
)

// transparentFront is the front of a connection that the system has redirected
// to us: its client knows of no proxy, and has asked for nothing. What it wants
// is the address that it connected to, and the name that its first bytes give.
type transparentFront struct {
	server *Server
	conn   *clientConn
	hello  *helloReader
	taken  bool // it has become a tunnel
	closed bool
}

// serveTransparent serves a redirected connection. Plain HTTP is left to
// net/http, whose requests are judged one by one; everything else becomes a
// tunnel, or is refused.
func (s *Server) serveTransparent(l *listener, conn *clientConn) {
	if !s.requests.Enter() {
		s.hangUp(conn)
		return
	}
	defer s.requests.Leave()
	f := &transparentFront{server: s, conn: conn, hello: &helloReader{}}
	left := f.serve(l)
	switch {
	case left:
	case f.taken:
		s.crowd.leave(conn.addr)
	case f.closed:
		s.crowd.leave(conn.addr)
	default:
		s.hangUp(conn)
	}
}

// serve does the work, and reports whether net/http has the connection now.
func (f *transparentFront) serve(l *listener) (left bool) {
	s := f.server
	if !contains(s.config.Clients, f.conn.addr) {
		s.metrics.answered(methodTransparent, http.StatusForbidden)
		return false
	}
	original, err := s.originalDestination(f.conn.tcp)
	if err != nil || s.networks.isSelf(original.Addr(), original.Port()) {
		// Nobody was redirected: somebody connected to the listener itself.
		s.metrics.shed.WithLabelValues(shedUndirected).Inc()
		s.dependencies.Log.Debug("a connection that was not redirected", zap.Stringer("client", f.conn.addr), zap.Error(err))
		return false
	}
	f.conn.original = original
	state, present := f.peek()
	if !present {
		return false
	}
	if s.redialled.made(f.conn.tcp, original) { // what we dialled has greeted us by now
		s.metrics.shed.WithLabelValues(shedUndirected).Inc()
		s.dependencies.Log.Warn("a connection of the gateway's own was redirected to it: have the rules leave its user and its way out alone",
			zap.Stringer("destination", original))
		return false
	}
	if state == helloComplete && f.hello.isRequest() {
		s.leaveToHTTP(l, f.conn, f.hello.raw)
		return true
	}
	x := s.newExchange(f.asking())
	x.hidden = f.hello.hidden
	s.tunnelThrough(x, f.hello.names, state)
	return false
}

func (f *transparentFront) asking() asking {
	return asking{
		front:     f,
		ctx:       f.server.base,
		client:    f.conn.addr,
		original:  f.conn.original,
		verb:      http.MethodConnect,
		method:    methodTransparent,
		transport: methodTransparent,
	}
}

// peek reads how the client begins, and reports whether it is still there. One
// that says nothing for a moment, or nothing at all, may be waiting for the
// server to speak first.
func (f *transparentFront) peek() (state helloState, present bool) {
	limits := f.server.config.Timeouts
	stop := context.AfterFunc(f.server.base, func() { _ = f.conn.Close() })
	defer stop()
	piece := f.server.blocks.Get().(*block)
	defer f.server.blocks.Put(piece)
	_ = f.conn.SetReadDeadline(time.Now().Add(limits.Peek))
	defer func() { _ = f.conn.SetReadDeadline(time.Time{}) }()
	for state = helloPartial; state == helloPartial; {
		n, err := f.conn.Conn.Read(piece[:])
		if n > 0 {
			if len(f.hello.raw) == 0 {
				_ = f.conn.SetReadDeadline(time.Now().Add(limits.FirstByte))
			}
			state = f.hello.feed(piece[:n])
			continue
		}
		switch silent := len(f.hello.raw) == 0; {
		case errors.Is(err, os.ErrDeadlineExceeded) && silent:
			return helloForeign, true // the relay goes on looking
		case errors.Is(err, os.ErrDeadlineExceeded):
			return f.hello.late(), true
		case !errors.Is(err, io.EOF):
			return state, false
		case silent:
			return helloForeign, true
		case f.hello.clear != nil:
			return helloComplete, true
		default:
			return helloBroken, true
		}
	}
	return state, true
}

// isRequest reports whether what was read is a plain request that net/http can
// serve. A CONNECT is meant for a proxy somewhere else: it is judged by the
// names in it, and passed on as it is.
func (h *helloReader) isRequest() bool {
	return h.clear != nil && h.clear.inHead && !bytes.HasPrefix(bytes.TrimLeft(h.raw, "\r\n"), connectWord)
}

// tunnelThrough opens a tunnel to where a redirected connection was going. The
// name that the client gives is what the policy is asked about, if it leads
// there; else it is a claim, and the address is what is asked about.
func (s *Server) tunnelThrough(x *exchange, names []string, state helloState) {
	x.request = policy.Request{Door: policy.DoorProxy, Host: policy.HostFromAddr(x.original.Addr()), Port: x.original.Port()}
	unreadable := state == helloBroken
	for i, name := range names {
		host, err := policy.ParseHost(name)
		switch {
		case err != nil:
			unreadable = true
		case i == 0:
			x.request.Host = host
		default:
			x.request.Claimed = append(x.request.Claimed, host)
		}
	}
	if !x.moderate() || !x.identified() {
		return
	}
	if unreadable {
		x.request.At = s.dependencies.Now()
		x.verdict = unreadableHello(s.dependencies.Decider.Decide(&x.request), x.request.Host)
		x.refuse()
		return
	}
	if !x.decided() || !x.located() {
		return
	}
	upstream, err := s.dial(x.ctx, x)
	if err != nil {
		x.record()
		x.unreachable(err)
		return
	}
	s.redialled.add(upstream.Conn)
	s.open(x, upstream.Conn)
}

// locatedAt is located for a redirected connection: there is one address that
// may be dialled, and the question is whether the name leads there. Where it
// does not, or cannot be found out, the client may be lying: then the address
// is the destination, the name is what the client claims, and the more
// restrictive of the two verdicts holds.
func (x *exchange) locatedAt(address netip.Addr) bool {
	name := x.request.Host
	misdirected := name.IsAddr() && name.Addr() != address
	if !name.IsAddr() {
		resolution, err := x.resolve()
		misdirected = err != nil || !leadsTo(resolution, address)
		if !misdirected {
			x.request.Derived = resolution.Facts
		}
	}
	if misdirected {
		x.request.Claimed = append(x.request.Claimed, name)
		x.request.Host = policy.HostFromAddr(address)
	}
	x.request.Derived = derive(x.request.Host, x.request.Derived, []netip.Addr{address})
	if !x.decided() || misdirected && !x.consistent(x.misdirected(), name) {
		return false
	}
	x.addrs = x.server.networks.allowed([]netip.Addr{address}, x.request.Port)
	if len(x.addrs) == 0 {
		x.verdict = deniedNetwork(x.verdict, x.request.Host)
		x.refuse()
		return false
	}
	return true
}

// leadsTo reports whether a name leads to an address.
func leadsTo(resolution Resolution, address netip.Addr) bool {
	for _, a := range resolution.Addrs {
		if a.Unmap() == address {
			return true
		}
	}
	return false
}

// deny closes the connection. A TLS client that was refused is shown the page,
// where there is an authority and it may sign for the name, and is told by an
// alert otherwise; nothing can be said in another protocol. What cannot be
// served for another reason is reset: that is what a client meets that finds its
// server broken.
func (f *transparentFront) deny(x *exchange, a answer) {
	f.closed = true
	if a.decision == nil {
		_ = f.conn.tcp.SetLinger(0)
		_ = f.conn.Close()
		return
	}
	secure := len(f.hello.raw) > 0 && f.hello.clear == nil
	if secure && f.showPage(x, a) {
		return
	}
	if secure {
		_ = f.conn.SetWriteDeadline(time.Now().Add(lingerTime))
		_, _ = f.conn.Write(alertAccessDenied[:]) // a courtesy: nothing hangs on it
	}
	f.server.linger(f.conn.Conn) // which can be closed one way, unlike conn
}

// showPage shows the client why the name that it wants was refused.
func (f *transparentFront) showPage(x *exchange, a answer) bool {
	refused := a.decision.Verdict.Fact
	if !namesOnly(f.hello.names, refused) {
		refused = x.request.Host
	}
	return namesOnly(f.hello.names, refused) && f.server.showPage(x, f.conn.Conn, f.hello.raw, refused, a)
}

// open has nothing to say: the client believes that it has been through all
// the time.
func (f *transparentFront) open(*exchange) (net.Conn, []byte, error) {
	f.taken = true
	return f.conn.Conn, f.hello.raw, nil
}
