package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"
)

const answerDuration = "sallyport_proxy_answer_duration_seconds"

// TestAnswerTimes asks for one of everything that can be told apart, and finds
// each counted as what it was, and nothing as anything else.
func TestAnswerTimes(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
	defer origin.Close()
	broken := errors.New("SERVFAIL")
	d := open(t, func(_ *Config, deps *Dependencies) {
		resolve := deps.Resolve
		deps.Resolve = func(ctx context.Context, name string) (Resolution, error) {
			if name == "broken.example" {
				return Resolution{}, broken
			}
			return resolve(ctx, name)
		}
		deps.NamesFault = func(err error) bool { return errors.Is(err, broken) }
	})
	d.name("bare.example")
	at := strings.TrimPrefix(origin.URL, "http://")
	d.name("there.example", "127.0.0.1")
	for i, tc := range []struct {
		name, raw string
		status    int
		outcome   string
	}{
		{"a refused tunnel", "CONNECT zoom.us:443 HTTP/1.1\r\nHost: zoom.us:443\r\n\r\n", http.StatusForbidden, "blocked"},
		{"a refused request", "GET http://zoom.us/ HTTP/1.1\r\nHost: zoom.us\r\n\r\n", http.StatusForbidden, "blocked"},
		{"a tunnel", "CONNECT " + at + " HTTP/1.1\r\nHost: " + at + "\r\n\r\n", http.StatusOK, "allowed"},
		{"an error of the origin's", "GET http://" + at + "/ HTTP/1.1\r\nHost: " + at + "\r\n\r\n", http.StatusInternalServerError, "forwarded"},
		{"a tunnel to a name that no resolver answers for", "CONNECT unasked.example:443 HTTP/1.1\r\nHost: unasked.example:443\r\n\r\n", http.StatusBadGateway, "error"},
		{"a request for such a name", "GET http://unasked.example/ HTTP/1.1\r\nHost: unasked.example\r\n\r\n", http.StatusBadGateway, "error"},
		{"a tunnel to a broken name", "CONNECT broken.example:443 HTTP/1.1\r\nHost: broken.example:443\r\n\r\n", http.StatusBadGateway, "unreachable"},
		{"a tunnel to a name without an address", "CONNECT bare.example:443 HTTP/1.1\r\nHost: bare.example:443\r\n\r\n", http.StatusBadGateway, "unreachable"},
		{"a tunnel to a closed port", "CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n", http.StatusBadGateway, "unreachable"},
		{"a request to a closed port", "GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n", http.StatusBadGateway, "unreachable"},
		{"no host", "CONNECT nothing HTTP/1.1\r\nHost: nothing\r\n\r\n", http.StatusBadRequest, "refused"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := d.metric(answerDuration, tc.outcome)
			if response, _, _ := d.say(tc.raw); response.StatusCode != tc.status {
				t.Fatalf("status %d, want %d", response.StatusCode, tc.status)
			}
			d.awaitMetric(before+1, answerDuration, tc.outcome)
			if all := d.metric(answerDuration); all != float64(i+1) {
				t.Errorf("%v answers are counted after %d", all, i+1)
			}
		})
	}
}

// TestNobodyWaitsForNoAnswer has a client leave before its answer is there.
func TestNobodyWaitsForNoAnswer(t *testing.T) {
	asked := make(chan struct{})
	d := open(t, func(_ *Config, deps *Dependencies) {
		deps.Resolve = func(ctx context.Context, _ string) (Resolution, error) {
			close(asked)
			<-ctx.Done()
			return Resolution{}, context.Cause(ctx)
		}
	})
	c := d.client()
	c.send("GET http://slow.example/ HTTP/1.1\r\nHost: slow.example\r\n\r\n")
	<-asked
	_ = c.Close()
	d.awaitMetric(1, "sallyport_proxy_requests_total", "http", "499")
	if n := d.metric(answerDuration); n != 0 {
		t.Errorf("%v answers are counted that nobody got", n)
	}
}

func TestAnswerKinds(t *testing.T) {
	for status, want := range map[int]answerKind{
		http.StatusBadRequest: answerRefused, http.StatusProxyAuthRequired: answerRefused, http.StatusForbidden: answerRefused,
		http.StatusTooManyRequests: answerRefused, http.StatusBadGateway: answerError, http.StatusServiceUnavailable: answerError,
	} {
		if got := (answer{status: status}).kind(); got != want {
			t.Errorf("%d is %v, want %v", status, got, want)
		}
	}
}

// TestElsewhere: what an admin of the proxy can mend is not put down to others.
func TestElsewhere(t *testing.T) {
	x := &exchange{server: &Server{}}
	x.server.dependencies.NamesFault = func(error) bool { return false }
	for _, test := range []struct {
		err  error
		want bool
	}{
		{syscall.ECONNREFUSED, true},
		{syscall.EHOSTUNREACH, true},
		{context.DeadlineExceeded, true},
		{io.EOF, true},
		{&resolveError{err: io.EOF}, false},
		{&resolveError{err: context.DeadlineExceeded}, false},
		{&resolveError{err: io.EOF, none: true}, true},
		{syscall.EMFILE, false},
		{errors.Join(syscall.ETIMEDOUT, syscall.EADDRNOTAVAIL), false},
	} {
		if got := x.isElsewhere(fmt.Errorf("dial: %w", test.err)); got != test.want {
			t.Errorf("%v is elsewhere: %v, want %v", test.err, got, test.want)
		}
	}
}

// TestObservingIsFree counts what an answer costs besides.
func TestObservingIsFree(t *testing.T) {
	x := &exchange{server: &Server{metrics: &metrics{answers: newAnswerTimes()}}, began: time.Now()}
	if n := testing.AllocsPerRun(100, func() { x.observe(answerBlocked, http.StatusForbidden) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestOccupancy follows the places that clients take.
func TestOccupancy(t *testing.T) {
	d := open(t, func(c *Config, _ *Dependencies) { c.MaxConns, c.MaxTunnels = 7, 5 })
	if c, n := d.metric("sallyport_proxy_connections_limit"), d.metric("sallyport_proxy_tunnels_limit"); c != 7 || n != 5 {
		t.Errorf("limits %v and %v, want 7 and 5", c, n)
	}
	idle := d.client()
	d.awaitMetric(1, "sallyport_proxy_connections")
	tunnel := d.tunnel(origin(t, echoing).String())
	d.awaitMetric(1, "sallyport_proxy_tunnel_places")
	d.awaitMetric(1, "sallyport_proxy_connections")
	_ = tunnel.Close()
	_ = idle.Close()
	d.awaitMetric(0, "sallyport_proxy_tunnel_places")
	d.awaitMetric(0, "sallyport_proxy_connections")
}
