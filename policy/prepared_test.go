package policy_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// TestMootFactsChangeNothing holds the mask test of prepared facts against a
// decision that judges them.
func TestMootFactsChangeNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	moot, judged := 0, 0
	for range 60 {
		p := compileRandom(t, randomPolicy(rng))
		for range 200 {
			r := randomRequest(rng, p)
			r.Door, r.Claimed, r.Derived = policy.DoorDNS, nil, nil
			alone := p.Decide(&r)
			if alone.Action.Refuses() {
				continue
			}
			for range 1 + rng.IntN(3) {
				r.Derived = append(r.Derived, randomHost(rng))
			}
			facts := p.Prepare(r.Derived)
			if !facts.Ready(&alone) {
				t.Fatal("facts are not ready for the program that prepared them")
			}
			if !facts.Moot(&r.Subject, &alone) {
				judged++
				continue
			}
			moot++
			// Now, and at any time until the verdict may change by itself.
			for r.At.Before(alone.NextEdge) || alone.NextEdge.IsZero() {
				together := p.Decide(&r)
				together.NeedsUser, together.NextEdge = alone.NeedsUser, alone.NextEdge
				if together != alone {
					t.Fatalf("facts %v of %v for %v are said to be moot, and change\n%+v\nto\n%+v", r.Derived, r.Host, r.Subject.Identity, alone, together)
				}
				if r.At = r.At.Add(5 * time.Hour); r.At.Year() > 2020 || r.At.Month() > 4 {
					break
				}
			}
		}
	}
	if moot < 100 || judged < 100 {
		t.Errorf("%d moot and %d judged: the test does not see both", moot, judged)
	}
}

func TestFactsOfAnotherProgramAreNotReady(t *testing.T) {
	text := "version: 1\nrules:\n  - {name: ban, what: {apps: [zoom]}, action: block}\ndefault: allow\n"
	one, two := compileRandom(t, text), compileRandom(t, text)
	host, _ := policy.ParseHost("vanity.example")
	target, _ := policy.ParseHost("zoom.us")
	facts := one.Prepare([]policy.Host{target})
	r := policy.Request{Door: policy.DoorDNS, Host: host, Subject: two.Subject(policy.Identity{})}
	v := two.Decide(&r)
	if facts.Ready(&v) || (*policy.Facts)(nil).Ready(&v) {
		t.Error("facts of another program pass for ready")
	}
	if facts = two.Prepare([]policy.Host{target}); !facts.Ready(&v) || facts.Moot(&r.Subject, &v) {
		t.Error("a name under the ban is said to be moot")
	}
	if allocs := testing.AllocsPerRun(100, func() { facts.Moot(&r.Subject, &v) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestJudged(t *testing.T) {
	p := compileRandom(t, `
version: 1
groups: {staff: {networks: [10.0.0.0/8]}}
rules:
  - {name: everything, who: {networks: [0.0.0.0/0]}, action: monitor}
  - {name: ban, who: {groups: [staff]}, what: {apps: [zoom]}, action: block, doors: [proxy]}
  - {name: approved, what: {apps: [msteams]}, action: allow, strip_h3: true}
  - {name: later, what: {domains: [later.example]}, action: block, when: {from: 2199-01-01}}
  - {name: ports, what: {domains: [ports.example], ports: [8443], except: {domains: [not.ports.example]}}, action: block}
default: allow
`)
	for _, c := range []struct {
		client, host    string
		judged, stripH3 bool
	}{
		{"10.1.1.1", "us04web.zoom.us", true, false},   // by a rule of the other door
		{"192.0.2.1", "us04web.zoom.us", false, false}, // not for this client
		{"192.0.2.1", "teams.microsoft.com", true, true},
		{"192.0.2.1", "later.example", true, false},
		{"192.0.2.1", "a.ports.example", true, false},
		{"192.0.2.1", "not.ports.example", false, false},
		{"10.1.1.1", "plain.example", false, false},
	} {
		host, err := policy.ParseHost(c.host)
		if err != nil {
			t.Fatal(err)
		}
		v := p.Decide(&policy.Request{Door: policy.DoorDNS, Host: host, Subject: p.Subject(policy.Identity{Addr: netip.MustParseAddr(c.client)})})
		if v.Judged != c.judged || v.StripH3 != c.stripH3 {
			t.Errorf("%s for %s: judged %v, strip h3 %v; want %v, %v", c.host, c.client, v.Judged, v.StripH3, c.judged, c.stripH3)
		}
	}
}
