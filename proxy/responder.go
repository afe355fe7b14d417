package proxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
)

// responder is the client's side of a plain exchange as goproxy sees it. What
// has come of a body is sent on piece by piece: somebody may be waiting for it,
// and the origin may take its time with the rest.
type responder struct {
	http.ResponseWriter
	passage *passage
	control *http.ResponseController
	status  int
	left    int64 // of a body whose length is known
	stream  bool  // it is not
}

// WriteHeader sends the head.
func (w *responder) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	w.status = status
	w.passage.server.metrics.answered(w.passage.method, status)
	w.passage.observe(w.passage.kind(status), status)
	length := w.Header().Get("Content-Length")
	w.stream = status != http.StatusSwitchingProtocols && length == ""
	w.left, _ = strconv.ParseInt(length, 10, 64) // net/http has read it before
	if status >= http.StatusOK {
		w.passage.server.partFrom(w) // goproxy has taken out what was said before
	}
	w.ResponseWriter.WriteHeader(status)
	if w.stream {
		_ = w.control.Flush() // an error shows at the next write
	}
}

// kind sorts the answer to a plain exchange: an origin's is as it should be,
// whatever its status, and however long the origin has taken.
func (p *passage) kind(status int) answerKind {
	if p.failed {
		return answer{status: status, elsewhere: p.elsewhere}.kind()
	}
	return answerForwarded
}

// Write sends a piece of the body.
func (w *responder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(p)
	w.passage.watch.touch()
	w.left -= int64(n)
	if err == nil && (w.stream || w.left > 0) {
		err = w.control.Flush()
	}
	if err != nil {
		w.passage.lost = true
	}
	return n, err
}

// ReadFrom sends a whole body, in pieces as they come.
func (w *responder) ReadFrom(body io.Reader) (int64, error) {
	piece := w.passage.server.blocks.Get().(*block)
	defer w.passage.server.blocks.Put(piece)
	// Without the struct around w, io.CopyBuffer would come back here.
	return io.CopyBuffer(struct{ io.Writer }{w}, body, piece[:])
}

// Flush sends what is buffered.
func (w *responder) Flush() { _ = w.control.Flush() }

// Hijack gives goproxy the client's connection for a WebSocket.
func (w *responder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.passage.tunnel == nil {
		return nil, nil, errors.New("proxy: only a WebSocket takes the connection over")
	}
	conn, buffered, err := w.control.Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.passage.watch.stop()
	w.passage.socket = newSocketConn(conn, w.passage.tunnel, buffered.Reader.Buffered())
	return w.passage.socket, buffered, nil
}
