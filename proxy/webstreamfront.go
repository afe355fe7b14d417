package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// streamFront is the front of a CONNECT that came as a stream of HTTP/2.
type streamFront struct {
	*webFront
	writer *streamWriter
	stream *streamConn // once it is open
}

// deny answers as a web server does. The other streams of the connection go on.
func (f *streamFront) deny(x *exchange, a answer) {
	if !f.server.promises(x, a) {
		f.webFront.deny(x, a)
		return
	}
	if conn, early, err := f.open(x); err == nil {
		f.server.showInside(x, conn, early, a)
	}
}

// open says 200, and makes a connection of the stream.
func (f *streamFront) open(*exchange) (net.Conn, []byte, error) {
	f.w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(f.w)
	if err := control.Flush(); err != nil {
		return nil, nil, fmt.Errorf("say 200: %w", err)
	}
	_ = control.SetWriteDeadline(time.Time{}) // the tunnel lives long
	f.stream = newStreamConn(f.writer, f.r.Body, f.conn)
	return f.stream, nil, nil
}

// settle waits until nobody uses the stream any more, and closes it before where
// nobody has taken it over.
func (f *streamFront) settle(left bool) {
	if f.stream == nil {
		return
	}
	if !left {
		_ = f.stream.Close()
	}
	f.stream.wait()
}

// headOfStream is the head of a request of HTTP/2, whose framing leaves no
// doubt. A Host field, which need not be there, is to say what the authority
// says (RFC 9113 §8.3.1).
func headOfStream(r *http.Request) (head, error) {
	for _, host := range r.Header["Host"] {
		if host != r.Host {
			return head{}, errors.New("the Host field is not the authority")
		}
	}
	return head{host: r.Host, hasHost: true}, nil
}

// streamWriter is the answer of a stream. When the handler returns, net/http
// takes it apart; those who want to cut it short may not know yet.
type streamWriter struct {
	http.ResponseWriter

	mu   sync.Mutex
	over bool
}

// SetReadDeadline bounds the reading of the request's body. Once it has passed,
// nothing more can be read.
func (w *streamWriter) SetReadDeadline(at time.Time) error {
	return w.do(func(c *http.ResponseController) error { return c.SetReadDeadline(at) })
}

// SetWriteDeadline bounds the writing of the answer. When it passes, the stream
// is reset.
func (w *streamWriter) SetWriteDeadline(at time.Time) error {
	return w.do(func(c *http.ResponseController) error { return c.SetWriteDeadline(at) })
}

func (w *streamWriter) do(set func(*http.ResponseController) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return net.ErrClosed
	}
	return set(http.NewResponseController(w.ResponseWriter))
}

// Unwrap is what http.ResponseController looks for.
func (w *streamWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// retire is called when the handler returns.
func (w *streamWriter) retire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
}
