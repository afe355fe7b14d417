package policy_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// randomPolicy writes a policy whose rules combine every kind of selector, so
// that the tables can be held against a plain reading of the document.
func randomPolicy(rng *rand.Rand) string {
	var b strings.Builder
	b.WriteString("version: 1\ntimezone: Europe/Berlin\nlists: {one: {file: one}, two: {file: two}, three: {file: three}}\ngroups:\n")
	for g := range 6 {
		fmt.Fprintf(&b, "  g%d: {networks: [10.%d.0.0/%d], users: [u%d]}\n", g, g*16, 12+rng.IntN(4), g)
	}
	b.WriteString("  nest: {groups: [g0, g1]}\nrules:\n")
	// Often more than 64 rules: sets then have several words, and most rules
	// must not match, or the first word would decide everything.
	quiet := []string{"monitor"}
	for r := range 20 + rng.IntN(150) {
		actions := []string{"block", "allow", "warn", "monitor"}
		if rng.IntN(3) > 0 {
			actions = quiet
		}
		fmt.Fprintf(&b, "  - name: r%d\n    action: %s\n", r, pick(rng, actions...))
		fmt.Fprintf(&b, "    who: {%s}\n", pick(rng, "groups: [g1]", "groups: [nest]", "users: [u2, u3]", "networks: [10.32.0.0/16]",
			"groups: [unidentified]", "groups: [g0, g2], except: {users: [u1]}", "except: {groups: [g3]}"))
		fmt.Fprintf(&b, "    what: {%s}\n", pick(rng, fmt.Sprintf("domains: [r%d.example]", r), "apps: [zoom]", "apps: [webex, msteams]", "categories: [bypass]", "domains: [a.example]",
			"domains: [\"=b.example\", \"*.c.example\"]", "networks: [3.7.0.0/16]", "categories: [conferencing], except: {apps: [zoom]}",
			"domains: [a.example], ports: [443]", "domains: [example], except: {domains: [x.a.example]}",
			"lists: [one]", "lists: [two, three]", "domains: [test], except: {lists: [one]}", `domains: ["/^[xyz]\\./"]`))
		if rng.IntN(3) == 0 {
			fmt.Fprintf(&b, "    when: {%s}\n", pick(rng, "from: 2020-03-28", "until: 2020-03-28", "hours: [\"Mon-Fri 09:00-17:00\"]", "hours: [\"22:00-06:00\"]"))
		}
		if rng.IntN(5) == 0 {
			fmt.Fprintf(&b, "    doors: [%s]\n", pick(rng, "dns", "proxy"))
		}
		if rng.IntN(6) == 0 {
			b.WriteString("    enforcement: report-only\n")
		}
		if rng.IntN(8) == 0 {
			b.WriteString("    strip_h3: true\n")
		}
	}
	fmt.Fprintf(&b, "default: %s\n", pick(rng, "allow", "block"))
	return b.String()
}

// propertyLists are the lists that random policies name.
func propertyLists() map[string][]byte {
	return map[string][]byte{
		"one":   []byte("plain.test\n198.51.100.0/24\n"),
		"two":   []byte("||c.example^\n@@||z.c.example^\n||y.b.example^\n"),
		"three": []byte("=a.example\n*.webex.com\nr70.example\n"),
	}
}

func compileRandom(t *testing.T, text string) *policy.Program {
	t.Helper()
	return compileFiles(t, []policy.File{{Name: "policy.yaml", Data: []byte(text)}}, propertyLists())
}

func pick(rng *rand.Rand, from ...string) string { return from[rng.IntN(len(from))] }

var propertyHosts = []string{"zoom.us", "us04web.zoom.us", "webex.com", "teams.microsoft.com", "ocsp.digicert.com", "dns.google",
	"a.example", "x.a.example", "b.example", "y.b.example", "c.example", "z.c.example", "plain.test", "3.7.35.1", "198.51.100.1", "meet.jit.si", "eu.webex.com", "r70.example", "r130.example"}

func randomRequest(rng *rand.Rand, p *policy.Program) policy.Request {
	id := policy.Identity{Addr: netip.AddrFrom4([4]byte{10, byte(rng.IntN(128)), byte(rng.IntN(4)), 7})}
	if rng.IntN(3) == 0 {
		id.User = fmt.Sprintf("u%d", rng.IntN(8))
	}
	r := policy.Request{
		Subject: p.Subject(id),
		Door:    policy.Doors()[rng.IntN(2)],
		At:      time.Date(2020, 3, 27, 0, 0, 0, 0, time.UTC).Add(time.Duration(rng.IntN(72*3600)) * time.Second),
		Host:    randomHost(rng),
	}
	if r.Door == policy.DoorProxy {
		r.Port = []uint16{80, 443, 8443}[rng.IntN(3)]
	}
	for range rng.IntN(3) {
		r.Derived = append(r.Derived, randomHost(rng))
	}
	if rng.IntN(4) == 0 {
		r.Claimed = append(r.Claimed, randomHost(rng))
	}
	return r
}

