package proxy

import (
	"context"
	"net"
	"time"
)

// Bounds of a lingering close: what a client may still be sending while it is
// told no is read and thrown away, because unread bytes would make the kernel
// reset the connection and destroy the answer on its way.
const (
	lingerTime  = 5 * time.Second
	lingerQuiet = 500 * time.Millisecond // nothing came for this long: the client has stopped
	lingerBytes = 16 << 20
)

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
func (s *Server) linger(conn net.Conn) {
	if !s.mayLinger() {
		_ = conn.Close()
		return
	}
	defer s.doneLingering()
	stop := context.AfterFunc(s.base, func() { _ = conn.Close() })
	defer stop()
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	piece := s.blocks.Get().(*block)
	defer s.blocks.Put(piece)
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
