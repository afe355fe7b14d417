package dnsfilter

import (
	"context"
	"time"
)

// Leave is Shutdown for a door whose sockets another process reads already: it
// accepts no connection, and reads no query by UDP, and those who are connected
// have so long to ask on, or to go, before what Shutdown does is done.
func (s *Server) Leave(ctx context.Context, patience time.Duration) error {
	s.mu.Lock()
	set := s.listeners
	s.mu.Unlock()
	if set == nil {
		return s.Shutdown(ctx)
	}
	set.Leave()
	gone := make(chan struct{})
	go func() {
		s.serving.Wait()
		close(gone)
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-gone:
	case <-timer.C:
	case <-ctx.Done():
	}
	err := s.Shutdown(ctx)
	<-gone
	return err
}
