package proxy

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// How a stop looks at tunnels.
const (
	quietTunnel = time.Second // without a byte moved, and a stop does not wait for a tunnel
	quietLook   = 100 * time.Millisecond
	crowdLook   = 10 * time.Millisecond
)

// Drain is Shutdown that waits for tunnels in which something moves, and for no
// others: a meeting may come to its end, and a connection that a browser keeps
// for later is closed after a second in which nothing was said.
func (s *Server) Drain(ctx context.Context) error {
	return s.drain(ctx, quietTunnel, nil)
}

// Leave stops the server while another process serves the same addresses, so
// that there is no hurry: nothing is accepted any more, clients that are
// connected have so long to ask what they came for, or to go, and then tunnels,
// the quiet ones too, may go on until ctx ends. Once hasty is closed it goes on
// as Drain. Sockets are closed and never shut down, which both would feel.
func (s *Server) Leave(ctx context.Context, patience time.Duration, hasty <-chan struct{}) error {
	s.stopAccepting()
	s.awaitCrowd(ctx, patience, hasty)
	return s.drain(ctx, quietTunnel, hasty)
}

// stopAccepting closes the sockets alone: what was accepted goes on, that which
// is to be left to net/http too.
func (s *Server) stopAccepting() {
	s.leaving.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, l := range s.listeners {
		_ = l.TCPListener.Close() // Shutdown closes it again
	}
}

// partFrom tells a client that its connection ends with the answer, where we
// are about to leave: it then comes back to whoever serves by then, and not to
// a connection that is closed while its next request is on the way (RFC 9112
// §9.6). Over HTTP/2 net/http makes a GOAWAY of it.
func (s *Server) partFrom(w http.ResponseWriter) {
	if s.leaving.Load() {
		w.Header().Set("Connection", "close")
	}
}

// waitUntil waits for what is closed when it is over, and reports whether it is.
func waitUntil(ctx context.Context, over <-chan struct{}) bool {
	select {
	case <-over:
		return true
	default:
	}
	select {
	case <-over:
		return true
	case <-ctx.Done():
		return false
	}
}

// awaitCrowd waits until every client that is connected has a tunnel or is
// gone. One that is just being accepted is not counted yet: it looks twice.
func (s *Server) awaitCrowd(ctx context.Context, patience time.Duration, hasty <-chan struct{}) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	look := time.NewTicker(crowdLook)
	defer look.Stop()
	for empty := 0; empty < 2; {
		select {
		case <-look.C:
			empty++
			if s.crowd.size() > 0 {
				empty = 0
			}
		case <-limit.C:
			return
		case <-hasty:
			return
		case <-ctx.Done():
			return
		}
	}
}

// size is how many connections are inside that are not tunnels.
func (c *crowd) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inside
}

// drain shuts the server down, and ends tunnels that are quiet: from now on, or
// from when hasty is closed.
func (s *Server) drain(ctx context.Context, quiet time.Duration, hasty <-chan struct{}) error {
	done := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() {
		if hasty != nil {
			select {
			case <-hasty:
			case <-done:
				return
			}
		}
		s.endQuiet(quiet, done)
	})
	err := s.Shutdown(ctx)
	close(done)
	looking.Wait()
	return err
}

// moved is how much a tunnel had carried when it was last seen to carry
// something.
type moved struct {
	bytes int64
	at    time.Time
}

// endQuiet ends each tunnel in which nothing moves for so long, until done.
// Tunnels that are being opened are requests under way, and are let be.
func (s *Server) endQuiet(quiet time.Duration, done <-chan struct{}) {
	look := time.NewTicker(min(quietLook, quiet/2))
	defer look.Stop()
	seen := map[*tunnel]moved{}
	for {
		now := time.Now()
		for _, t := range s.tunnels.all() {
			last, known := seen[t]
			bytes, open := t.carried()
			switch {
			case !open:
			case !known || last.bytes != bytes:
				seen[t] = moved{bytes: bytes, at: now}
			case now.Sub(last.at) >= quiet:
				t.end(closedByShutdown, "")
			}
		}
		select {
		case <-done:
			return
		case <-look.C:
		}
	}
}

// carried is how many bytes have moved in a tunnel; open is false while it is
// being opened.
func (t *tunnel) carried() (bytes int64, open bool) {
	t.mu.Lock()
	open = t.established
	t.mu.Unlock()
	return t.up.Load() + t.down.Load(), open
}
