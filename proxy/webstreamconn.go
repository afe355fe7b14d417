package proxy

import (
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/sallyport/sallyport/gate"
)

// streamConn is a stream of HTTP/2 as a connection: what the client sends is the
// request's body, and what it is sent the answer's.
//
// It has no CloseWrite: net/http ends what is sent when the handler returns, and
// the rest of the stream with it. What the client has sent last still arrives
// when it has nothing more to send.
type streamConn struct {
	writer  *streamWriter
	control *http.ResponseController
	body    io.Reader
	under   net.Conn // for its addresses

	busy    gate.Gate  // reads and writes under way
	writing sync.Mutex // held by the one that writes
	closing sync.Once
	closed  chan struct{}
}

func newStreamConn(w *streamWriter, body io.Reader, under net.Conn) *streamConn {
	return &streamConn{writer: w, control: http.NewResponseController(w), body: body, under: under, closed: make(chan struct{})}
}

// Read reads what the client has sent.
func (c *streamConn) Read(p []byte) (int, error) {
	if !c.busy.Enter() {
		return 0, net.ErrClosed
	}
	defer c.busy.Leave()
	return c.body.Read(p)
}

// Write sends p on at once.
func (c *streamConn) Write(p []byte) (int, error) {
	if !c.busy.Enter() {
		return 0, net.ErrClosed
	}
	defer c.busy.Leave()
	c.writing.Lock()
	defer c.writing.Unlock()
	n, err := c.writer.Write(p)
	if err == nil {
		err = c.control.Flush()
	}
	return n, err
}

// Close ends the stream: properly, unless a Write waits for a client that does
// not read, which cuts it short. It may be called again.
func (c *streamConn) Close() error {
	c.closing.Do(func() {
		c.busy.Close()
		past := time.Unix(1, 0)
		_ = c.writer.SetReadDeadline(past)
		if c.writing.TryLock() {
			c.writing.Unlock()
		} else {
			_ = c.writer.SetWriteDeadline(past)
		}
		close(c.closed)
	})
	return nil
}

// wait waits until the stream has been closed, and nobody reads or writes.
func (c *streamConn) wait() {
	<-c.closed
	<-c.busy.Close()
}

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *streamConn) SetDeadline(at time.Time) error {
	if err := c.SetReadDeadline(at); err != nil {
		return err
	}
	return c.SetWriteDeadline(at)
}

// SetReadDeadline bounds the next reads. Once it has passed, nothing more can be
// read.
func (c *streamConn) SetReadDeadline(at time.Time) error { return c.writer.SetReadDeadline(at) }

// SetWriteDeadline bounds the next writes. When it passes, the stream is reset.
func (c *streamConn) SetWriteDeadline(at time.Time) error { return c.writer.SetWriteDeadline(at) }

// LocalAddr is that of the connection.
func (c *streamConn) LocalAddr() net.Addr { return c.under.LocalAddr() }

// RemoteAddr is that of the connection.
func (c *streamConn) RemoteAddr() net.Addr { return c.under.RemoteAddr() }
