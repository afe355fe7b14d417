package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// TestPanicsEndOneTunnel: wherever a mistake of ours strikes in a tunnel's life,
// the tunnel is over, is counted once, and a stop does not wait for it.
func TestPanicsEndOneTunnel(t *testing.T) {
	for _, test := range []struct {
		name   string
		adjust func(*Config, *Dependencies)
		opened bool // the client has been told that it is through
	}{
		{"while it is opened", func(_ *Config, d *Dependencies) {
			decide, asked := d.Decider, &atomic.Int32{}
			d.Decider = deciderFunc(func(r *policy.Request) policy.Verdict {
				if asked.Add(1) == 2 {
					panic("judged once more")
				}
				return decide.Decide(r)
			})
		}, false},
		{"while it is written down", func(_ *Config, d *Dependencies) {
			d.RecordEnd = func(*policy.TunnelEnd) { panic("written down") }
		}, true},
		{"while it is told to the access logs", func(_ *Config, d *Dependencies) {
			d.Access = func(*Access) { panic("told") }
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			target := origin(t, echoing).String()
			d := open(t, test.adjust)
			c := d.client()
			c.send("CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n")
			closed := 0.0
			if test.opened {
				if response, _ := c.answer("CONNECT"); response.StatusCode != 200 {
					t.Fatal(response.Status)
				}
				c.echo("hello")
				_ = c.CloseWrite()
				closed = 1
			}
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.Copy(io.Discard, c); err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the connection is not closed: %v", err)
			}
			d.awaitMetric(0, "sallyport_proxy_tunnels")
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := d.Shutdown(ctx); err != nil {
				t.Errorf("stop: %v", err)
			}
			if n := len(d.tunnels.all()); n != 0 {
				t.Errorf("%d tunnels are left on the register", n)
			}
			sum := 0.0
			for _, reason := range []string{closedByClient, closedByUpstream, closedByIdle, closedByPolicy, closedByShutdown} {
				sum += d.metric("sallyport_proxy_tunnels_closed_total", reason)
			}
			if sum != closed {
				t.Errorf("%v tunnels are counted as closed, want %v", sum, closed)
			}
		})
	}
}

// TestPanicWhileGreeting: how a tunnel begins is judged by goroutines that carry
// all the others, and what could not be judged does not go up.
func TestPanicWhileGreeting(t *testing.T) {
	target := origin(t, echoing).String()
	d := open(t, nil)
	other := d.tunnel(target)
	d.decide(func(r *policy.Request) policy.Verdict {
		if len(r.Claimed) > 0 {
			panic("claimed")
		}
		return memo(r)
	})
	c := d.tunnel(target)
	c.send("GET / HTTP/1.1\r\nHost: other.example\r\n\r\n")
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if said, err := io.ReadAll(c); len(said) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client was told %q, %v; want the end", said, err)
	}
	d.awaitMetric(1, "sallyport_proxy_panics_total")
	d.awaitMetric(1, "sallyport_proxy_tunnels")
	_, ends := d.await(2, 1)
	if n := ends[0].BytesUp; n != 0 {
		t.Errorf("%d bytes went up", n)
	}
	other.echo("still here")
}

// TestPanicWhileServing: what net/http recovers from is counted, and what it is
// asked to abort is no mistake.
func TestPanicWhileServing(t *testing.T) {
	d := open(t, nil)
	for i, mistake := range []any{"decided", http.ErrAbortHandler} {
		d.decide(func(*policy.Request) policy.Verdict { panic(mistake) })
		c := d.client()
		c.send("GET http://www.corp.example/ HTTP/1.1\r\nHost: www.corp.example\r\n\r\n")
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if said, err := io.ReadAll(c); len(said) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%d: the client was told %q, %v; want the end", i, said, err)
		}
		d.awaitMetric(1, "sallyport_proxy_panics_total")
	}
}
