//go:build unix

package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sallyport/sallyport/handover"
)

// TestWatchdogHearsNothingOfAnUnwellGateway has a gateway be well, unwell and
// well again.
func TestWatchdogHearsNothingOfAnUnwellGateway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	heard, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer heard.Close()
	hear := func(within time.Duration) error {
		_ = heard.SetReadDeadline(time.Now().Add(within))
		_, err := heard.Read(make([]byte, 64))
		return err
	}
	environment := map[string]string{"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2000"}
	core, logs := observer.New(zapcore.WarnLevel)
	s := &systemd{notifier: handover.NewNotifier(func(name string) string { return environment[name] }), log: zap.New(core)}
	ctx, cancel := context.WithCancel(context.Background())
	state, done := make(chan error), make(chan struct{})
	go func() {
		defer close(done)
		var now error
		s.watch(ctx, func(context.Context) error {
			select {
			case now = <-state:
			default:
			}
			return now
		})
	}()
	if err := hear(patience); err != nil {
		t.Fatalf("a gateway that is well is not heard of: %v", err)
	}
	state <- errors.New("no policy is in force")
	for hear(100*time.Millisecond) == nil { // what was said before
		if logs.Len() > 1000 {
			t.Fatal("an unwell gateway says that all is well")
		}
	}
	if logs.FilterMessage("the watchdog is not told that all is well").Len() == 0 {
		t.Error("nothing is logged")
	}
	state <- nil
	if err := hear(patience); err != nil {
		t.Errorf("a gateway that is well again is not heard of: %v", err)
	}
	cancel()
	<-done

	// Nobody listens any more: that is said once.
	heard.Close()
	before := logs.FilterMessage("systemd does not learn how the gateway is").Len()
	s.ready()
	s.stopping(time.Second)
	if n := logs.FilterMessage("systemd does not learn how the gateway is").Len() - before; n != 1 {
		t.Errorf("it was said %d times", n)
	}
}

// TestStopSignals sends one signal and another.
func TestStopSignals(t *testing.T) {
	ctx, hurry, release := stopSignals()
	defer release()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	select {
	case <-hurry:
		t.Fatal("one signal is enough for haste")
	default:
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	<-hurry
	release()

	ctx, hurry, release = stopSignals()
	release()
	release()
	<-ctx.Done()
	select {
	case <-hurry:
		t.Error("haste without a signal")
	default:
	}
}
