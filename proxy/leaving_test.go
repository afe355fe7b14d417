package proxy

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"
)

// awaitLeaving waits until the server is about to leave.
func (d *door) awaitLeaving() {
	d.t.Helper()
	eventually(d.t, "the server is about to leave", d.leaving.Load)
}

// TestAnswersEndConnectionsOfALeavingServer: whoever has a connection is
// answered, and comes back to whoever serves by then.
func TestAnswersEndConnectionsOfALeavingServer(t *testing.T) {
	where := plainOrigin(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") })
	page := "http://" + where.String() + "/"
	for _, test := range []struct {
		name, request, method string
		status                int
	}{
		{"a page", getting(page), http.MethodGet, 200},
		{"a refused page", getting("http://zoom.us/"), http.MethodGet, 403},
		{"what cannot be read", getting("/"), http.MethodGet, 400},
		{"a refused CONNECT", "CONNECT zoom.us:443 HTTP/1.1\r\nHost: zoom.us:443\r\n\r\n", http.MethodConnect, 403},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := open(t, nil)
			ours, theirs := d.client(), d.client()
			// One connection is read by us, as long as nothing but CONNECT comes.
			ours.send("CONNECT zoom.us:443 HTTP/1.1\r\nHost: zoom.us:443\r\n\r\n")
			theirs.send(getting(page))
			if r, _ := ours.answer(http.MethodConnect); r.Close {
				t.Fatal("a connection ends before its time")
			}
			if r, _ := theirs.answer(http.MethodGet); r.Close {
				t.Fatal("a connection ends before its time")
			}
			left := make(chan error, 1)
			go func() { left <- d.Leave(context.Background(), patience, nil) }()
			d.awaitLeaving()
			for name, c := range map[string]*client{"ours": ours, "net/http's": theirs} {
				c.send(test.request)
				response, _ := c.answer(test.method)
				if response.StatusCode != test.status || !response.Close {
					t.Errorf("on a connection that is %s: %s, %v", name, response.Status, response.Header)
				}
				if rest := c.rest(); rest != "" {
					t.Errorf("behind the answer came %q", rest)
				}
			}
			if err := <-left; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestStopWaitsForWhatIsBeingDialled: a CONNECT whose destination is being
// looked for is under way, and becomes a tunnel.
func TestStopWaitsForWhatIsBeingDialled(t *testing.T) {
	where := origin(t, echoing)
	asked, proceed := make(chan struct{}), make(chan struct{})
	d := open(t, func(_ *Config, deps *Dependencies) {
		resolve := deps.Resolve
		deps.Resolve = func(ctx context.Context, name string) (Resolution, error) {
			close(asked)
			<-proceed
			return resolve(ctx, name)
		}
	})
	d.name("slow.example", where.Addr().String())
	target := at(where.Port(), "slow.example")
	c := d.client()
	c.send("CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n")
	<-asked
	stopped := make(chan error, 1)
	go func() { stopped <- d.Shutdown(context.Background()) }()
	d.awaitLeaving()
	for d.requests.Enter() { // until the server waits for what is under way
		d.requests.Leave()
		time.Sleep(time.Millisecond)
	}
	close(proceed)
	if response, _ := c.answer(http.MethodConnect); response.StatusCode != http.StatusOK {
		t.Fatal(response.Status)
	}
	c.echo("made it")
	_ = c.CloseWrite()
	if rest := c.rest(); rest != "" {
		t.Errorf("the tunnel ends with %q", rest)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// TestStopCutsWhatIsDialledForTooLong: a stop has its time.
func TestStopCutsWhatIsDialledForTooLong(t *testing.T) {
	asked := make(chan struct{})
	d := open(t, func(_ *Config, deps *Dependencies) {
		deps.Resolve = func(ctx context.Context, _ string) (Resolution, error) {
			close(asked)
			<-ctx.Done()
			return Resolution{}, ctx.Err()
		}
	})
	c := d.client()
	c.send("CONNECT slow.example:443 HTTP/1.1\r\nHost: slow.example:443\r\n\r\n")
	<-asked
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_ = d.Shutdown(ctx) // that it returns is what is tested
	if rest := c.rest(); len(rest) > 0 && rest[:9] != "HTTP/1.1 " {
		t.Errorf("the client reads %q", rest)
	}
}
