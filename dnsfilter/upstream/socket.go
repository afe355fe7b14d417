package upstream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
)

// socket is one UDP socket, connected to a server, with a reader of its own.
// Safe for concurrent use.
type socket struct {
	conn   *net.UDPConn
	to     *endpoint
	target netip.Addr
	until  time.Time // no query waits longer

	mu      sync.Mutex
	waiting waiting
	asked   int
	strays  int
	retired bool // takes no query any more
	ended   bool
}

// take gives c an id and lets it wait here; false: this socket is past its
// time.
func (s *socket) take(c *call, deadline time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired {
		return false
	}
	if s.asked >= maxSocketAsked || deadline.After(s.until) || !s.waiting.add(c) {
		s.retireLocked()
		return false
	}
	s.asked++
	return true
}

// retireLocked lets the socket take no more queries. It closes with its last
// answer.
func (s *socket) retireLocked() {
	s.retired = true
	if s.waiting.live == 0 {
		s.endLocked(nil)
	}
}

func (s *socket) send(packet []byte) error {
	_, err := s.conn.Write(packet)
	return err
}

// sendAgain sends a query once more; false: there is no use in it.
func (s *socket) sendAgain(c *call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.waiting.byID[c.id] != c {
		return false
	}
	c.resent = true
	return s.send(c.sent) == nil
}

// giveUp takes c back; false: it is delivered already.
func (s *socket) giveUp(c *call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	mine := s.waiting.giveUp(c)
	if mine && s.to.failed(s.target) {
		s.retired = true
	}
	if s.retired && s.waiting.live == 0 {
		s.endLocked(nil)
	}
	return mine
}

// end closes the socket and hands back every call with err.
func (s *socket) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(err)
}

func (s *socket) endLocked(err error) {
	s.retired = true
	if s.ended {
		return
	}
	s.ended = true
	_ = s.conn.Close() // the reader ends with it
	s.waiting.deliverAll(err)
}

// read delivers answers until the socket ends. A connected socket hears of ICMP
// errors: then nobody answers on the other side, and nobody need wait.
func (s *socket) read() {
	buffer := make([]byte, maxDatagram)
	for {
		n, err := s.conn.Read(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			s.end(timedOut(err))
			return
		}
		if err != nil {
			s.to.failed(s.target)
			s.end(fmt.Errorf("await the answer of %s: %w", s.to.server.name, err))
			return
		}
		s.receive(buffer[:n])
	}
}

// receive delivers one packet to whom it is for. What is for nobody is passed
// over (RFC 5452 §9.1): the right answer may still come. Too much of it means
// that somebody is guessing.
func (s *socket) receive(packet []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	if !s.receiveLocked(packet) {
		if s.strays++; s.strays >= maxStray {
			s.endLocked(errSuspicious)
		}
		return
	}
	if s.retired && s.waiting.live == 0 {
		s.endLocked(nil)
	}
}

// receiveLocked reports whether the packet answers something that was asked
// here.
func (s *socket) receiveLocked(packet []byte) bool {
	if len(packet) < dnswire.HeaderBytes {
		return false
	}
	id := binary.BigEndian.Uint16(packet)
	c, known := s.waiting.byID[id]
	if !known {
		return false
	}
	if c == nil { // given up: it is late
		delete(s.waiting.byID, id)
		return true
	}
	switch compare(packet, c.query, c.name) {
	case ours:
		s.waiting.remove(id)
		if c.resent {
			s.waiting.byID[id] = nil // a second answer may come, and is no guess
		}
		c.deliver(packet, nil)
		return true
	case otherCase:
		s.waiting.remove(id)
		c.deliver(nil, errLetterCase)
		return true
	default:
		return false
	}
}
