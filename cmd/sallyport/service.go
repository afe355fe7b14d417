package main

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/handover"
)

// stopTime is how long a stop may take beyond the draining of tunnels.
const stopTime = 10 * time.Second

// service is a gateway that serves, and what it is told from outside until it
// has stopped: to stop, or to let a new process take over.
type service struct {
	process
	config  *gateway.Config
	log     *zap.Logger
	gateway *gateway.Gateway
	sockets *handover.Sockets
	systemd *systemd
	pace    *memoryPace

	program    handover.Program // that is to take over
	errProgram error            // why none can
}

// run serves until ctx ends or a new process has taken over, and then stops.
func (s *service) run(ctx context.Context) error {
	s.started()
	running, stop := context.WithCancel(context.WithoutCancel(ctx)) // a stop is no reason for the watchdog to bite
	var beside sync.WaitGroup
	beside.Go(func() { s.pace.follow(running) })
	beside.Go(func() { s.systemd.watch(running, s.gateway.Probe) })
	defer beside.Wait()
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return s.stop()
		case <-s.upgrade:
			next, err := s.handOver(ctx)
			if err == nil {
				stop()
				return s.leave(ctx, next)
			}
			s.log.Error("no new process has taken over: this one goes on", zap.Error(err))
		}
	}
}

// started tells whoever waits for it that the gateway serves.
func (s *service) started() {
	before := s.sockets.Predecessor()
	if before == 0 {
		s.systemd.ready()
		return
	}
	s.log.Info("taken over", zap.Int("from_process", before))
	if err := s.sockets.Ready(); err != nil {
		s.log.Warn("the process before does not hear that it may go", zap.Error(err))
	}
}

// stop ends the gateway because it was told to.
func (s *service) stop() error {
	s.log.Info("stopping", zap.Duration("drain", s.config.Proxy.Drain))
	s.systemd.stopping(s.config.Proxy.Drain + stopTime)
	if err := s.shutdown(); err != nil {
		return err
	}
	s.log.Info("stopped")
	return nil
}

// shutdown shuts the gateway down. The context that started it has ended already.
func (s *service) shutdown() error {
	ctx, cancel := s.untilHurried(s.config.Proxy.Drain + stopTime)
	defer cancel()
	return s.gateway.Shutdown(ctx)
}

// handOver has a new process take over. Where that fails, this one goes on.
func (s *service) handOver(ctx context.Context) (*handover.Successor, error) {
	if s.errProgram != nil {
		return nil, s.errProgram
	}
	s.log.Info("starting a new process that is to take over", zap.String("program", s.program.Path))
	ctx, cancel := context.WithTimeout(ctx, s.config.Upgrade.Ready)
	defer cancel()
	return s.sockets.HandOver(ctx, s.program)
}

// leave ends the gateway because a new process serves.
func (s *service) leave(ctx context.Context, next *handover.Successor) error {
	defer next.Close()
	s.systemd.mainPID(next.PID())
	s.log.Info("a new process has taken over: leaving", zap.Int("process", next.PID()), zap.Duration("drain", s.config.Proxy.Drain))
	until, cancel := s.untilHurried(s.config.Proxy.Drain + stopTime)
	defer cancel()
	if err := s.gateway.Leave(until, ctx.Done()); err != nil {
		return err
	}
	s.log.Info("left")
	return nil
}

// untilHurried ends after a time, or when there is no more time to be had. The
// gateway is on its way out by then, and says so to whoever asks for a new
// process, who waits for one to take over.
func (s *service) untilHurried(limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		for {
			select {
			case <-s.hurry:
				cancel()
				return
			case <-s.upgrade:
				s.log.Warn("no new process takes over: this one is on its way out; start one")
			case <-ctx.Done():
				return
			}
		}
	})
	return ctx, func() {
		cancel()
		waiting.Wait()
	}
}
