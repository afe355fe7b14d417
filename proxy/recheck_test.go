package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sallyport/sallyport/policy"
)

// A policy that is put in force closes exactly the tunnels that it refuses.
func TestRecheckClosesWhatIsRefused(t *testing.T) {
	const all, banned = 500, 100
	d := open(t, nil)
	d.decide(func(*policy.Request) policy.Verdict { return allowed() })
	where := origin(t, echoing)
	d.name("us04web.zoom.us", "127.0.0.1")
	d.name("teams.example", "127.0.0.1")
	var meetings, others []*client
	for i := range all {
		if i%(all/banned) == 0 {
			meetings = append(meetings, d.tunnel(at(where.Port(), "us04web.zoom.us")))
		} else {
			others = append(others, d.tunnel(at(where.Port(), "teams.example")))
		}
	}
	for _, c := range append(meetings, others...) {
		if got := c.echo("hello"); got != "hello" {
			t.Fatalf("echo %q", got)
		}
	}
	d.awaitMetric(all, "sallyport_proxy_tunnels")
	if result := d.Recheck(); result != (RecheckResult{Checked: all}) {
		t.Fatalf("with the old policy: %+v", result)
	}

	d.decide(memo)
	if result := d.Recheck(); result != (RecheckResult{Checked: all, Closed: banned}) {
		t.Fatalf("with the new policy: %+v", result)
	}
	for _, c := range meetings {
		if rest := c.rest(); rest != "" {
			t.Errorf("a closed tunnel said %q", rest)
		}
	}
	for _, c := range others {
		if got := c.echo("still here"); got != "still here" {
			t.Fatalf("echo %q", got)
		}
	}
	_, ends := d.await(all, banned)
	for _, end := range ends {
		if end.ClosedBy != closedByPolicy || end.Rule != "zoom-memo" || end.Decision.Host.Name() != "us04web.zoom.us" || end.BytesUp != 5 || end.BytesDown != 5 {
			t.Fatalf("end %+v", end)
		}
	}
	if got := d.metric("sallyport_proxy_tunnels_closed_total", closedByPolicy); got != banned {
		t.Errorf("%v closed by policy", got)
	}
	d.awaitMetric(all-banned, "sallyport_proxy_tunnels")
}

// What the client has claimed since is judged as well.
func TestRecheckJudgesClaims(t *testing.T) {
	d := open(t, nil)
	d.decide(func(*policy.Request) policy.Verdict { return allowed() })
	where := origin(t, echoing)
	d.name("front.example", "127.0.0.1")
	c := d.tunnel(at(where.Port(), "front.example"))
	hello := clientHello(t, "zoom.us")
	if got := c.echo(string(hello)); got != string(hello) {
		t.Fatal("the hello did not pass")
	}
	d.decide(memo)
	if result := d.Recheck(); result.Closed != 1 {
		t.Errorf("%+v", result)
	}
}

// A policy swap at any moment while a tunnel is being opened must not leave it
// open: either its own last decision refuses, or Recheck finds it.
func TestNoTunnelSlipsThroughARecheck(t *testing.T) {
	where := origin(t, echoing)
	// Each tunnel is decided on several times; the policy changes during one of
	// these decisions, after the old policy has answered.
	for moment := 1; moment <= 3; moment++ {
		t.Run(fmt.Sprint("decision ", moment), func(t *testing.T) {
			d := open(t, nil)
			d.name("meeting.example", "127.0.0.1")
			var banned atomic.Bool
			var asked atomic.Int32
			d.decide(func(r *policy.Request) policy.Verdict {
				if banned.Load() {
					return refused(r.Host)
				}
				if int(asked.Add(1)) == moment {
					banned.Store(true) // the swap ...
					d.Recheck()        // ... and what follows it
				}
				return allowed()
			})
			c := d.client()
			c.send(connectTo(at(where.Port(), "meeting.example")))
			switch response, err := http.ReadResponse(c.reader, &http.Request{Method: http.MethodConnect}); {
			case err != nil: // closed before the 200 was written
			case response.StatusCode == http.StatusForbidden:
			case response.StatusCode == http.StatusOK:
				_, _ = io.WriteString(c.TCPConn, "hello")
				if rest := c.rest(); rest != "" {
					t.Errorf("the tunnel is open: %q", rest)
				}
			default:
				t.Errorf("got %s", response.Status)
			}
			eventually(t, "nothing is registered", func() bool { return len(d.tunnels.all()) == 0 })
		})
	}
}

// The same with nothing under control: tunnels are opened while the policy is
// swapped, and none may survive.
func TestRecheckWhileTunnelsOpen(t *testing.T) {
	where := origin(t, echoing)
	for range 10 {
		d := open(t, nil)
		var banned atomic.Bool
		d.decide(func(r *policy.Request) policy.Verdict {
			if banned.Load() {
				return refused(r.Host)
			}
			return allowed()
		})
		var clients sync.WaitGroup
		started := make(chan struct{}, 64)
		for range 32 {
			conn := d.dialProxy()
			clients.Go(func() {
				started <- struct{}{}
				_, _ = conn.Write([]byte(connectTo(where.String())))
				buffer := make([]byte, 4096)
				for {
					if _, err := conn.Read(buffer); err != nil {
						var network net.Error
						if e, ok := err.(net.Error); ok && e.Timeout() {
							t.Errorf("a tunnel was left open: %v", network)
						}
						return
					}
				}
			})
		}
		for range 16 {
			<-started
		}
		banned.Store(true)
		d.Recheck()
		eventually(t, "no tunnel is open", func() bool { return len(d.tunnels.all()) == 0 })
		ctx, cancel := contextDone()
		_ = d.Shutdown(ctx) // lets go of refused clients that could ask again
		cancel()
		clients.Wait()
	}
}

// BenchmarkRecheck judges 10,000 open tunnels.
func BenchmarkRecheck(b *testing.B) {
	s := &Server{tunnels: newRegistry(20000, 20000), dependencies: Dependencies{Decider: deciderFunc(memo), Now: nowUTC}}
	for i := range 10000 {
		t := &tunnel{server: s, request: policy.Request{Door: policy.DoorProxy, Port: 443,
			Host: policy.HostFromCanonicalName(fmt.Sprintf("host%d.example", i))}}
		if _, ok := s.tunnels.add(t); !ok {
			b.Fatal("no room")
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if result := s.Recheck(); result.Checked != 10000 || result.Closed != 0 {
			b.Fatalf("%+v", result)
		}
	}
}

// A request that is over is not ended any more by somebody who has just found
// it on the register: its connection serves another one by now.
func TestAFinishedRequestCutsNoOther(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	where := plainOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
		begun <- struct{}{}
		<-finish
		_, _ = io.WriteString(w, "whole")
	})
	d := open(t, nil)
	d.decide(func(*policy.Request) policy.Verdict { return allowed() })
	d.name("www.example.com", "127.0.0.1")
	get := fmt.Sprintf("GET http://%s/ HTTP/1.1\r\nHost: %[1]s\r\n\r\n", at(where.Port(), "www.example.com"))
	c := d.client()
	c.send(get)
	<-begun
	found := d.tunnels.all()
	finish <- struct{}{}
	if _, body := c.answer(http.MethodGet); body != "whole" {
		t.Fatalf("got %q", body)
	}
	c.send(get)
	<-begun
	for _, entry := range found {
		if entry.end(closedByPolicy, "no-more") {
			t.Error("what is over was ended")
		}
	}
	finish <- struct{}{}
	if _, body := c.answer(http.MethodGet); body != "whole" {
		t.Errorf("the next request got %q", body)
	}
}
