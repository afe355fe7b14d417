package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// webFront is the front of requests that net/http has read.
type webFront struct {
	server *Server
	w      http.ResponseWriter
	r      *http.Request
	conn   *clientConn
	head   head
	lost   error // why there is no head
}

func (s *Server) newWebFront(w http.ResponseWriter, r *http.Request, conn *clientConn) *webFront {
	next := conn.heads.next
	if r.ProtoMajor == 2 {
		next = headOfStream
	}
	head, err := next(r)
	return &webFront{server: s, w: w, r: r, conn: conn, head: head, lost: err}
}

// asking is the request, for an exchange.
func (f *webFront) asking(method string) asking {
	return asking{
		front:       f,
		ctx:         f.r.Context(),
		client:      f.conn.addr,
		peer:        f.conn.peer,
		original:    f.conn.original,
		credentials: f.r.Header.Get("Proxy-Authorization"),
		accept:      f.r.Header.Get("Accept"),
		agent:       f.r.Header.Get("User-Agent"),
		referer:     f.r.Header.Get("Referer"),
		via:         strings.Join(f.r.Header.Values("Via"), ", "),
		verb:        f.r.Method,
		target:      f.r.RequestURI,
		major:       f.r.ProtoMajor,
		minor:       f.r.ProtoMinor,
		method:      method,
		transport:   method,
	}
}

// framed lets go on what is clearly one request. Where its head is not clear
// another request may be hidden in it: nothing behind it is served either.
func (f *webFront) framed(x *exchange) bool {
	if f.lost == nil {
		return true
	}
	if errors.Is(f.lost, errManyFields) {
		x.deny(answer{status: http.StatusRequestHeaderFieldsTooLarge, text: f.lost.Error() + "\n", last: true})
		return false
	}
	x.hangUp(f.lost)
	return false
}

// deny answers so that it is delivered whole even when the client has not
// waited for it.
func (f *webFront) deny(x *exchange, a answer) {
	if f.r.ProtoMajor == 2 {
		a.last = false // one stream does not end the others
	}
	write := func(w http.ResponseWriter) {
		if x.account != nil {
			w = &countedWriter{ResponseWriter: w, account: x.account}
		}
		f.server.write(a, w, f.r, x.destination())
	}
	switch {
	case f.r.ProtoMajor == 2:
		write(f.w) // and net/http has the client stop sending
		return
	case f.r.Method == http.MethodConnect:
		f.denyConnect(x, a, write)
		return
	case !f.hasBody():
		write(f.w)
		return
	}
	// Without this net/http would wait for the client's body, or give up on
	// the connection, before the client has heard a word.
	_ = http.NewResponseController(f.w).EnableFullDuplex()
	write(f.w)
	f.discardBody()
}

// hasBody reports whether the client is sending a body along.
func (f *webFront) hasBody() bool { return f.r.Body != nil && f.r.Body != http.NoBody }

// denyConnect keeps the connection for the next request when the client has
// waited for the answer. When it has not, what it sent was meant for the tunnel
// that it did not get, must not be taken for a request, and is thrown away.
func (f *webFront) denyConnect(x *exchange, a answer, write func(http.ResponseWriter)) {
	promised := f.server.promises(x, a)
	if !promised && !f.conn.sentEarly() {
		write(f.w)
		return
	}
	f.server.crowd.stay(f.conn.addr)
	defer f.server.crowd.leave(f.conn.addr)
	conn, early, err := f.hijack()
	if err != nil {
		write(f.w)
		return
	}
	memory := memoryResponse{last: true}
	write(&memory) // once: it is counted
	if promised {
		f.server.keepPromise(x, conn, early, a)
		return
	}
	_ = conn.SetDeadline(time.Now().Add(lingerTime))
	_, _ = conn.Write(memory.bytes()) // an error means that the client has left
	f.server.linger(f.conn)
}

// open takes the client's connection from net/http, and says 200.
func (f *webFront) open(*exchange) (net.Conn, []byte, error) {
	_, early, err := f.hijack()
	if err != nil {
		return nil, nil, err
	}
	if err := establish(f.conn, f.server.config.Timeouts.Header); err != nil {
		return nil, nil, err
	}
	return f.conn.Conn, early, nil
}

// hijack takes the client's connection from net/http, together with the bytes
// that net/http has read from it beyond the request.
func (f *webFront) hijack() (net.Conn, []byte, error) {
	conn, buffered, err := http.NewResponseController(f.w).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("take over the connection: %w", err)
	}
	early, err := buffered.Reader.Peek(buffered.Reader.Buffered())
	if err != nil {
		_ = conn.Close()
		return nil, nil, fmt.Errorf("keep early bytes: %w", err)
	}
	return conn, append([]byte(nil), early...), nil
}

const establishedText = "HTTP/1.1 200 Connection established\r\n\r\n"

// establish tells the client of a CONNECT that it is through. The connection
// is closed where that fails.
func establish(conn net.Conn, limit time.Duration) error {
	_ = conn.SetDeadline(time.Now().Add(limit))
	if _, err := conn.Write([]byte(establishedText)); err != nil {
		_ = conn.Close()
		return fmt.Errorf("say 200: %w", err)
	}
	_ = conn.SetDeadline(time.Time{})
	return nil
}

// discardBody reads what a client is still sending along with a request that
// has been answered already. A client that waits for leave to send a body is
// not asked for it.
func (f *webFront) discardBody() {
	if f.r.Header.Get("Expect") != "" || !f.server.mayLinger() {
		return
	}
	defer f.server.doneLingering()
	control := http.NewResponseController(f.w)
	if control.Flush() != nil || control.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, f.r.Body, lingerBytes)
	_ = control.SetReadDeadline(time.Time{})
}

// memoryResponse keeps a short answer as bytes.
type memoryResponse struct {
	header http.Header
	status int
	body   bytes.Buffer
	last   bool // the connection ends with it
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

// bytes is the answer as it goes over the wire.
func (m *memoryResponse) bytes() []byte {
	header := m.Header()
	if m.last {
		header.Set("Connection", "close")
	}
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	header.Set("Content-Length", strconv.Itoa(m.body.Len()))
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", m.status, http.StatusText(m.status))
	_ = header.Write(&b) // a bytes.Buffer takes everything
	b.WriteString("\r\n")
	b.Write(m.body.Bytes())
	return b.Bytes()
}
