//go:build linux

package e2e

import (
	"io"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"
)

// stopBudget is what a clean stop without tunnels may take; mostStop is what
// fails the test, since the machine may have other things to do.
const (
	stopBudget = 200 * time.Millisecond
	mostStop   = 2 * time.Second
)

// TestStopsAtOnce stops gateways that have nothing to wait for: clients that
// keep connections open for later are nothing.
func TestStopsAtOnce(t *testing.T) {
	var took []time.Duration
	for range 5 {
		l := startLine(t, lineConfig("1m"))
		for _, address := range []string{l.dns, l.proxy, l.proxy, l.admin, l.portal} {
			defer dial(t, address).Close()
		}
		page := pageServer(t)
		for _, once := range []func() error{
			onceGet(t, page, l.proxy, true), onceGet(t, "http://"+l.portal+"/", "", true), onceGet(t, "http://"+l.admin+"/healthz", "", true),
			onceTunnel(l.proxy, echoServer(t)), onceUDP(l.dns),
		} {
			if err := once(); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		l.kill(t, l.main(), syscall.SIGTERM)
		l.wantEnd(t, l.main())
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("stopped in %v (budget: %v)", took, stopBudget)
	if middle := took[len(took)/2]; middle > mostStop {
		t.Errorf("a stop takes %v", middle)
	}
}

// TestStopDoesNotWaitForQuietTunnels stops with many quiet tunnels and a busy one
// open, and a drain of a minute: the quiet ones are closed within seconds, the
// busy one goes on until a second signal comes.
func TestStopDoesNotWaitForQuietTunnels(t *testing.T) {
	const tunnels = 50
	echo := echoServer(t)
	l := startLine(t, lineConfig("1m"))
	var quiet []net.Conn
	for range tunnels {
		conn, _, err := connectVia(l.proxy, echo)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		quiet = append(quiet, conn)
	}
	busy, reader, err := connectVia(l.proxy, echo)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()

	began := time.Now()
	l.kill(t, l.main(), syscall.SIGTERM)
	ended := make(chan time.Duration, tunnels)
	for _, conn := range quiet {
		go func() {
			_, _ = io.Copy(io.Discard, conn)
			ended <- time.Since(began)
		}()
	}
	var last time.Duration
	for n := 0; n < tunnels; {
		if err := echoIn(busy, reader, "go on"); err != nil {
			t.Fatalf("the busy tunnel, after %v: %v", time.Since(began), err)
		}
		select {
		case last = <-ended:
			n++
		default:
		}
		time.Sleep(time.Millisecond)
	}
	if last > 10*time.Second {
		t.Errorf("quiet tunnels were open for %v", last)
	}
	l.wantMetric(t, tunnels, "sallyport_proxy_tunnels_closed_total", `reason="shutdown"`)
	if err := echoIn(busy, reader, "still here"); err != nil {
		t.Errorf("the busy tunnel: %v", err)
	}
	again := time.Now()
	l.kill(t, l.main(), syscall.SIGTERM)
	for { // it would never be quiet
		if err := echoIn(busy, reader, "until it is cut"); err != nil {
			break
		}
		if time.Since(again) > patience {
			t.Fatal("a second signal does not cut the busy tunnel")
		}
	}
	l.wantEnd(t, l.main())
	t.Logf("%d quiet tunnels were closed within %v, the busy one and the process %v after the second signal",
		tunnels, last.Round(time.Millisecond), time.Since(again).Round(time.Millisecond))
	l.logged(t, "the closing entry of the tunnel that was cut", func(e entry) bool { return e.ClosedBy == "shutdown" && e.BytesUp > 100 })
}

// TestStopWhileLeaving stops everything, as systemd does, while the old process
// drains: both end well, the old one as soon as its tunnels are quiet.
func TestStopWhileLeaving(t *testing.T) {
	echo := echoServer(t)
	l := startLine(t, lineConfig("1m"))
	conn, reader, err := connectVia(l.proxy, echo)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	before := l.main()
	l.upgrade(t)
	if err := echoIn(conn, reader, "hello"); err != nil {
		t.Fatal(err)
	}
	for _, pid := range l.pids {
		l.kill(t, pid, syscall.SIGTERM)
	}
	l.wantEnd(t, l.main())
	l.wantEnd(t, before)
	if n, err := io.Copy(io.Discard, reader); err != nil || n != 0 {
		t.Errorf("the tunnel ends with %d bytes, %v", n, err)
	}
}
