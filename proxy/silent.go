package proxy

import (
	"context"
	"time"
)

// endSilent ends the tunnels in which nothing has moved since they were opened,
// until ctx ends. Whoever opens tunnels and says nothing holds two connections
// with each; one that was of use once may be quiet for longer.
func (s *Server) endSilent(ctx context.Context) {
	limit := s.config.Timeouts.Silent
	ticker := time.NewTicker(max(limit/10, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			for _, t := range s.tunnels.all() {
				if t.silentSince(now.Add(-limit)) {
					t.end(closedByIdle, "")
				}
			}
		}
	}
}

// silentSince reports whether the tunnel was open by then, and nothing has ever
// moved in it.
func (t *tunnel) silentSince(then time.Time) bool {
	if t.up.Load() != 0 || t.down.Load() != 0 {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.established && t.opened.Before(then)
}
