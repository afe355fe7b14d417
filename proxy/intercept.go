package proxy

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// Interceptor answers the TLS handshake of a client in the place of a site that
// the policy has refused, so that the client can be shown why. It must be safe
// for concurrent use.
type Interceptor interface {
	// Covers reports whether there can be a certificate for name.
	Covers(name string) bool

	// Serve shows page over TLS to a client that wants name, and closes its
	// connection. hello is all that has been read from it. False means that
	// nothing was sent or read, and that the connection is still the caller's.
	Serve(ctx context.Context, conn net.Conn, hello []byte, name string, page http.Handler) bool
}

// browserAgent begins the User-Agent of every browser. Programs that say so,
// too, can read a page at least.
const browserAgent = "Mozilla/"

// promises reports whether a refused CONNECT is to be answered with a page over
// TLS: a browser shows its user nothing of a 403 in answer to a CONNECT. Other
// programs get the 403, which they can read, unless all clients are to see the
// page.
func (s *Server) promises(x *exchange, a answer) bool {
	host := x.request.Host
	switch {
	case s.dependencies.Intercept == nil || a.decision == nil || host.IsAddr():
		return false
	case !s.config.InterceptAll && !strings.HasPrefix(x.agent, browserAgent):
		return false
	}
	return s.dependencies.Intercept.Covers(host.Name())
}

// keepPromise says 200 to a client whose CONNECT was refused, and shows it the
// page over what it opens then: TLS for the very host that was refused, or
// plain HTTP. Anything else is closed. early is what came behind the CONNECT.
func (s *Server) keepPromise(x *exchange, conn net.Conn, early []byte, a answer) {
	if establish(conn, s.config.Timeouts.Header) != nil {
		return
	}
	s.showInside(x, conn, early, a)
}

// showInside shows the page over what a client opens that was told that it is
// through, and closes its connection.
func (s *Server) showInside(x *exchange, conn net.Conn, early []byte, a answer) {
	hello, state := s.readHello(conn, early)
	_ = conn.SetDeadline(time.Time{})
	switch {
	case state == helloComplete && hello.clear == nil && namesOnly(hello.names, x.request.Host):
		if s.showPage(x, conn, hello.raw, x.request.Host, a) {
			return
		}
	case state == helloComplete && hello.clear != nil:
		s.showPlainPage(conn, hello.raw, a)
	}
	s.linger(conn)
}

// readHello reads how a client begins, within the time for that.
func (s *Server) readHello(conn net.Conn, early []byte) (*helloReader, helloState) {
	stop := context.AfterFunc(s.base, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	_ = conn.SetReadDeadline(time.Now().Add(s.config.Timeouts.FirstByte))
	piece := s.blocks.Get().(*block)
	defer s.blocks.Put(piece)
	hello := &helloReader{}
	state := hello.feed(early)
	for state == helloPartial {
		n, err := conn.Read(piece[:])
		if n == 0 && err != nil {
			return hello, helloBroken
		}
		state = hello.feed(piece[:n])
	}
	return hello, state
}

// namesOnly reports whether a hello names the host, and nothing else.
func namesOnly(names []string, host policy.Host) bool {
	if len(names) != 1 {
		return false
	}
	named, err := policy.ParseHost(names[0])
	return err == nil && named == host
}

// showPage shows a refusal over TLS to a client that wants name, which the
// policy has refused; false where there is no certificate for it, and nothing
// has happened.
func (s *Server) showPage(x *exchange, conn net.Conn, hello []byte, name policy.Host, a answer) bool {
	if s.dependencies.Intercept == nil || name.IsAddr() {
		return false
	}
	request := x.request // as it was refused
	page := func(w http.ResponseWriter, r *http.Request) {
		at := "https://" + authorityOf(name, request.Port, 443) + r.URL.RequestURI()
		request.At = s.dependencies.Now()
		if again := s.dependencies.Decider.Decide(&request); !again.Action.Refuses() {
			// Whoever was warned has continued, or the policy has changed, and
			// the browser uses a connection from before.
			w.Header().Set("Connection", "close")
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("Location", at)
			w.WriteHeader(http.StatusTemporaryRedirect)
			return
		}
		s.write(a, w, r, at)
	}
	return s.dependencies.Intercept.Serve(s.base, conn, hello, name.Name(), http.HandlerFunc(page))
}

// showPlainPage answers a plain request inside a refused tunnel.
func (s *Server) showPlainPage(conn net.Conn, head []byte, a answer) {
	accept := ""
	for line := range strings.SplitSeq(string(head), "\n") {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(name, "Accept") {
			accept = strings.TrimSpace(value)
		}
	}
	response := memoryResponse{last: true}
	s.write(a, &response, &http.Request{Method: http.MethodGet, Header: http.Header{"Accept": {accept}}}, "")
	_ = conn.SetWriteDeadline(time.Now().Add(lingerTime))
	_, _ = conn.Write(response.bytes()) // an error means that the client has left
}
