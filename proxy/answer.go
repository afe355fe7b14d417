package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/blockpage"
	"github.com/sallyport/sallyport/policy"
)

// Bounds of a lingering close: what a client may still be sending while it is
// told no is read and thrown away, because unread bytes would make the kernel
// reset the connection and destroy the answer on its way.
const (
	lingerTime  = 5 * time.Second
	lingerQuiet = 500 * time.Millisecond // nothing came for this long: the client has stopped
	lingerBytes = 16 << 20
)

// refuse answers with the verdict, and records it.
func (x *exchange) refuse() {
	d := x.record()
	refusal := blockpage.FromVerdict(&d.Verdict, d.Host, d.ID, d.Time)
	x.answer(http.StatusForbidden, func(w http.ResponseWriter) {
		w.Header().Set("Proxy-Status", "sallyport; error=http_request_denied") // RFC 9209 §2.3.9
		blockpage.Write(w, x.r, http.StatusForbidden, refusal)
	})
}

// askWho answers a request for which it matters who asks. A browser that is
// asked again throws away the password that it has sent: where the password
// could not be checked, it is told to come back instead.
func (x *exchange) askWho() {
	if err := x.unproven; err != nil && !x.server.dependencies.BadCredentials(err) {
		x.server.dependencies.Log.Debug("credentials not checked", zap.Stringer("client", x.conn.addr), zap.Error(err))
		x.unavailable("your password cannot be checked at the moment; try again\n")
		return
	}
	x.challenge()
}

// challenge asks for a user name and a password (RFC 9110 §15.5.8, RFC 7617).
// It is no decision, and is not recorded as one.
func (x *exchange) challenge() {
	x.answer(http.StatusProxyAuthRequired, func(w http.ResponseWriter) {
		w.Header().Set("Proxy-Authenticate", "Basic realm="+quoted(x.server.config.Realm)+`, charset="UTF-8"`)
		writeText(w, x.r, http.StatusProxyAuthRequired, "this destination needs your user name and password\n")
	})
}

// quoted writes a quoted-string (RFC 9110 §5.6.4) of visible ASCII.
func quoted(text string) string {
	var b bytes.Buffer
	b.WriteByte('"')
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c >= ' ' && c < 0x7f:
			b.WriteByte(c)
		default:
			b.WriteByte('?')
		}
	}
	b.WriteByte('"')
	return b.String()
}

// say answers with one line of text.
func (x *exchange) say(status int, text string) {
	x.answer(status, func(w http.ResponseWriter) { writeText(w, x.r, status, text) })
}

// hangUp answers a request that makes no sense, and serves none behind it.
func (x *exchange) hangUp(err error) {
	x.answer(http.StatusBadRequest, func(w http.ResponseWriter) {
		w.Header().Set("Connection", "close")
		writeText(w, x.r, http.StatusBadRequest, err.Error()+"\n")
	})
}

// busy answers that the number of tunnels is used up.
func (x *exchange) busy() {
	x.server.metrics.shed.WithLabelValues(shedTunnels).Inc()
	x.unavailable("too many connections are open; try again in a moment\n")
}

// unavailable answers what a later try may be more successful with.
func (x *exchange) unavailable(text string) {
	x.answer(http.StatusServiceUnavailable, func(w http.ResponseWriter) {
		w.Header().Set("Retry-After", "5")
		writeText(w, x.r, http.StatusServiceUnavailable, text)
	})
}

// unreachable answers that the origin could not be reached. The text names
// what the client asked for and nothing of the network behind the proxy.
func (x *exchange) unreachable(err error) {
	failure := describe(err)
	x.server.dependencies.Log.Debug("origin not reached", zap.String("decision", x.id),
		zap.Stringer("host", x.request.Host), zap.Error(err))
	x.answer(failure.status, func(w http.ResponseWriter) {
		w.Header().Set("Proxy-Status", "sallyport; error="+failure.proxyStatus)
		writeText(w, x.r, failure.status, failure.text(x.request.Host))
	})
}

// failure is an error as a client may see it.
type failure struct {
	status      int
	proxyStatus string // error type of RFC 9209 §2.3
	sentence    string
}

// text is what the client reads about its host.
func (f failure) text(host policy.Host) string {
	return fmt.Sprintf("%s: %s\n", host, f.sentence)
}

// statusClientGone is what the metrics show for a client that has left before
// its answer was there. Nobody ever reads it.
const statusClientGone = 499

// resolveError is a failure to find out the addresses of a name.
type resolveError struct{ err error }

// Error says what failed.
func (e *resolveError) Error() string { return "resolve: " + e.err.Error() }

// Unwrap is the error that resolving ended with.
func (e *resolveError) Unwrap() error { return e.err }

