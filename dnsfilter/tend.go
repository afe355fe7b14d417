package dnsfilter

import (
	"time"

	"go.uber.org/zap"
)

const (
	hostsPoll  = 2 * time.Second // how often hosts files are looked at
	sweepEvery = time.Minute
)

// tend looks after what changes without anybody asking: hosts files, and
// answers whose time is long over. It returns when the door closes.
func (s *Server) tend() {
	hosts := time.NewTicker(hostsPoll)
	defer hosts.Stop()
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-hosts.C:
			s.reloadHosts()
		case <-sweep.C:
			s.lookups.cache.sweep(s.deps.clock()(), s.config.ServeStale)
		}
	}
}

// reloadHosts puts changed hosts files in force. What was answered from the old
// ones is in the cache, so that it is emptied.
func (s *Server) reloadHosts() {
	old := s.source.local.Load()
	fresh, err := old.Reload()
	if fresh != old {
		s.source.local.Store(fresh)
		s.lookups.cache.clear()
	}
	switch {
	case err != nil:
		s.deps.Log.Error("hosts file not read again: what it held before goes on", zap.Error(err))
	case fresh != old:
		s.deps.Log.Info("hosts files read again")
	}
}
