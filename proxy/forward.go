package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// forward passes a plain request on: every step lets it go on, or has answered
// it. The package comment tells the line in words.
func (s *Server) forward(w http.ResponseWriter, r *http.Request, conn *clientConn) {
	web := s.newWebFront(w, r, conn)
	x := s.newExchange(web.asking(methodHTTP))
	if !x.admitted() || !web.framed(x) {
		return
	}
	read := parseURI
	if conn.original.IsValid() {
		read = func(r *http.Request) (policy.Host, uint16, error) { return parseRedirected(r, conn.original) }
	}
	host, port, err := read(r)
	if err != nil {
		x.say(http.StatusBadRequest, err.Error()+"\n")
		return
	}
	x.url = "http://" + authorityOf(host, port, 80) + pathOf(r.RequestURI)
	if conn.original.IsValid() {
		x.method, x.transport = methodTransparent, methodTransparent
	}
	webSocket := asksForWebSocket(r)
	if webSocket {
		x.transport = transportWebSocket
	}
	x.request = policy.Request{Door: policy.DoorProxy, Host: host, Port: port}
	if s.isPortal(host, port) {
		s.servePortal(x, web)
		return
	}
	claimed, differs, err := web.head.claimed(host)
	if err != nil {
		x.hangUp(err)
		return
	}
	if differs {
		x.request.Claimed = []policy.Host{claimed}
	}
	if !x.identified() || !x.decided() || !x.plainlyConsistent() || !x.located() {
		return
	}
	if !x.unlooped() || !x.fits(r) {
		return
	}
	if goesNoFurther(r) {
		x.record()
		x.say(http.StatusOK, "this is the proxy at which Max-Forwards came to 0\n")
		return
	}
	if webSocket {
		s.forwardWebSocket(x, web)
		return
	}
	s.forwardPlain(x, web)
}

// forwardPlain carries one plain request. While it lasts it is registered as a
// tunnel is, and judged once more (see Recheck): a download or a stream that a
// new policy forbids ends at once, too.
func (s *Server) forwardPlain(x *exchange, web *webFront) {
	entry := s.newTunnel(x)
	if entry == nil {
		x.record()
		x.busy()
		return
	}
	defer s.tunnels.remove(entry)
	defer entry.conclude(closedByClient) // what cuts it would cut the connection's next request from now on
	if !x.decided() {
		return
	}
	x.record()
	s.carryHTTP(x, web, nil, entry)
}

const transportWebSocket = "websocket"

// helpText answers what is no request for a proxy.
const helpText = "this is an HTTP proxy: enter its address in the proxy settings of your system or browser"

// parseURI reads the destination of a plain request, which a proxy gets as a
// whole URI (RFC 9112 §3.2.2). The origin is sent that URI's host: what is
// judged is what the origin sees. What the Host field says is judged besides.
func parseURI(r *http.Request) (policy.Host, uint16, error) {
	switch {
	case !r.URL.IsAbs() || r.URL.Host == "":
		return policy.Host{}, 0, errors.New(helpText)
	case r.URL.Scheme == "https":
		return policy.Host{}, 0, errors.New("ask for https addresses with CONNECT: this proxy does not make the TLS connection for you")
	case r.URL.Scheme != "http":
		return policy.Host{}, 0, fmt.Errorf("scheme %q is not supported: use http, or CONNECT", r.URL.Scheme)
	case r.Method == http.MethodTrace:
		return policy.Host{}, 0, errors.New("TRACE is not supported")
	}
	port := uint16(80)
	if text := r.URL.Port(); text != "" {
		var err error
		if port, err = parsePort(text); err != nil {
			return policy.Host{}, 0, err
		}
	}
	host, err := policy.ParseHost(r.URL.Hostname())
	if err != nil {
		return policy.Host{}, 0, fmt.Errorf("host %q: %w", r.URL.Hostname(), err)
	}
	return host, port, nil
}

// parseRedirected reads the destination of a plain request whose client knows
// of no proxy, and so sends the path alone (RFC 9112 §3.2.1). The Host field
// names the host; the port is the one that the client connected to.
func parseRedirected(r *http.Request, original netip.AddrPort) (policy.Host, uint16, error) {
	switch {
	case r.Method == http.MethodConnect || r.Method == http.MethodTrace:
		return policy.Host{}, 0, fmt.Errorf("%s is not supported", r.Method)
	case r.URL.IsAbs() && r.URL.Scheme != "http":
		return policy.Host{}, 0, fmt.Errorf("scheme %q is not supported", r.URL.Scheme)
	case r.Host == "":
		return policy.HostFromAddr(original.Addr()), original.Port(), nil // HTTP/1.0
	}
	host, err := policy.ParseHost(withoutPort(r.Host))
	if err != nil {
		return policy.Host{}, 0, fmt.Errorf("host %q: %w", r.Host, err)
	}
	return host, original.Port(), nil
}

// pathOf is the path and the query of a URL, as they came.
func pathOf(url string) string {
	if strings.HasPrefix(url, "/") {
		return url
	}
	_, rest, _ := strings.Cut(url, "://")
	i := strings.IndexAny(rest, "/?#")
	switch {
	case i < 0:
		return "/"
	case rest[i] == '/':
		return rest[i:]
	default:
		return "/" + rest[i:]
	}
}

// exchangeKey is where the context of an outgoing request keeps its *passage.
type exchangeKey struct{}

