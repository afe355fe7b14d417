package main

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/handover"
)

// systemd is told what becomes of the gateway, where it has started it and wants
// to know. That it cannot be told is no reason to do anything else. Safe for
// concurrent use.
type systemd struct {
	notifier *handover.Notifier
	log      *zap.Logger
	failing  sync.Once
}

func (s *systemd) ready()                      { s.told(s.notifier.Ready("serving")) }
func (s *systemd) stopping(most time.Duration) { s.told(s.notifier.Stopping(most)) }
func (s *systemd) mainPID(pid int)             { s.told(s.notifier.MainPID(pid)) }

// reloading is told before and after everything is read again.
func (s *systemd) reloading(begun bool) {
	if begun {
		s.told(s.notifier.Reloading())
		return
	}
	s.ready()
}

// told logs the first failure: the others have the same reason.
func (s *systemd) told(err error) {
	if err == nil {
		return
	}
	s.failing.Do(func() { s.log.Warn("systemd does not learn how the gateway is", zap.Error(err)) })
}

// watch tells the watchdog that all is well, twice as often as it wants to know,
// for as long as probe says so, and until ctx ends. Where probe hangs the
// watchdog hears nothing, and has the gateway started again.
func (s *systemd) watch(ctx context.Context, probe func(context.Context) error) {
	every := s.notifier.Watchdog()
	if every <= 0 {
		return
	}
	ticker := time.NewTicker(max(every/2, time.Millisecond))
	defer ticker.Stop()
	for {
		if err := probe(ctx); err != nil {
			s.log.Error("the watchdog is not told that all is well", zap.Error(err))
		} else {
			s.told(s.notifier.Alive())
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
