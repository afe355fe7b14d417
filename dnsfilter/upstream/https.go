package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
)

// resource asks one server over HTTPS (RFC 8484): POST, over HTTP/2 where the
// server can, on connections that are kept. It says no more of itself than it
// must, follows no redirect and takes no proxy from the environment.
type resource struct {
	to    *endpoint
	url   string
	crew  *crew
	calls *calls
	ctx   context.Context // ends every exchange
	http  *http.Transport

	mu     sync.Mutex
	conns  map[*heldConn]struct{}
	closed bool
}

const (
	messageType = "application/dns-message"

	maxHTTPConns     = 4
	maxHTTPHeader    = 16 << 10
	httpIdle         = time.Minute
	httpPingAfter    = 5 * time.Second // a connection that is silent that long has to show that it is there
	httpPingPatience = 3 * time.Second
)

func newResource(to *endpoint, secure *tls.Config, p *Pool) *resource {
	t := &resource{
		to: to, crew: &p.crew, calls: &p.calls, ctx: p.ctx,
		url:   "https://" + authority(to.server) + to.server.path,
		conns: make(map[*heldConn]struct{}),
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	t.http = &http.Transport{
		DialContext:            t.dial,
		TLSClientConfig:        secure,
		TLSHandshakeTimeout:    connectTimeout,
		Protocols:              protocols,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: httpPingAfter, PingTimeout: httpPingPatience, WriteByteTimeout: writeTimeout},
		MaxConnsPerHost:        maxHTTPConns,
		MaxIdleConnsPerHost:    maxHTTPConns,
		IdleConnTimeout:        httpIdle,
		MaxResponseHeaderBytes: maxHTTPHeader,
		DisableCompression:     true, // a padded answer must not shrink
	}
	return t
}

func authority(s server) string {
	if s.host == "" {
		return netip.AddrPortFrom(s.addr.WithZone(""), s.port).String()
	}
	return net.JoinHostPort(s.host, strconv.Itoa(int(s.port)))
}

func (t *resource) exchange(ctx context.Context, q Query, deadline time.Time) (*dns.Msg, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()

	// The body outlives a round trip that fails, so it is no call's buffer.
	packet := appendQuery(make([]byte, 0, maxPackedQuery), q, 0, []byte(q.Name), extras{padded: true}) // id 0: RFC 8484 §4.1
	response, used, err := t.post(ctx, packet)
	if err != nil && used && ctx.Err() == nil {
		response, _, err = t.post(ctx, packet) // a kept connection may end at any time
	}
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w: %w", t.to.server.name, errCut, err)
	}
	defer response.Body.Close()
	return t.read(response, q)
}

// post makes one request. used says that its connection had been in use before.
func (t *resource) post(ctx context.Context, packet []byte) (response *http.Response, used bool, err error) {
	var reused atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { reused.Store(info.Reused) },
	})
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(packet))
	if err != nil {
		return nil, false, unreachable(err)
	}
	request.Header = http.Header{
		"Content-Type": {messageType}, "Accept": {messageType},
		"User-Agent": {""}, // RFC 8484 §8.2: none is sent
	}
	response, err = t.http.RoundTrip(request)
	return response, reused.Load(), err
}

// read turns an HTTP response into a DNS response (RFC 8484 §4.2.1).
func (t *resource) read(response *http.Response, q Query) (*dns.Msg, error) {
	if response.StatusCode != http.StatusOK {
		return nil, &Error{Kind: Refused, Text: fmt.Sprintf("an upstream resolver answered HTTP status %d", response.StatusCode)}
	}
	if kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); kind != messageType {
		return nil, garbled("an upstream resolver sent something that is no DNS message", nil)
	}
	c := t.calls.borrow(q)
	defer t.calls.giveBack(c)
	body := bytes.NewBuffer(c.response[:0])
	_, err := body.ReadFrom(io.LimitReader(response.Body, maxMessageBytes+1))
	c.response = body.Bytes()
	switch {
	case err != nil && isTimeout(err):
		return nil, timedOut(err)
	case err != nil:
		return nil, cutOff(err)
	case len(c.response) > maxMessageBytes:
		return nil, garbled("an upstream resolver sent more than a DNS message", nil)
	}
	m, err := unpackWithoutID(c.response, q)
	if err != nil {
		return nil, err
	}
	age(m, response.Header.Get("Age"))
	return m, nil
}

// unpackWithoutID reads a response that came alone, so that its id is 0.
func unpackWithoutID(packet []byte, q Query) (*dns.Msg, error) {
	if len(packet) < dnswire.HeaderBytes || packet[0] != 0 || packet[1] != 0 || compare(packet, q, []byte(q.Name)) != ours {
		return nil, anotherQuestion()
	}
	return unpack(packet, q)
}

// age shortens the TTLs of a response that spent seconds in an HTTP cache (RFC
// 8484 §5.1).
func age(m *dns.Msg, seconds string) {
	spent, err := strconv.ParseUint(seconds, 10, 31)
	if err != nil || spent == 0 {
		return
	}
	for _, section := range [][]dns.RR{m.Answer, m.Ns} {
		for _, record := range section {
			h := record.Header()
			h.Ttl -= min(h.Ttl, uint32(spent))
		}
	}
}

// dial makes a connection and holds on to it, for cleanUp.
func (t *resource) dial(ctx context.Context, _, _ string) (_ net.Conn, err error) {
	defer t.crew.alarm.catch(&err) // the goroutine is net/http's
	if !t.crew.enter() {
		return nil, ErrClosed
	}
	defer t.crew.leave()
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	conn, err := connect(ctx, t.to, dialTCP)
	if err != nil {
		return nil, asError(err) // not to be taken for a connection that was cut
	}
	held := &heldConn{Conn: conn, by: t}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		_ = conn.Close()
		return nil, ErrClosed
	}
	t.conns[held] = struct{}{}
	return held, nil
}

// heldConn is a connection that is known to a resource until it is closed.
type heldConn struct {
	net.Conn
	by *resource
}

func (c *heldConn) Close() error {
	c.by.mu.Lock()
	delete(c.by.conns, c)
	c.by.mu.Unlock()
	return c.Conn.Close()
}

// hangUp has nothing to do: the Pool's context ends every exchange.
func (t *resource) hangUp() {}

func (t *resource) cleanUp() {
	t.http.CloseIdleConnections()
	t.mu.Lock()
	t.closed = true
	var left []net.Conn
	for held := range t.conns {
		left = append(left, held.Conn)
	}
	t.mu.Unlock()
	for _, conn := range left {
		_ = conn.Close()
	}
}