// passage is a plain exchange that is being carried by goproxy.
type passage struct {
	*exchange
	web      *webFront
	tunnel   *tunnel     // of a WebSocket; nil otherwise
	socket   *socketConn // once it is open
	informer *informer   // nil: the client takes the answer alone
	watch    *idleWatch
	broken   bool // the origin's body ended with an error
	failed   bool // the answer is ours

	elsewhere bool // the answer is ours, and the fault is not

	unreadable atomic.Bool // the client's body could not be read to its end

	pacer *pacer          // nil: no limit
	over  <-chan struct{} // closed once nothing more is to be moved

	reading readClock               // of the client's body
	fault   atomic.Pointer[failure] // what is wrong with it
	lost    bool                    // the client did not take all of the answer
	cut     atomic.Bool             // we have ended it
}

// carryHTTP has goproxy carry the exchange. t is the tunnel that a WebSocket is
// to become, or nil; entry is by what a plain exchange is cut short, or nil.
func (s *Server) carryHTTP(x *exchange, web *webFront, t, entry *tunnel) {
	ctx, cancel := context.WithCancel(x.ctx)
	defer cancel()
	control := http.NewResponseController(web.w)
	_ = control.SetWriteDeadline(time.Time{}) // the watch takes over
	if web.hasBody() {
		// An origin may answer while the client is still sending.
		_ = control.EnableFullDuplex()
	}
	p := &passage{exchange: x, web: web, tunnel: t, over: ctx.Done()}
	p.pacer, p.reading.control = cmp.Or(t, entry).pacer, control
	cut := func() {
		p.cut.Store(true)
		cancel()
		p.reading.halt()
		_ = control.SetWriteDeadline(time.Unix(1, 0))
	}
	p.watch = newIdleWatch(s.config.Timeouts.Idle, cut)
	defer p.watch.stop()
	if entry != nil {
		entry.attach(closeFunc(func() error { cut(); return nil }))
	}

	x.account.asked(x)
	response := &responder{ResponseWriter: web.w, passage: p, control: control}
	if x.account != nil {
		response.ResponseWriter = &countedWriter{ResponseWriter: web.w, account: x.account}
		defer p.report(response)
	}
	s.forwarder.ServeHTTP(response, p.outgoing(p.traced(context.WithValue(ctx, exchangeKey{}, p))))
	if p.socket != nil {
		p.socket.settle()
		return
	}
	if p.broken {
		// The client must see that the answer is not whole: a body that simply
		// ends looks complete where its length was not announced.
		_ = control.Flush()
		panic(http.ErrAbortHandler)
	}
}

// report tells the access log how the exchange went.
func (p *passage) report(response *responder) {
	c := p.account
	c.Status, c.Outcome = response.status, OutcomeForwarded
	switch {
	case p.socket != nil:
		c.Status, c.Outcome = http.StatusSwitchingProtocols, OutcomeTunnelled
		c.sent(0, p.tunnel.down.Load())
	case response.status == 0:
		c.Outcome, c.ClientLeft = OutcomeFailed, true
	case p.failed:
		c.Outcome = OutcomeFailed
	}
	if response.status == statusClientGone {
		c.Status = 0
	}
	left := p.web.r.Context().Err() != nil && (p.broken || p.failed)
	c.ClientLeft = c.ClientLeft || (left || p.lost) && p.socket == nil && !p.cut.Load()
	c.close()
}

// outgoing is the request as the origin is to get it.
func (p *passage) outgoing(ctx context.Context) *http.Request {
	r := p.web.r
	out := r.WithContext(ctx)
	out.Close = false   // the client's wish for its own connection
	out.RequestURI = "" // which is for requests that come in
	out.Header = r.Header.Clone()
	trailers := hasToken(out.Header["Te"], "trailers")
	removeHopByHop(out.Header)
	if trailers && p.tunnel == nil {
		acceptTrailers(out.Header)
	}
	if _, named := out.Header["User-Agent"]; !named {
		out.Header["User-Agent"] = nil // else net/http gives its own
	}
	if p.tunnel != nil {
		out.Header.Set("Connection", "Upgrade")
		out.Header.Set("Upgrade", "websocket")
	}
	addVia(out.Header, byte(r.ProtoMajor), byte(r.ProtoMinor), p.server.pseudonym)
	if out.Body != nil && out.Body != http.NoBody {
		out.Body = p.paced(p.bounded(&watchedBody{ReadCloser: out.Body, passage: p}), true)
	}
	out.Host = authorityOf(p.request.Host, p.request.Port, 80)
	if p.original.IsValid() && r.Host != "" {
		out.Host = r.Host // which may be a claim, and has been judged
	}
	target := *r.URL
	target.Scheme = "http" // a redirected request has none
	target.User = nil      // credentials in a URI are the client's business
	target.Host = out.Host
	keepTarget(r, &target)
	if r.Method == http.MethodOptions {
		askOfServer(out.Header, &target)
	}
	out.URL = &target
	return out
}

// authorityOf is the authority of a URI (RFC 3986 §3.2): the canonical host, and
// the port where it is not the usual one.
func authorityOf(host policy.Host, port, usual uint16) string {
	name := host.String()
	if host.IsAddr() && host.Addr().Is6() {
		name = "[" + name + "]"
	}
	if port == usual {
		return name
	}
	return name + ":" + strconv.Itoa(int(port))
}
