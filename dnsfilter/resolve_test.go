package dnsfilter

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestResolve(t *testing.T) {
	up := newZone(t,
		"vanity.example. 90 IN CNAME host.example.",
		"host.example. 60 IN A 192.0.2.1",
		"host.example. 60 IN AAAA 2001:db8::1",
		"host.example. 30 IN HTTPS 1 svc.example. ipv4hint=192.0.2.9",
		"v6.example. 60 IN AAAA 2001:db8::2",
		"mail.example. 60 IN MX 10 host.example.",
		"gone.example. 60 IN CNAME nowhere.zoom.us.",
	)
	o := newDoor(t, deciderFunc(allowAll), nil, up)
	tests := []struct {
		name  string
		addrs string
		facts string
		ttl   time.Duration
		err   error
	}{
		{"vanity.example", "192.0.2.1 2001:db8::1", "host.example 192.0.2.1 2001:db8::1 svc.example 192.0.2.9", 30 * time.Second, nil},
		{"VANITY.example.", "192.0.2.1 2001:db8::1", "host.example 192.0.2.1 2001:db8::1 svc.example 192.0.2.9", 30 * time.Second, nil},
		{"v6.example", "2001:db8::2", "2001:db8::2", 60 * time.Second, nil},
		{"localhost", "127.0.0.1 ::1", "127.0.0.1 ::1", 5 * time.Minute, nil},
		{"db.localhost", "127.0.0.1 ::1", "127.0.0.1 ::1", 5 * time.Minute, nil},
		{"mail.example", "", "", 300 * time.Second, ErrNoAddress},
		{"none.example", "", "", 300 * time.Second, ErrNoAddress},
		{"gone.example", "", "nowhere.zoom.us", 0, ErrNoAddress}, // no SOA: not to be kept,
	}
	for _, tt := range tests {
		r, err := o.Resolve(context.Background(), tt.name)
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: error %v, want %v", tt.name, err, tt.err)
		}
		var addrs, facts []string
		for _, a := range r.Addrs {
			addrs = append(addrs, a.String())
		}
		for _, f := range r.Facts {
			facts = append(facts, f.String())
		}
		if got := strings.Join(addrs, " "); got != tt.addrs {
			t.Errorf("%s: addresses %q, want %q", tt.name, got, tt.addrs)
		}
		if got := strings.Join(facts, " "); got != tt.facts {
			t.Errorf("%s: facts %q, want %q", tt.name, got, tt.facts)
		}
		if r.TTL != tt.ttl {
			t.Errorf("%s: TTL %v, want %v", tt.name, r.TTL, tt.ttl)
		}
	}
	if n := len(o.decisions()); n != 0 {
		t.Errorf("Resolve recorded %d decisions", n)
	}
}

func TestResolveSharesTheDoorsCache(t *testing.T) {
	up := newZone(t, "a.example. 60 IN A 192.0.2.1")
	o := openDoor(t, deciderFunc(allowAll), nil, up)
	if _, err := o.Resolve(context.Background(), "a.example"); err != nil {
		t.Fatal(err)
	}
	asked := up.udp.Load()
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeHTTPS} {
		o.ask(query("a.example", qtype))
	}
	if n := up.udp.Load(); n != asked {
		t.Errorf("the door asked upstream again: %d queries, then %d", asked, n)
	}
}

func TestResolveWithoutHTTPS(t *testing.T) {
	zone := zoneScript(t, "a.example. 60 IN A 192.0.2.1")
	up := newUpstream(t, func(q *dns.Msg, tcp bool) [][]byte {
		if q.Question[0].Qtype == dns.TypeHTTPS {
			return nil
		}
		return zone(q, tcp)
	})
	o := newDoor(t, deciderFunc(allowAll), func(c *Config) { c.UpstreamTimeout, c.QueryTimeout = time.Hour, time.Hour }, up)
	if r, err := o.Resolve(context.Background(), "a.example"); err != nil || len(r.Addrs) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestResolveFails(t *testing.T) {
	up := newUpstream(t, silent)
	o := newDoor(t, deciderFunc(allowAll), func(c *Config) { c.UpstreamTimeout, c.QueryTimeout = time.Hour, time.Hour }, up)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for up.udp.Load() < 3 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if _, err := o.Resolve(ctx, "a.example"); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled Resolve: %v", err)
	}
	for _, name := range []string{"a..example", strings.Repeat("x", 64) + ".example", `bad\9`} {
		if _, err := o.Resolve(context.Background(), name); err == nil || errors.Is(err, ErrNoAddress) {
			t.Errorf("%q: %v, want a malformed name", name, err)
		}
	}
	if n := up.udp.Load(); n != 3 {
		t.Errorf("%d queries upstream, want the first name's 3", n)
	}
}
