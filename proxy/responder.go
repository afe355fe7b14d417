package proxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
)

// responder is the client's side of a plain exchange as goproxy sees it. A
// body whose length is not known in advance may be a stream somebody is
// waiting for, and is sent on piece by piece.
type responder struct {
	http.ResponseWriter
	passage *passage
	control *http.ResponseController
	status  int
	stream  bool
}

// WriteHeader sends the head.
func (w *responder) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	w.status = status
	w.passage.server.metrics.answered(w.passage.method, status)
	w.stream = status != http.StatusSwitchingProtocols && w.Header().Get("Content-Length") == ""
	w.ResponseWriter.WriteHeader(status)
	if w.stream {
		_ = w.control.Flush() // an error shows at the next write
	}
}

// Write sends a piece of the body.
func (w *responder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(p)
	w.passage.watch.touch()
	if err == nil && w.stream {
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