// describe sorts an error from resolving, dialling or a round trip.
func describe(err error) failure {
	var network net.Error
	timeout := errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
	var resolving *resolveError
	switch {
	case errors.Is(err, context.Canceled):
		return failure{statusClientGone, "http_request_error", "the client has left"}
	case errors.As(err, &resolving) && timeout:
		return failure{http.StatusGatewayTimeout, "dns_timeout", "the name was not resolved in time"}
	case errors.As(err, &resolving):
		return failure{http.StatusBadGateway, "dns_error", "the name could not be resolved"}
	case timeout:
		return failure{http.StatusGatewayTimeout, "connection_timeout", "the server did not answer in time"}
	case errors.Is(err, syscall.ECONNREFUSED):
		return failure{http.StatusBadGateway, "connection_refused", "the server refused the connection"}
	default:
		return failure{http.StatusBadGateway, "destination_unavailable", "the server could not be reached"}
	}
}

// writeText answers with text, and with headers alone where r is a HEAD.
func writeText(w http.ResponseWriter, r *http.Request, status int, text string) {
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(len(text)))
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(w, text) // an error means that the client has left
	}
}

// answer sends what write writes, and counts it. It is delivered whole even
// when the client has not waited for it.
func (x *exchange) answer(status int, write func(http.ResponseWriter)) {
	x.server.metrics.answered(x.method, status)
	if x.r.Method == http.MethodConnect {
		x.answerConnect(write)
		return
	}
	if !x.hasBody() {
		write(x.w)
		return
	}
	// Without this net/http would wait for the client's body, or give up on
	// the connection, before the client has heard a word.
	_ = http.NewResponseController(x.w).EnableFullDuplex()
	write(x.w)
	x.discardBody()
}

// hasBody reports whether the client is sending a body along.
func (x *exchange) hasBody() bool { return x.r.Body != nil && x.r.Body != http.NoBody }

// answerConnect keeps the connection for the next request when the client has
// waited for the answer. When it has not, what it sent was meant for the tunnel
// that it did not get, must not be taken for a request, and is thrown away.
func (x *exchange) answerConnect(write func(http.ResponseWriter)) {
	if !x.conn.sentEarly() {
		write(x.w)
		return
	}
	var memory memoryResponse
	write(&memory)
	x.server.crowd.stay(x.conn.addr)
	defer x.server.crowd.leave(x.conn.addr)
	conn, _, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		write(x.w)
		return
	}
	_ = conn.SetDeadline(time.Now().Add(lingerTime))
	_, _ = conn.Write(memory.bytes()) // an error means that the client has left
	x.server.linger(x.conn.TCPConn)
}

// mayLinger reports whether one more connection may linger; doneLingering must
// follow. Those that may not are closed at once, at the risk of losing an
// answer: patience with clients that do not listen has to end somewhere.
func (s *Server) mayLinger() bool {
	select {
	case s.lingering <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s *Server) doneLingering() { <-s.lingering }

// linger closes a connection so that what was written to it arrives; at once
// when the server stops, or too many linger.
func (s *Server) linger(conn *net.TCPConn) {
	if !s.mayLinger() {
		_ = conn.Close()
		return
	}
	defer s.doneLingering()
	stop := context.AfterFunc(s.base, func() { _ = conn.Close() })
	defer stop()
	_ = conn.CloseWrite()
	piece := s.relay.blocks.Get().(*block)
	defer s.relay.blocks.Put(piece)
	began := time.Now()
	for read := 0; read < lingerBytes && time.Since(began) < lingerTime; {
		_ = conn.SetReadDeadline(time.Now().Add(lingerQuiet))
		n, err := conn.Read(piece[:])
		read += n
		if err != nil {
			break
		}
	}
	_ = conn.Close()
}

// discardBody reads what a client is still sending along with a request that
// has been answered already. A client that waits for leave to send a body is
// not asked for it.
func (x *exchange) discardBody() {
	if x.r.Header.Get("Expect") != "" || !x.server.mayLinger() {
		return
	}
	defer x.server.doneLingering()
	control := http.NewResponseController(x.w)
	if control.Flush() != nil || control.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, x.r.Body, lingerBytes)
	_ = control.SetReadDeadline(time.Time{})
}

// memoryResponse keeps a short answer as bytes.
type memoryResponse struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header is the answer's, to be filled in before bytes is called.
func (m *memoryResponse) Header() http.Header {
	if m.header == nil {
		m.header = make(http.Header)
	}
	return m.header
}

// WriteHeader keeps the status.
func (m *memoryResponse) WriteHeader(status int) { m.status = status }

// Write keeps a piece of the body. It never fails.
func (m *memoryResponse) Write(p []byte) (int, error) { return m.body.Write(p) }

// bytes is the answer as it goes over the wire, the last on its connection.
func (m *memoryResponse) bytes() []byte {
	header := m.Header()
	header.Set("Connection", "close")
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	header.Set("Content-Length", strconv.Itoa(m.body.Len()))
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", m.status, http.StatusText(m.status))
	_ = header.Write(&b) // a bytes.Buffer takes everything
	b.WriteString("\r\n")
	b.Write(m.body.Bytes())
	return b.Bytes()
}
