package dnsfilter

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
	"github.com/sallyport/sallyport/dnsfilter/ingress"
	"github.com/sallyport/sallyport/policy"
)

// engine compiles a policy.
func engine(t testing.TB, text string) *policy.Engine {
	t.Helper()
	doc, problems := policy.Parse([]policy.File{{Name: "policy.yaml", Data: []byte(text)}})
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	program, problems := policy.Compile(doc, policy.Sources{Revision: "r1"})
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	return policy.NewEngine(program)
}

const deskPolicy = `
version: 1
groups: {staff: {networks: [127.0.0.0/8]}}
apps: {zoom: {name: Zoom, category: conferencing, domains: [zoom.us], networks: [3.7.35.0/25]}}
rules:
  - {name: memo, who: {groups: [staff]}, what: {apps: [zoom]}, action: block, reason: Privacy and security concerns}
  - {name: approved, what: {domains: [allowed.example]}, action: allow}
default: allow
`

// busyDesk is a desk of a door with a real policy, and queries for it: one that
// is refused, and one whose answer is in the cache.
func busyDesk(t testing.TB) (d *desk, blocked, cached *ingress.Query) {
	t.Helper()
	e := engine(t, deskPolicy)
	server, err := New(Config{
		Clients: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Upstreams: []string{"127.0.0.1:9"}, CacheBytes: 1 << 20, TTL: 30 * time.Second,
	}, Dependencies{
		Decider: e, Prepare: e.Prepare,
		Identify: func(a netip.Addr, _ *Peer) policy.Subject {
			return e.Subject(policy.Identity{Addr: a, Source: "network"})
		},
		Record: func(*policy.Decision) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Shutdown(context.Background()) })
	m := withEDNS(query("www.allowed.example", dns.TypeA), 1232, false)
	for i := range 4 {
		r, _ := dns.NewRR(fmt.Sprintf("www.allowed.example. 300 IN A 192.0.2.%d", i))
		m.Answer = append(m.Answer, r)
	}
	wire, _ := dnswire.WireName("www.allowed.example")
	key := lookupKey{name: wire, qtype: dns.TypeA}
	answer, err := digest(m, key, ordinaryTTLs(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	server.lookups.cache.put(key.packed(), answer)
	ask := func(name string) *ingress.Query {
		packed, err := withEDNS(query(name, dns.TypeA), 1232, false).Pack()
		if err != nil {
			t.Fatal(err)
		}
		return &ingress.Query{Wire: packed, Client: netip.MustParseAddrPort("127.0.0.1:4000")}
	}
	return server.handler.newDesk(), ask("us04web.zoom.us"), ask("www.Allowed.example")
}

// A refusal and an answer from the cache cost no allocation: at hundreds of
// thousands a second the collector would be the busiest part of the door.
func TestDeskDoesNotAllocate(t *testing.T) {
	d, blocked, cached := busyDesk(t)
	buffer := make([]byte, 0, dnswire.UDPPayload)
	for name, q := range map[string]*ingress.Query{"blocked": blocked, "cached": cached} {
		answers := 0
		allocs := testing.AllocsPerRun(1000, func() {
			d.Begin()
			if reply, done := d.Try(q, buffer); done && reply != nil {
				answers++
			}
			d.End()
		})
		if allocs != 0 || answers != 1001 {
			t.Errorf("%s: %v allocations, %d answers", name, allocs, answers)
		}
	}
}

func BenchmarkDesk(b *testing.B) {
	d, blocked, cached := busyDesk(b)
	buffer := make([]byte, 0, dnswire.UDPPayload)
	for name, q := range map[string]*ingress.Query{"blocked": blocked, "cached": cached} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if n%32 == 0 { // as an ingress reads them
					d.End()
					d.Begin()
				}
				if _, done := d.Try(q, buffer); !done {
					b.Fatal("not answered")
				}
			}
		})
	}
}
