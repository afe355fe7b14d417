package proxy

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"
)

// clientConn is a client's connection: a TCP connection, or TLS on one. It keeps
// the heads of the requests that net/http has read and not served.
type clientConn struct {
	net.Conn
	tcp      *net.TCPConn   // what lies under Conn; Conn itself where nothing is between
	addr     netip.Addr     // of the client
	original netip.AddrPort // where it was going before it was redirected to us; invalid: it was not
	pending  []byte         // has been read already, and comes before what Conn brings
	heads    heads
	peer     *Peer // whom its certificate names; nil: nobody

	balancer bool // addr is a load balancer's, which has not said yet for whom it comes

	sent   atomic.Int64 // bytes that went through Write
	begun  bool         // net/http reads a request that has not reached us; its goroutine's
	before int64        // bytes sent before it
}

// Write writes as Conn does, and counts.
func (c *clientConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// Read reads as Conn does, for net/http.
func (c *clientConn) Read(p []byte) (int, error) {
	n, err := 0, error(nil)
	if len(c.pending) > 0 {
		n = copy(p, c.pending)
		c.pending = c.pending[n:]
	} else {
		n, err = c.Conn.Read(p)
	}
	if n > 0 {
		c.heads.take(p[:n])
	}
	return n, err
}

// sentEarly reports whether the client has sent something behind the request
// that net/http serves. What is still on its way cannot be known.
// Neither can what TLS has read ahead, while net/http may be reading.
func (c *clientConn) sentEarly() bool { return c.heads.more() || c.secured() || waiting(c.tcp) > 0 }

// headBytes is how much of a request is read at first. Few heads are longer.
const headBytes = 4 << 10

// serveHTTP serves the CONNECTs on a connection, until one opens a tunnel or
// the connection is over. At the first request that is none, it leaves the
// connection to net/http.
func (s *Server) serveHTTP(l *listener, conn *clientConn) {
	piece := s.headers.Get().(*[headBytes]byte)
	defer s.headers.Put(piece)
	buffer, filled := piece[:], 0
	_ = conn.SetReadDeadline(time.Now().Add(s.config.Timeouts.Header))
	for {
		end, whole, err := s.readHead(conn, &buffer, &filled)
		s.crowd.read(conn)
		switch {
		case errors.Is(err, errOtherRequest):
			s.leaveToHTTP(l, conn, buffer[:filled])
			return
		case err != nil && !errors.Is(err, errLongHead):
			if filled > 0 {
				s.unread(conn, http.MethodConnect, 0)
			}
			s.hangUp(conn)
			return
		}
		front := &connectFront{server: s, conn: conn, early: append([]byte(nil), buffer[end:filled]...)}
		s.serveConnect(front, buffer[:end], whole)
		switch {
		case front.taken:
			s.crowd.leave(conn.addr)
			return
		case front.over:
			s.hangUp(conn)
			return
		}
		filled = 0
		_ = conn.SetReadDeadline(time.Now().Add(min(s.config.Timeouts.Idle, keepAliveIdle)))
	}
}

// serveConnect serves one CONNECT. whole is false where its head is too long.
func (s *Server) serveConnect(f *connectFront, head []byte, whole bool) {
	if !s.requests.Enter() {
		f.over = true
		return
	}
	defer s.requests.Leave()
	var err error
	if whole {
		f.head, err = parseConnect(head)
	}
	x := s.newExchange(f.asking())
	switch {
	case !x.admitted():
	case !whole:
		x.deny(answer{status: http.StatusRequestHeaderFieldsTooLarge, text: "the head of the request is too long\n", last: true})
	case err != nil:
		x.hangUp(err)
	default:
		s.tunnelTo(x, f.head.target)
	}
}

var (
	errOtherRequest = errors.New("not a CONNECT")
	errLongHead     = errors.New("the head of the request is too long")
	endOfHead       = []byte("\r\n\r\n")
	endOfHeadLoose  = []byte("\n\n")
)

// readHead reads until the head of a CONNECT is there, and says where it ends.
func (s *Server) readHead(conn *clientConn, buffer *[]byte, filled *int) (end int, whole bool, err error) {
	searched := 0
	for {
		data := (*buffer)[:*filled]
		if n := min(len(data), len(connectWord)); !bytes.Equal(data[:n], connectWord[:n]) {
			return 0, false, errOtherRequest
		}
		if end, ok := headEnd(data, searched); ok {
			return end, true, nil
		}
		searched = len(data)
		if *filled >= s.config.MaxHeaderBytes {
			return *filled, false, errLongHead
		}
		if *filled == len(*buffer) {
			*buffer = append(*buffer, make([]byte, len(*buffer))...)
		}
		if *filled == 0 && !s.crowd.rest(conn) {
			return 0, false, net.ErrClosed
		}
		n, err := conn.Conn.Read((*buffer)[*filled:])
		if *filled == 0 {
			s.crowd.wake(conn)
			if n > 0 {
				_ = conn.SetReadDeadline(time.Now().Add(s.config.Timeouts.Header))
			}
		}
		*filled += n
		if n == 0 && err != nil {
			return 0, false, err
		}
	}
}

// headEnd finds the end of a head in data, whose first bytes were searched
// before. A head that ends without CR ends as well: parseConnect refuses it.
func headEnd(data []byte, searched int) (end int, ok bool) {
	from := max(0, searched-len(endOfHead)+1)
	if i := bytes.Index(data[from:], endOfHead); i >= 0 {
		return from + i + len(endOfHead), true
	}
	if i := bytes.Index(data[from:], endOfHeadLoose); i >= 0 {
		return from + i + len(endOfHeadLoose), true
	}
	return 0, false
}

// leaveToHTTP gives a connection to net/http, with what has been read from it.
func (s *Server) leaveToHTTP(l *listener, conn *clientConn, read []byte) {
	_ = conn.SetReadDeadline(time.Time{})
	conn.pending = append([]byte(nil), read...)
	if !l.pass(conn) {
		s.hangUp(conn)
	}
}

// hangUp closes a connection that is no tunnel, and counts it out.
func (s *Server) hangUp(conn *clientConn) {
	_ = conn.Close()
	s.crowd.leave(conn.addr)
}
