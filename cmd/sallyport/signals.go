package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// stopSignals are SIGINT and SIGTERM: the first one ends ctx, the second one
// closes hurry, and from then on they do what they do by themselves. release
// gives them back; it may be called again.
func stopSignals() (ctx context.Context, hurry <-chan struct{}, release func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	hurried, released, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		defer signal.Stop(signals)
		for _, take := range []func(){cancel, func() { close(hurried) }} {
			select {
			case <-signals:
				take()
			case <-released:
				return
			}
		}
	}()
	return ctx, hurried, func() {
		cancel()
		select {
		case <-released:
		default:
			close(released)
		}
		<-done
	}
}
