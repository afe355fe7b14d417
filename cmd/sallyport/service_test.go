package main

import (
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// TestNoSuccessorOnTheWayOut: whoever sends SIGUSR2 to a gateway that drains is
// told that nothing comes of it, each time, and the stop goes on.
func TestNoSuccessorOnTheWayOut(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	upgrade, hurry := make(chan os.Signal), make(chan struct{})
	s := &service{process: process{upgrade: upgrade, hurry: hurry}, log: zap.New(core)}
	ctx, cancel := s.untilHurried(time.Hour)
	defer cancel()
	upgrade <- syscall.SIGUSR2
	upgrade <- syscall.SIGUSR2 // is taken once the first was dealt with
	if ctx.Err() != nil {
		t.Errorf("the stop was hurried: %v", ctx.Err())
	}
	close(hurry)
	<-ctx.Done()
	cancel() // waits for the goroutine
	if n := logs.FilterMessage("no new process takes over: this one is on its way out; start one").Len(); n != 2 {
		t.Errorf("%d of 2 were answered", n)
	}
}

// TestUntilHurriedEnds by its time and by its caller, whichever is first.
func TestUntilHurriedEnds(t *testing.T) {
	s := &service{log: zap.NewNop()}
	ctx, cancel := s.untilHurried(time.Millisecond)
	<-ctx.Done()
	cancel()
	ctx, cancel = s.untilHurried(time.Hour)
	var ends sync.WaitGroup
	ends.Go(func() { <-ctx.Done() })
	cancel()
	ends.Wait()
}
