package policy_test

import (
	"math/rand/v2"
	"testing"

	"github.com/sallyport/sallyport/policy"
)

// TestMootFactsChangeNothing holds the mask test of prepared facts against a
// decision that judges them.
func TestMootFactsChangeNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	moot, judged, edges := 0, 0, 0
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
			edges += checkMoot(t, p, &r, &alone)
		}
	}
	if moot < 100 || judged < 100 || edges < 20 {
		t.Errorf("%d moot, %d judged and %d edges of moot facts: the test does not see all", moot, judged, edges)
	}
}

// checkMoot judges a request with its facts now, and at every instant up to the
// edge of the verdict without them at which a schedule could change what they
// say. None of them may change anything: whoever holds that verdict keeps the
// answer until its own edge. It counts the edges that only the facts have.
func checkMoot(t *testing.T, p *policy.Program, r *policy.Request, alone *policy.Verdict) (edges int) {
	t.Helper()
	at := *r
	for ; edges < 40; edges++ {
		together := p.Decide(&at)
		edge := together.NextEdge
		if !alone.NextEdge.IsZero() && (edge.IsZero() || edge.After(alone.NextEdge)) {
			t.Fatalf("facts %v of %v move the edge from %v to %v", r.Derived, r.Host, alone.NextEdge, edge)
		}
		same := *alone
		same.NeedsUser, same.NextEdge = together.NeedsUser, edge
		if together != same {
			t.Fatalf("facts %v of %v for %v are said to be moot, and at %v, before %v, change\n%+v\nto\n%+v",
				r.Derived, r.Host, r.Subject.Identity, at.At, alone.NextEdge, *alone, together)
		}
		if edge.IsZero() || edge.Equal(alone.NextEdge) {
			break
		}
		if !edge.After(at.At) {
			t.Fatalf("at %v the next edge is %v", at.At, edge)
		}
		at.At = edge
	}
	return edges
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
