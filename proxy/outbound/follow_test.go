package outbound

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// dead is an endpoint at which nobody listens.
func dead(t testing.TB) Endpoint {
	return Endpoint{SchemeHTTP, "127.0.0.1", freePort(t)}
}

func TestFollowGoesOn(t *testing.T) {
	origin := serve(t, "127.0.0.1:0", echo)
	to := Target{Host: "www.example.com", Port: origin.Port(), Addrs: addresses("127.0.0.1")}
	second := serve(t, "127.0.0.1:0", (&httpParent{network: network{net.JoinHostPort("www.example.com", portText(origin)): origin}}).talk)
	for _, c := range []struct {
		via  []string
		want string // empty: an error
	}{
		{[]string{"dead", "second"}, "second"},
		{[]string{"dead", Direct}, Direct},
		{[]string{Direct, "dead"}, Direct},
		{[]string{"dead", "second", Direct}, "second"},
		{[]string{"dead"}, ""},
	} {
		d := newDialer(t, Config{
			Parents: []Parent{{Name: "dead", Endpoint: dead(t)}, {Name: "second", Endpoint: endpoint(SchemeHTTP, second)}},
			Routes:  everywhere(c.via...),
		}, Dependencies{})
		for range 2 { // found out the first time, known the second time
			conn, err := d.Dial(t.Context(), to)
			if c.want == "" {
				if !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), `"dead"`) {
					t.Errorf("%v: got %v, want why the parent does not work", c.via, err)
				}
				var why *ParentError
				if !errors.As(err, &why) || why.Status() != 502 || why.ProxyStatus() != "connection_refused" || strings.Contains(why.Sentence(), "server") {
					t.Errorf("%v: the client is told %v", c.via, why)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%v: %v", c.via, err)
			}
			if conn.Via != c.want {
				t.Errorf("%v: reached via %s, want %s", c.via, conn.Via, c.want)
			}
			wantEcho(t, conn)
		}
	}
}

func portText(at netip.AddrPort) string {
	_, port, _ := net.SplitHostPort(at.String())
	return port
}

// A parent that does not work is not asked by every request, and is used again
// once it is back.
func TestFollowLeavesAlone(t *testing.T) {
	origin := serve(t, "127.0.0.1:0", echo)
	to := Target{Host: "www.example.com", Port: origin.Port(), Addrs: addresses("127.0.0.1")}
	var broken atomic.Bool
	var asked atomic.Int32
	good := &httpParent{network: network{net.JoinHostPort("www.example.com", portText(origin)): origin}}
	at := serve(t, "127.0.0.1:0", func(conn net.Conn) {
		asked.Add(1)
		if !broken.Load() {
			good.talk(conn)
		}
	})
	registry := prometheus.NewRegistry()
	d := newDialer(t, Config{Parents: []Parent{{Name: "site", Endpoint: endpoint(SchemeHTTP, at)}}, Routes: everywhere("site", Direct)},
		Dependencies{Registerer: registry})
	via := func() string {
		conn, err := d.Dial(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		wantEcho(t, conn)
		return conn.Via
	}
	wantUp := func(want float64) {
		t.Helper()
		if got := sample(t, registry, "sallyport_proxy_parent_up", "site"); got != want {
			t.Errorf("up is %v, want %v", got, want)
		}
	}
	if got := via(); got != "site" {
		t.Errorf("via %s", got)
	}
	wantUp(1)
	h := &d.routes.list[0].steps[0].health
	until := func(at time.Time) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.until = at
	}
	broken.Store(true)
	for range 5 {
		if got := via(); got != Direct {
			t.Errorf("via %s", got)
		}
		until(time.Now().Add(time.Hour)) // however slow this machine is
	}
	if got := asked.Load(); got != 2 {
		t.Errorf("the parent was asked %d times, want once when it worked and once when it did not", got)
	}
	wantUp(0)
	broken.Store(false)
	until(time.Now())
	if got := via(); got != "site" {
		t.Errorf("via %s, though the parent is back", got)
	}
	wantUp(1)
	for labels, want := range map[string]float64{"site ok": 2, "site error": 1, "direct ok": 5} {
		if got := sample(t, registry, "sallyport_proxy_outbound_dials_total", strings.Fields(labels)...); got != want {
			t.Errorf("%s: %v, want %v", labels, got, want)
		}
	}
}

// sample is the value of a metric with these label values.
func sample(t *testing.T, registry *prometheus.Registry, name string, labels ...string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			found := 0
			for i, pair := range m.GetLabel() {
				if i < len(labels) && pair.GetValue() == labels[i] {
					found++
				}
			}
			if found == len(labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

// Each way has its share of the time, so that one that is silent leaves some
// for the next.
func TestFollowSharesTheTime(t *testing.T) {
	origin := serve(t, "127.0.0.1:0", echo)
	first, _ := deafPair(t)
	d := newDialer(t, Config{
		Timeout: 400 * time.Millisecond,
		Parents: []Parent{{Name: "deaf", Endpoint: endpoint(SchemeHTTP, first)}},
		Routes:  everywhere("deaf", Direct),
	}, Dependencies{})
	conn, err := d.Dial(t.Context(), Target{Host: "www.example.com", Port: origin.Port(), Addrs: addresses("127.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	wantEcho(t, conn)
	if d.routes.list[0].steps[0].health.failures == 0 {
		t.Error("a parent that cannot be reached is not left alone")
	}
}

func TestShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deadline := time.Now().Add(12 * time.Second)
		for n, want := range map[int]time.Duration{1: 12 * time.Second, 2: 6 * time.Second, 3: 4 * time.Second} {
			if got := time.Until(share(deadline, n)); got != want {
				t.Errorf("the first of %d has %v, want %v", n, got, want)
			}
		}
	})
}
