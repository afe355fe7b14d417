package proxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestDrainWaitsForBusyTunnels stops with a quiet tunnel, a quiet WebSocket and
// a busy tunnel open: the quiet ones end, the busy one goes on until it is quiet
// too.
func TestDrainWaitsForBusyTunnels(t *testing.T) {
	d := open(t, nil)
	where := origin(t, echoing)
	web := origin(t, upgraded(echoing))
	quiet, busy := d.tunnel(where.String()), d.tunnel(where.String())
	_, _, socket := d.say(upgrading("http://" + web.String() + "/"))
	quiet.echo("hello")
	d.awaitMetric(3, "sallyport_proxy_tunnels")

	stopped := make(chan error, 1)
	began := time.Now()
	go func() { stopped <- d.drain(context.Background(), time.Second, nil) }()
	ended := make(chan string, 2)
	go func() { ended <- quiet.rest() }()
	go func() { ended <- socket.rest() }()
	for waiting := 2; waiting > 0; {
		if got := busy.echo("go on"); got != "go on" {
			t.Fatalf("echo %q", got)
		}
		select {
		case rest := <-ended:
			if rest != "" {
				t.Errorf("a quiet tunnel ends with %q", rest)
			}
			waiting--
		default:
		}
		if time.Since(began) > patience {
			t.Fatal("quiet tunnels are open still")
		}
	}
	if got := busy.echo("still here"); got != "still here" {
		t.Errorf("echo %q", got)
	}
	select {
	case err := <-stopped:
		t.Fatalf("stopped with a busy tunnel open: %v", err)
	default:
	}
	if rest := busy.rest(); rest != "" { // nothing more is sent, so that it ends
		t.Errorf("the busy tunnel ends with %q", rest)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	_, ends := d.await(3, 3)
	for _, end := range ends {
		if end.ClosedBy != closedByShutdown {
			t.Errorf("end %+v", end)
		}
	}
	if got := d.metric("sallyport_proxy_tunnels_closed_total", closedByShutdown); got != 3 {
		t.Errorf("%v tunnels are counted as ended by the stop", got)
	}
}

// TestDrainCutsBusyTunnels stops with a tunnel that is never quiet.
func TestDrainCutsBusyTunnels(t *testing.T) {
	d := open(t, nil)
	where := origin(t, func(conn *net.TCPConn) {
		for {
			if _, err := conn.Write([]byte("more and more")); err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	busy := d.tunnel(where.String())
	busy.read(100)
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if err := d.drain(ctx, 100*time.Millisecond, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if _, ends := d.await(1, 1); ends[0].ClosedBy != closedByShutdown {
		t.Errorf("end %+v", ends[0])
	}
}

// TestDrainLetsTunnelsOpen stops while an origin takes its time: the tunnel
// comes about.
func TestDrainLetsTunnelsOpen(t *testing.T) {
	looking, found := make(chan struct{}), make(chan struct{})
	where := origin(t, echoing)
	d := open(t, func(_ *Config, deps *Dependencies) {
		resolve := deps.Resolve
		deps.Resolve = func(ctx context.Context, name string) (Resolution, error) {
			close(looking)
			<-found
			return resolve(ctx, name)
		}
	})
	d.name("slow.example", where.Addr().String())
	c := d.client()
	c.send("CONNECT " + at(where.Port(), "slow.example") + " HTTP/1.1\r\nHost: slow.example\r\n\r\n")
	<-looking
	hasty := make(chan struct{})
	left := make(chan error, 1)
	go func() { left <- d.Leave(context.Background(), patience, hasty) }()
	awaitRefusal(t, d.addr)
	close(found)
	if response, body := c.answer(http.MethodConnect); response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", response.Status, body)
	}
	if got := c.echo("hello"); got != "hello" {
		t.Errorf("echo %q", got)
	}
	close(hasty)
	if err := <-left; err != nil {
		t.Error(err)
	}
}

// TestLeave leaves with clients that are connected and have said nothing, half
// of a request, or a whole one and may say another: each gets its answer. A
// quiet tunnel stays.
func TestLeave(t *testing.T) {
	d := open(t, nil)
	where := origin(t, echoing)
	server := plainOrigin(t, func(http.ResponseWriter, *http.Request) {})
	request := getting("http://" + server.String() + "/")
	quiet := d.tunnel(where.String())
	silent, another, half, kept := d.client(), d.client(), d.client(), d.client()
	half.send(request[:20])
	kept.send(request)
	kept.answer(http.MethodGet)
	eventually(t, "all are inside", func() bool { return d.crowd.size() == 4 })

	hasty := make(chan struct{})
	left := make(chan error, 1)
	go func() { left <- d.Leave(context.Background(), patience, hasty) }()
	awaitRefusal(t, d.addr)
	silent.send("CONNECT " + where.String() + " HTTP/1.1\r\nHost: " + where.String() + "\r\n\r\n")
	if response, body := silent.answer(http.MethodConnect); response.StatusCode != http.StatusOK {
		t.Errorf("a client that had said nothing got %s: %s", response.Status, body)
	}
	if got := silent.echo("hello"); got != "hello" {
		t.Errorf("echo %q", got)
	}
	another.send(request)
	half.send(request[20:])
	kept.send(request)
	for name, c := range map[string]*client{"nothing": another, "half a request": half, "a request": kept} {
		if response, body := c.answer(http.MethodGet); response.StatusCode != http.StatusOK {
			t.Errorf("a client that had sent %s got %s: %s", name, response.Status, body)
		}
		_ = c.Close()
	}
	eventually(t, "nobody is inside", func() bool { return d.crowd.size() == 0 })
	if got := quiet.echo("still here"); got != "still here" {
		t.Errorf("echo %q", got)
	}
	select {
	case err := <-left:
		t.Fatalf("left with tunnels open: %v", err)
	default:
	}
	close(hasty)
	if err := <-left; err != nil {
		t.Error(err)
	}
	if rest := quiet.rest(); rest != "" {
		t.Errorf("the quiet tunnel ends with %q", rest)
	}
}

// TestLeaveHasAnEnd leaves with a client that says nothing.
func TestLeaveHasAnEnd(t *testing.T) {
	d := open(t, nil)
	silent := d.client()
	eventually(t, "it is inside", func() bool { return d.crowd.size() == 1 })
	if err := d.Leave(context.Background(), 50*time.Millisecond, nil); err != nil {
		t.Error(err)
	}
	if rest := silent.rest(); rest != "" {
		t.Errorf("got %q", rest)
	}
}

// awaitRefusal waits until nobody accepts at an address any more.
func awaitRefusal(t *testing.T, addr string) {
	t.Helper()
	eventually(t, "nobody is let in any more", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
}
