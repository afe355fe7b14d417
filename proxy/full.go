package proxy

import (
	"net"
	"strconv"
	"time"
)

// tooManyConnections is what an HTTP client is told that is one too many. It
// is the same for everybody, and so has no date (RFC 9110 §6.6.1).
func tooManyConnections() []byte {
	const text = "too many connections are open; try again in a moment\n"
	return []byte("HTTP/1.1 503 Service Unavailable\r\n" +
		"Retry-After: " + retryAfter + "\r\n" +
		"Content-Type: text/plain; charset=utf-8\r\n" +
		"Content-Length: " + strconv.Itoa(len(text)) + "\r\n" +
		"Cache-Control: no-store\r\n" +
		"Connection: close\r\n\r\n" + text)
}

// turnAway closes the connection of a client that is one too many. What there
// is to say to it fits into the system's buffer for a new connection: nobody
// waits. It lingers where there are places, but not in those that clients need
// who have been refused while they were sending.
func (s *Server) turnAway(l *listener, conn *net.TCPConn) {
	if len(l.full) == 0 || len(s.lingering) > cap(s.lingering)/2 {
		_ = conn.Close()
		return
	}
	_ = conn.SetDeadline(time.Now().Add(lingerTime))
	if _, err := conn.Write(l.full); err != nil {
		_ = conn.Close()
		return
	}
	s.serving.Go(func() { s.linger(conn) })
}
