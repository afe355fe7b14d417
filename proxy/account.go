package proxy

import (
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"time"

	"github.com/sallyport/sallyport/proxy/outbound"
)

// account is what an access log will be told of an exchange, while it lasts.
// There is none where nobody asks: every method then does nothing.
type account struct {
	Access
	began  time.Time
	report func(*Access)
}

// newAccount begins the account of an exchange; nil where nobody asks.
func (s *Server) newAccount(a *asking, began time.Time) *account {
	if s.dependencies.Access == nil {
		return nil
	}
	return &account{
		Access: Access{
			Client:    a.client,
			Method:    a.verb,
			URL:       a.target,
			Major:     a.major,
			Minor:     a.minor,
			Referer:   a.referer,
			UserAgent: a.agent,
		},
		began:  began,
		report: s.dependencies.Access,
	}
}

// asked notes what is known of a request by now.
func (c *account) asked(x *exchange) {
	if c == nil {
		return
	}
	c.User = x.request.Subject.User
	switch {
	case c.Method == http.MethodConnect && x.request.Port != 0:
		c.URL = authorityOf(x.request.Host, x.request.Port, 0)
	case x.url != "":
		c.URL = x.url
	}
}

// answered notes an answer of ours.
func (c *account) answered(a answer) {
	if c == nil {
		return
	}
	c.Status, c.Outcome = a.status, outcomeOf(a)
	if a.status == statusClientGone {
		c.Status, c.ClientLeft = 0, true
	}
}

// outcomeOf sorts answers of ours.
func outcomeOf(a answer) Outcome {
	switch {
	case a.decision != nil, a.challenge, a.status == http.StatusForbidden:
		return OutcomeRefused
	case a.last, a.status == http.StatusBadRequest:
		return OutcomeUnread
	default:
		return OutcomeFailed
	}
}

// connected notes the connection that a plain request goes out on, which may
// have been made for an earlier one.
func (c *account) connected(got httptrace.GotConnInfo) {
	if conn, ok := got.Conn.(outbound.Conn); ok {
		c.dialled(conn, nil)
	}
}

// sent counts what the client was sent.
func (c *account) sent(head, body int64) {
	if c == nil {
		return
	}
	c.Sent += head + body
	c.SentBody += body
}

// sentWhole counts an answer that goes over the wire in one piece.
func (c *account) sentWhole(wire []byte, response *memoryResponse) {
	if c == nil {
		return
	}
	body := response.body.Len()
	c.ContentType = response.Header().Get("Content-Type")
	c.sent(int64(len(wire)-body), int64(body))
}

// dialled notes whom we have connected to, or tried to.
func (c *account) dialled(conn outbound.Conn, tried []netip.Addr) {
	switch {
	case c == nil:
	case conn.Conn != nil:
		c.Server, c.Parent = conn.Remote.Addr(), conn.Via != outbound.Direct
	case len(tried) > 0:
		c.Server = tried[len(tried)-1]
	}
}

// tunnelled reports a tunnel that has ended.
func (c *account) tunnelled(t *tunnel, refused bool) {
	if c == nil {
		return
	}
	c.Status, c.Outcome = http.StatusOK, OutcomeTunnelled
	if refused {
		c.Outcome = OutcomeRefused
	}
	if c.Major > 0 && c.Method == http.MethodConnect {
		c.sent(int64(len(establishedText)), 0)
	}
	c.sent(0, t.down.Load())
	c.close()
}

// portal reports an answer of the portal's.
func (c *account) portal(x *exchange, status int) {
	if c == nil {
		return
	}
	c.asked(x)
	c.Status, c.Outcome = status, OutcomeForwarded
	c.close()
}

// close reports the account. It must not be used afterwards.
func (c *account) close() {
	if c == nil {
		return
	}
	if c.Status == 0 {
		c.Sent, c.SentBody, c.ContentType = 0, 0, "" // whatever was written reached nobody
	}
	c.End = time.Now()
	c.Duration = c.End.Sub(c.began)
	c.report(&c.Access)
}

// unread tells the access logs of a request that began and never reached us:
// the client has left, or sent so many bytes by net/http, which has answered it.
func (s *Server) unread(conn *clientConn, verb string, sent int64) {
	a := asking{client: conn.addr, verb: verb}
	c := s.newAccount(&a, time.Now())
	if c == nil {
		return
	}
	c.ClientLeft = sent == 0
	if sent > 0 {
		c.Status, c.ContentType, c.Sent = http.StatusBadRequest, "text/plain", sent
	}
	c.close()
}

// changed follows a connection's life for the access logs; it is for net/http's
// ConnState hook.
func (s *Server) changed(conn net.Conn, state http.ConnState) {
	s.crowd.changed(conn, state)
	client, ok := conn.(*clientConn)
	if !ok {
		return
	}
	switch state {
	case http.StateActive:
		client.begun, client.before = true, client.sent.Load()
	case http.StateClosed:
		if client.begun {
			s.unread(client, "", client.sent.Load()-client.before)
		}
	}
}

// countedWriter counts an answer for an account on its way to the client.
type countedWriter struct {
	http.ResponseWriter
	account *account
	begun   bool
}

// WriteHeader sends the head.
func (w *countedWriter) WriteHeader(status int) {
	w.count(status)
	w.ResponseWriter.WriteHeader(status)
}

// Write sends a piece of the body.
func (w *countedWriter) Write(p []byte) (int, error) {
	w.count(http.StatusOK)
	n, err := w.ResponseWriter.Write(p)
	w.account.sent(0, int64(n))
	return n, err
}

// Unwrap is what http.ResponseController looks for.
func (w *countedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *countedWriter) count(status int) {
	if w.begun || status < 200 && status != http.StatusSwitchingProtocols {
		return
	}
	w.begun = true
	w.account.ContentType = w.Header().Get("Content-Type")
	w.account.sent(headSize(status, w.Header()), 0)
}

// headSize is how long a head is, with the Date field that net/http adds.
func headSize(status int, header http.Header) int64 {
	const fixed = len("HTTP/1.1 200 ") + len("\r\n") + len("Date: Mon, 02 Jan 2006 15:04:05 GMT\r\n") + len("\r\n")
	size := fixed + len(http.StatusText(status))
	for name, values := range header {
		for _, value := range values {
			size += len(name) + len(value) + len(": \r\n")
		}
	}
	if _, ok := header["Date"]; ok {
		size -= len("Date: Mon, 02 Jan 2006 15:04:05 GMT\r\n")
	}
	return int64(size)
}