func randomHost(rng *rand.Rand) policy.Host {
	h, err := policy.ParseHost(propertyHosts[rng.IntN(len(propertyHosts))])
	if err != nil {
		panic(err)
	}
	return h
}

// TestExplainAgreesWithDecide: whatever the policy and the request, the way
// that Explain tells ends where Decide ended.
func TestExplainAgreesWithDecide(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for range 40 {
		text := randomPolicy(rng)
		program := compileRandom(t, text)
		for range 250 {
			r := randomRequest(rng, program)
			verdict := program.Decide(&r)
			x := program.Explain(&r)
			if x.Rule != verdict.RuleName() || x.Action != verdict.Action.String() {
				t.Fatalf("decide: %s by %s, explain: %s by %s\n%+v\n%s", verdict.Action, verdict.RuleName(), x.Action, x.Rule, r, text)
			}
			checkTrace(t, fmt.Sprintf("%+v", r), &x)
		}
	}
}

// TestDoorsAgree: for the same facts and time, a policy without doors and
// ports says the same at both.
func TestDoorsAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for range 40 {
		text := randomPolicy(rng)
		var kept []string
		for line := range strings.Lines(text) {
			if !strings.Contains(line, "doors:") {
				kept = append(kept, strings.Replace(line, ", ports: [443]", "", 1))
			}
		}
		program := compileRandom(t, strings.Join(kept, ""))
		for range 250 {
			r := randomRequest(rng, program)
			r.Door = policy.DoorDNS
			dns := program.Decide(&r)
			r.Door = policy.DoorProxy
			proxy := program.Decide(&r)
			if describeAll(&dns) != describeAll(&proxy) {
				t.Fatalf("dns: %s\nproxy: %s\n%+v", describeAll(&dns), describeAll(&proxy), r)
			}
		}
	}
}

func describeAll(v *policy.Verdict) string { return fmt.Sprint(describe(v)) }

// TestEdgeIsNeverLate: between a decision and its NextEdge the verdict does
// not change, so that a TTL that ends there is never too long.
func TestEdgeIsNeverLate(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for range 20 {
		program := compileRandom(t, randomPolicy(rng))
		for range 100 {
			r := randomRequest(rng, program)
			now := program.Decide(&r)
			later := r
			for range 20 {
				span := 48 * time.Hour
				if !now.NextEdge.IsZero() {
					span = now.NextEdge.Sub(r.At)
				}
				later.At = r.At.Add(time.Duration(rng.Int64N(int64(span))))
				then := program.Decide(&later)
				if then.Action != now.Action || then.RuleName() != now.RuleName() {
					t.Fatalf("%s by %s at %s, %s by %s at %s, though the edge is %s", now.Action, now.RuleName(), r.At,
						then.Action, then.RuleName(), later.At, now.NextEdge)
				}
			}
		}
	}
}

// TestSubjectSurvivesSwap: a subject resolved by an old program is judged by
// the rules of the new one.
func TestSubjectSurvivesSwap(t *testing.T) {
	block := compileText(t, "version: 1\ngroups: {g: {networks: [10.0.0.0/8]}}\nrules: [{name: b, who: {groups: [g]}, what: {apps: [zoom]}, action: block}]\n", nil)
	allow := compileText(t, "version: 1\nrules: [{name: a, what: {apps: [zoom]}, action: allow}]\n", nil)
	engine := policy.NewEngine(block)
	r := policy.Request{
		Subject: engine.Subject(policy.Identity{Addr: netip.MustParseAddr("10.1.1.1")}),
		Door:    policy.DoorDNS, At: benchTime(), Host: mustHost(t, "zoom.us"),
	}
	if v := engine.Decide(&r); v.Action != policy.ActionBlock {
		t.Fatalf("before: %s", v.Action)
	}
	if old := engine.Swap(allow); old != block {
		t.Error("Swap did not return the old program")
	}
	if v := engine.Decide(&r); v.RuleName() != "a" {
		t.Fatalf("after: %s by %s", v.Action, v.RuleName())
	}
	engine.Swap(block)
	if v := engine.Decide(&r); v.Action != policy.ActionBlock {
		t.Fatalf("back: %s", v.Action)
	}
}

// TestConcurrentDecisions: epochs and memos are shared by every goroutine.
func TestConcurrentDecisions(t *testing.T) {
	program := compileRandom(t, randomPolicy(rand.New(rand.NewPCG(13, 14))))
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(worker), 1))
			for range 500 {
				r := randomRequest(rng, program)
				first, again := program.Decide(&r), program.Decide(&r)
				if describeAll(&first) != describeAll(&again) {
					t.Errorf("the same request got two verdicts: %+v", r)
				}
			}
		})
	}
	wg.Wait()
}
