package dnsfilter

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sallyport/sallyport/policy"
)

func TestNewRefusesWhatCannotWork(t *testing.T) {
	good := Dependencies{
		Decider:  deciderFunc(allowAll),
		Identify: func(netip.Addr, *Peer) policy.Subject { return policy.Subject{} },
		Record:   func(*policy.Decision) {},
	}
	tests := []struct {
		name   string
		adjust func(*Config, *Dependencies)
		want   []string
	}{
		{"no upstream", func(c *Config, _ *Dependencies) { c.Upstreams = nil }, []string{"no upstream resolver"}},
		{"two bad upstreams", func(c *Config, _ *Dependencies) { c.Upstreams = []string{"tls://dns.example", "ftp://192.0.2.1"} }, []string{`"tls://dns.example"`, `"ftp://192.0.2.1"`}},
		{"everything", func(c *Config, _ *Dependencies) {
			c.TTL, c.Answer, c.CacheBytes, c.QueryTimeout, c.MaxQueries = -1, 99, -1, -1, -1
			c.PageAddrs = []netip.Addr{netip.IPv4Unspecified()}
		}, []string{"ttl", "answer mode", "cache size", "timeout", "limit of", "block page address"}},
		{"a refusal for ever", func(c *Config, _ *Dependencies) { c.TTL = 25 * time.Hour }, []string{"ttl 25h0m0s"}},
		{"no decider", func(_ *Config, d *Dependencies) { d.Decider = nil }, []string{"Decider"}},
		{"no identity", func(_ *Config, d *Dependencies) { d.Identify = nil }, []string{"Identify"}},
		{"no record", func(_ *Config, d *Dependencies) { d.Record = nil }, []string{"Record"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, d := Config{Upstreams: []string{"192.0.2.1"}}, good
			tt.adjust(&c, &d)
			_, err := New(c, d)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

func TestMetricsRegisterOnce(t *testing.T) {
	d := Dependencies{
		Decider:    deciderFunc(allowAll),
		Identify:   func(netip.Addr, *Peer) policy.Subject { return policy.Subject{} },
		Record:     func(*policy.Decision) {},
		Registerer: prometheus.NewRegistry(),
	}
	c := Config{Upstreams: []string{"192.0.2.1"}}
	first, err := New(c, d)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Shutdown(context.Background())
	if _, err := New(c, d); err == nil {
		t.Error("two doors share one registry's metrics")
	}
}

func TestZeroConfigServesNobody(t *testing.T) {
	o := newDoor(t, deciderFunc(allowAll), func(c *Config) { c.Listen, c.Clients = nil, nil })
	if err := o.Listen(context.Background()); err != nil || len(o.Addrs()) != 0 {
		t.Errorf("%v, %v", o.Addrs(), err)
	}
	if o.handler.known(netip.MustParseAddr("127.0.0.1")) {
		t.Error("somebody may ask")
	}
}

func TestOwnListenerIsNoUpstream(t *testing.T) {
	o := openDoor(t, deciderFunc(allowAll), nil)
	taken := o.addr
	o.Shutdown(context.Background())
	again := newDoor(t, deciderFunc(allowAll), func(c *Config) {
		c.Listen, c.Upstreams = []string{taken}, []string{"192.0.2.1", taken}
	})
	if err := again.Listen(context.Background()); err == nil || !strings.Contains(err.Error(), "this gateway itself") {
		t.Errorf("error %v", err)
	}
}
