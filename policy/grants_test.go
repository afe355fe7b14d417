package policy_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// heldGrants are grants with their ends.
type heldGrants map[policy.GrantKey]time.Time

// Holds reports whether a key is among them.
func (h heldGrants) Holds(key policy.GrantKey, at time.Time) (time.Time, bool) {
	until, ok := h[key]
	return until, ok && at.Before(until)
}

// engineWith decides with a program and grants.
func engineWith(p *policy.Program, grants heldGrants) *policy.Engine {
	e := policy.NewEngine(p)
	e.SetGrants(grants)
	return e
}

// coachPolicy warns by app, by category, by list and by name, and has what must
// not be opened by a grant around it.
const coachPolicy = `
version: 1
default: allow
lists: {one: {file: one}, two: {file: two}, three: {file: three}}
groups: {staff: {networks: [10.0.0.0/8], users: [bob]}}
rules:
  - {name: memo, who: {groups: [staff]}, what: {apps: [zoom]}, action: block}
  - {name: signed-in, who: {users: [alice]}, what: {apps: [jitsi]}, action: allow}
  - {name: rehearsal, what: {apps: [whereby]}, action: warn, enforcement: report-only}
  - {name: coach, what: {categories: [conferencing]}, action: warn, when: {until: 2020-04-01T18:00}}
  - {name: names, what: {domains: [a.example, b.example]}, action: warn, justification: required}
  - {name: listed, what: {lists: [one]}, action: warn, grant: 1h}
  - {name: lockdown, what: {domains: [c.example]}, action: block}
`

func TestGrants(t *testing.T) {
	p := compileRandom(t, coachPolicy)
	at := time.Date(2020, 4, 1, 12, 0, 0, 0, time.UTC)
	until := at.Add(time.Hour)
	desk := policy.Holder{Client: netip.MustParseAddr("10.1.1.1")}
	guest := policy.Holder{Client: netip.MustParseAddr("192.0.2.1")}
	bob := policy.Holder{User: "bob"}
	for _, test := range []struct {
		name     string
		grants   []policy.GrantKey
		identity policy.Identity
		host     string
		derived  []string
		claimed  []string
		want     string // action, rule, and "granted" where that is so
		edge     time.Time
	}{
		{name: "none", identity: policy.Identity{Addr: desk.Client}, host: "meet.jit.si", want: "warn coach", edge: time.Date(2020, 4, 1, 18, 0, 0, 0, time.UTC)},
		{name: "held", grants: []policy.GrantKey{{desk, "coach", "jitsi"}}, identity: policy.Identity{Addr: desk.Client}, host: "meet.jit.si", want: "allow coach granted", edge: until},
		{name: "held, mapped address", grants: []policy.GrantKey{{desk, "coach", "jitsi"}}, identity: policy.Identity{Addr: netip.MustParseAddr("::ffff:10.1.1.1")}, host: "meet.jit.si", want: "allow coach granted", edge: until},
		{name: "another client's", grants: []policy.GrantKey{{desk, "coach", "jitsi"}}, identity: policy.Identity{Addr: guest.Client}, host: "meet.jit.si", want: "warn coach"},
		{name: "of the user, wherever", grants: []policy.GrantKey{{bob, "coach", "jitsi"}}, identity: policy.Identity{Addr: guest.Client, User: "bob"}, host: "meet.jit.si", want: "allow coach granted", edge: until},
		{name: "of the address, with a user known", grants: []policy.GrantKey{{desk, "coach", "jitsi"}}, identity: policy.Identity{Addr: desk.Client, User: "bob"}, host: "meet.jit.si", want: "warn coach"},
		{name: "of nobody", grants: []policy.GrantKey{{policy.Holder{}, "coach", "jitsi"}}, identity: policy.Identity{}, host: "meet.jit.si", want: "warn coach"},
		{name: "for another app", grants: []policy.GrantKey{{desk, "coach", "jitsi"}}, identity: policy.Identity{Addr: desk.Client}, host: "whereby.com", want: "warn coach"},
		{name: "of another rule", grants: []policy.GrantKey{{desk, "names", "jitsi"}}, identity: policy.Identity{Addr: desk.Client}, host: "meet.jit.si", want: "warn coach"},
		{name: "never past a block", grants: []policy.GrantKey{{desk, "memo", "zoom"}, {desk, "coach", "zoom"}}, identity: policy.Identity{Addr: desk.Client}, host: "zoom.us", want: "block memo"},
		{name: "below a block that is for others", grants: []policy.GrantKey{{guest, "coach", "zoom"}}, identity: policy.Identity{Addr: guest.Client}, host: "zoom.us", want: "allow coach granted", edge: until},
		{name: "without an app", grants: []policy.GrantKey{{desk, "names", ""}}, identity: policy.Identity{Addr: desk.Client}, host: "x.a.example", want: "allow names granted", edge: until},
		{name: "without an app, all of the rule", grants: []policy.GrantKey{{desk, "names", ""}}, identity: policy.Identity{Addr: desk.Client}, host: "b.example", want: "allow names granted", edge: until},
		{name: "by list", grants: []policy.GrantKey{{desk, "listed", ""}}, identity: policy.Identity{Addr: desk.Client}, host: "plain.test", want: "allow listed granted", edge: until},

		{name: "leads into it", grants: []policy.GrantKey{{desk, "coach", "jitsi"}}, identity: policy.Identity{Addr: desk.Client}, host: "vanity.example", derived: []string{"meet.jit.si"}, want: "allow default granted", edge: until},
		{name: "leads into another too", grants: []policy.GrantKey{{desk, "coach", "jitsi"}}, identity: policy.Identity{Addr: desk.Client}, host: "vanity.example", derived: []string{"meet.jit.si", "whereby.com"}, want: "warn coach"},
		{name: "leads into a ban too", grants: []policy.GrantKey{{desk, "coach", "jitsi"}}, identity: policy.Identity{Addr: desk.Client}, host: "vanity.example", derived: []string{"meet.jit.si", "zoom.us"}, want: "block memo"},
		{name: "granted, and leads into a ban", grants: []policy.GrantKey{{desk, "names", ""}}, identity: policy.Identity{Addr: desk.Client}, host: "a.example", derived: []string{"zoom.us"}, want: "block memo"},
		{name: "granted, and leads into a later ban", grants: []policy.GrantKey{{desk, "names", ""}}, identity: policy.Identity{Addr: desk.Client}, host: "a.example", derived: []string{"c.example"}, want: "allow names granted", edge: until},

		{name: "claims another", grants: []policy.GrantKey{{desk, "coach", "jitsi"}}, identity: policy.Identity{Addr: desk.Client}, host: "meet.jit.si", claimed: []string{"whereby.com"}, want: "warn coach"},
		{name: "claims a banned one", grants: []policy.GrantKey{{desk, "coach", "jitsi"}}, identity: policy.Identity{Addr: desk.Client}, host: "meet.jit.si", claimed: []string{"zoom.us"}, want: "block memo"},
		{name: "claims it", grants: []policy.GrantKey{{desk, "coach", "jitsi"}}, identity: policy.Identity{Addr: desk.Client}, host: "plain.example", claimed: []string{"meet.jit.si"}, want: "allow default granted", edge: until},
		{name: "claims both", grants: []policy.GrantKey{{desk, "coach", "jitsi"}, {desk, "coach", "whereby"}}, identity: policy.Identity{Addr: desk.Client}, host: "meet.jit.si", claimed: []string{"whereby.com"}, want: "allow coach granted", edge: until},
	} {
		t.Run(test.name, func(t *testing.T) {
			grants := heldGrants{}
			for _, key := range test.grants {
				grants[key] = until
			}
			engine := engineWith(p, grants)
			r := policy.Request{Subject: engine.Subject(test.identity), Door: policy.DoorProxy, At: at, Port: 443, Host: mustHost(t, test.host)}
			for _, name := range test.derived {
				r.Derived = append(r.Derived, mustHost(t, name))
			}
			for _, name := range test.claimed {
				r.Claimed = append(r.Claimed, mustHost(t, name))
			}
			v := engine.Decide(&r)
			if got := describeGranted(&v); got != test.want {
				t.Fatalf("got %s, want %s", got, test.want)
			}
			if !test.edge.IsZero() && !v.NextEdge.Equal(test.edge) {
				t.Errorf("the next edge is %v, want %v", v.NextEdge, test.edge)
			}
			x := engine.Explain(&r)
			if got := describeGranted(&x.Verdict); got != test.want || x.Granted != v.Granted {
				t.Errorf("explained as %s, granted %v", got, x.Granted)
			}
			checkTrace(t, test.name, &x)
			r.At = until
			if v := engine.Decide(&r); v.Granted || len(test.grants) > 0 && strings.HasSuffix(test.want, "granted") && v.Action != policy.ActionWarn {
				t.Errorf("at the end: %s", describeGranted(&v))
			}
		})
	}
}

func describeGranted(v *policy.Verdict) string {
	text := v.Action.String() + " " + v.RuleName()
	if v.Granted {
		text += " granted"
	}
	return text
}

// TestGrantKey: what a refusal asks a grant for is what opens it.
func TestGrantKey(t *testing.T) {
	p := compileRandom(t, coachPolicy)
	at := time.Date(2020, 4, 1, 12, 0, 0, 0, time.UTC)
	grants := heldGrants{}
	engine := engineWith(p, grants)
	for _, id := range []policy.Identity{{Addr: netip.MustParseAddr("10.1.1.1")}, {User: "bob"}, {Addr: netip.MustParseAddr("fe80::1%eth0")}} {
		for _, name := range []string{"meet.jit.si", "a.example", "plain.test"} {
			r := policy.Request{Subject: engine.Subject(id), Door: policy.DoorDNS, At: at, Host: mustHost(t, name)}
			v := engine.Decide(&r)
			if v.Action != policy.ActionWarn {
				t.Fatalf("%s: %s", name, describeGranted(&v))
			}
			grants[v.GrantKey(&r.Subject)] = at.Add(time.Minute)
			if v = engine.Decide(&r); !v.Granted {
				t.Errorf("%s for %+v: %s", name, id, describeGranted(&v))
			}
		}
	}
	if len(grants) != 9 {
		t.Errorf("%d grants for 3 clients and 3 rules: %v", len(grants), grants)
	}
}

// TestGrantsEndWithThePolicy: an edit that takes the rule away, or makes it a
// ban, is past every grant.
func TestGrantsEndWithThePolicy(t *testing.T) {
	rule := func(name, action string) *policy.Program {
		return compileRandom(t, "version: 1\ndefault: block\nrules: [{name: "+name+", what: {apps: [jitsi]}, action: "+action+"}]\n")
	}
	engine := engineWith(rule("coach", "warn"), heldGrants{{Holder: policy.Holder{User: "bob"}, Rule: "coach", App: "jitsi"}: benchTime().Add(time.Hour)})
	r := policy.Request{Subject: engine.Subject(policy.Identity{User: "bob"}), Door: policy.DoorDNS, At: benchTime(), Host: mustHost(t, "meet.jit.si")}
	for _, step := range []struct{ name, action, want string }{
		{"coach", "warn", "allow coach granted"},
		{"coach", "block", "block coach"},
		{"other", "warn", "warn other"},
		{"coach", "warn", "allow coach granted"},
	} {
		engine.Swap(rule(step.name, step.action))
		if v := engine.Decide(&r); describeGranted(&v) != step.want {
			t.Errorf("%s %s: got %s, want %s", step.action, step.name, describeGranted(&v), step.want)
		}
	}
}

// TestGrantsAreExplained: who reads a trace learns what a grant lets pass, and
// until when.
func TestGrantsAreExplained(t *testing.T) {
	at := time.Date(2020, 4, 1, 12, 0, 0, 0, time.UTC)
	engine := engineWith(compileRandom(t, coachPolicy), heldGrants{{Holder: policy.Holder{User: "bob"}, Rule: "coach", App: "jitsi"}: at.Add(time.Hour)})
	step := func(host string, derived ...string) policy.Step {
		t.Helper()
		r := policy.Request{Subject: engine.Subject(policy.Identity{User: "bob"}), Door: policy.DoorDNS, At: at, Host: mustHost(t, host)}
		for _, name := range derived {
			r.Derived = append(r.Derived, mustHost(t, name))
		}
		x := engine.Explain(&r)
		i := slices.IndexFunc(x.Trace, func(s policy.Step) bool { return s.Rule == "coach" })
		if i < 0 {
			t.Fatalf("%s: coach was not read: %+v", host, x.Trace)
		}
		return x.Trace[i]
	}
	for _, test := range []struct {
		got           policy.Step
		matched       bool
		because, does string
	}{
		{step("meet.jit.si"), true, "meet.jit.si belongs to jitsi; granted until 2020-04-01T13:00:00Z", "warn (granted)"},
		{step("vanity.example", "meet.jit.si"), false, "meet.jit.si (which vanity.example leads to) belongs to jitsi; granted until 2020-04-01T13:00:00Z, which lets it pass", ""},
		{step("vanity.example", "meet.jit.si", "whereby.com"), true, "whereby.com (which vanity.example leads to) belongs to whereby", "warn"},
		{step("whereby.com"), true, "whereby.com belongs to whereby", "warn"},
	} {
		if test.got.Matched != test.matched || test.got.Because != test.because || test.got.Action != test.does {
			t.Errorf("got %+v, want %+v", test.got, test)
		}
	}
	if x := (&policy.Engine{}).Explain(&policy.Request{}); x.Action != "block" || x.Reason == "" || x.Trace == nil {
		t.Errorf("without a policy: %+v", x)
	}
}

// grantSome grants, more often than not, what refuses a request, and what
// refuses it then. Ends lie up to two days ahead.
func grantSome(rng *rand.Rand, engine *policy.Engine, grants heldGrants, r *policy.Request) {
	for range 3 {
		v := engine.Decide(r)
		if v.Action != policy.ActionWarn || rng.IntN(4) == 0 {
			return
		}
		grants[v.GrantKey(&r.Subject)] = r.At.Add(time.Duration(1+rng.IntN(48*3600)) * time.Second)
	}
}

// TestGrantsAgreeWithPlainReading holds an engine with grants against the
// oracle, and its explanations against both.
func TestGrantsAgreeWithPlainReading(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 24))
	granted, still := 0, 0
	for range 40 {
		text := randomPolicy(rng)
		program := compileRandom(t, text)
		grants := heldGrants{}
		engine := engineWith(program, grants)
		o := &oracle{doc: program.Document(), apps: program.Apps(), grants: grants}
		for range 250 {
			r := randomRequest(rng, program)
			grantSome(rng, engine, grants, &r)
			got := engine.Decide(&r)
			action, rule := o.decide(&r)
			if got.Action != action || got.RuleName() != rule {
				t.Fatalf("tables: %s, plain reading: %s by %s\n%+v\n%v\n%s", describeGranted(&got), action, rule, r, grants, text)
			}
			bare := program.Decide(&r)
			if got.Granted != (got.Action == policy.ActionAllow && bare.Action.Refuses()) {
				t.Fatalf("%s, and %s without grants\n%+v", describeGranted(&got), describeGranted(&bare), r)
			}
			if bare.Action != policy.ActionWarn && bare.Action != got.Action {
				t.Fatalf("grants make %s of %s", describeGranted(&got), describeGranted(&bare))
			}
			if len(r.Claimed) == 0 && (got.Judged != bare.Judged || got.StripH3 != bare.StripH3) {
				t.Fatalf("grants change what is judged: %+v, %+v", got, bare)
			}
			x := engine.Explain(&r)
			if x.Rule != got.RuleName() || x.Action != got.Action.String() || x.Granted != got.Granted {
				t.Fatalf("decide: %s, explain: %s by %s, granted %v\n%+v\n%s", describeGranted(&got), x.Action, x.Rule, x.Granted, r, text)
			}
			checkTrace(t, fmt.Sprintf("%+v", r), &x)
			switch {
			case got.Granted:
				granted++
			case got.Action == policy.ActionWarn:
				still++
			}
		}
	}
	if granted < 200 || still < 50 {
		t.Errorf("%d granted and %d warned: the test does not see all", granted, still)
	}
}

// lets is the oracle's reading of a grant.
func (o *oracle) lets(r *policy.Request, rule *policy.Rule, base, fact policy.Host) bool {
	if rule.Action != policy.ActionWarn {
		return false
	}
	key := policy.GrantKey{Rule: rule.Name, App: o.appOf(&rule.What, base, fact)}
	if key.User = r.Subject.User; key.User == "" {
		key.Client = r.Subject.Addr
	}
	_, ok := o.grants.Holds(key, r.At)
	return ok
}

// appOf is the first app that a rule selects the fact by, and else the first
// that has it.
func (o *oracle) appOf(what *policy.What, base, fact policy.Host) string {
	first := ""
	for _, app := range o.apps {
		if appSays(app, fact) != "core" || fact != base && appSays(app, base) == "shared" {
			continue
		}
		chosen := slices.ContainsFunc(what.Apps, func(r policy.Reference) bool { return r.Name == app.ID }) ||
			slices.ContainsFunc(what.Categories, func(r policy.Reference) bool {
				return app.Category == r.Name || strings.HasPrefix(app.Category, r.Name+"-")
			})
		if chosen {
			return app.ID
		}
		if first == "" {
			first = app.ID
		}
	}
	return first
}

// TestGrantsAtBothDoors: what is granted at one door is granted at the other.
func TestGrantsAtBothDoors(t *testing.T) {
	rng := rand.New(rand.NewPCG(25, 26))
	granted := 0
	for range 30 {
		var kept []string
		for line := range strings.Lines(randomPolicy(rng)) {
			if !strings.Contains(line, "doors:") {
				kept = append(kept, strings.Replace(line, ", ports: [443]", "", 1))
			}
		}
		program := compileRandom(t, strings.Join(kept, ""))
		grants := heldGrants{}
		engine := engineWith(program, grants)
		for range 200 {
			r := randomRequest(rng, program)
			grantSome(rng, engine, grants, &r)
			r.Door = policy.DoorDNS
			dns := engine.Decide(&r)
			r.Door = policy.DoorProxy
			proxy := engine.Decide(&r)
			if describeAll(&dns) != describeAll(&proxy) || dns.Granted != proxy.Granted {
				t.Fatalf("dns: %s\nproxy: %s\n%+v", describeAll(&dns), describeAll(&proxy), r)
			}
			if dns.Granted {
				granted++
			}
		}
	}
	if granted < 100 {
		t.Errorf("%d granted: too few", granted)
	}
}

// TestEdgeIsNeverLateWithGrants: between a decision and its edge, the end of no
// grant changes it either.
func TestEdgeIsNeverLateWithGrants(t *testing.T) {
	rng := rand.New(rand.NewPCG(27, 28))
	ended := 0
	for range 30 {
		program := compileRandom(t, randomPolicy(rng))
		grants := heldGrants{}
		engine := engineWith(program, grants)
		for range 100 {
			r := randomRequest(rng, program)
			grantSome(rng, engine, grants, &r)
			now := engine.Decide(&r)
			later := r
			for range 20 {
				span := 49 * time.Hour
				if !now.NextEdge.IsZero() {
					span = now.NextEdge.Sub(r.At)
				}
				later.At = r.At.Add(time.Duration(rng.Int64N(int64(span))))
				then := engine.Decide(&later)
				if then.Action != now.Action || then.RuleName() != now.RuleName() {
					t.Fatalf("%s at %s, %s at %s, though the edge is %s", describeGranted(&now), r.At, describeGranted(&then), later.At, now.NextEdge)
				}
			}
			if now.Granted {
				later.At = now.NextEdge
				if then := engine.Decide(&later); then.Action.Refuses() {
					ended++
				}
			}
		}
	}
	if ended < 50 {
		t.Errorf("%d grants ended: too few", ended)
	}
}

// TestMootFactsOfGrantedNames holds prepared facts, as a cache keeps them,
// against a decision that judges them, for names that a grant opens.
func TestMootFactsOfGrantedNames(t *testing.T) {
	rng := rand.New(rand.NewPCG(29, 30))
	moot, shut, passed := 0, 0, 0
	for range 60 {
		p := compileRandom(t, randomPolicy(rng))
		grants := heldGrants{}
		engine := engineWith(p, grants)
		for range 200 {
			r := randomRequest(rng, p)
			r.Door, r.Port, r.Claimed, r.Derived = policy.DoorDNS, 0, nil, nil
			for range 1 + rng.IntN(2) {
				r.Derived = append(r.Derived, randomHost(rng))
			}
			grantSome(rng, engine, grants, &r)
			bare := r
			bare.Derived = nil
			alone, together := engine.Decide(&bare), engine.Decide(&r)
			if alone.Action.Refuses() {
				if together.Action != alone.Action {
					t.Fatalf("%s alone, %s together", describeGranted(&alone), describeGranted(&together))
				}
				continue
			}
			switch facts := engine.Prepare(r.Derived); {
			case facts.Moot(&r.Subject, &alone):
				if together.Action.Refuses() {
					t.Fatalf("facts %v of %v are moot, and %s", r.Derived, r.Host, describeGranted(&together))
				}
				if alone.Granted {
					moot++
				}
			case together.Action.Refuses():
				shut++
			case together.Granted && !alone.Granted:
				passed++
			}
		}
	}
	if moot < 20 || shut < 100 || passed < 20 {
		t.Errorf("%d moot and granted, %d shut, %d let pass: the test does not see all", moot, shut, passed)
	}
}

func TestGrantsDoNotAllocate(t *testing.T) {
	p := compileRandom(t, coachPolicy)
	at := time.Date(2020, 4, 1, 12, 0, 0, 0, time.UTC)
	engine := engineWith(p, heldGrants{{Holder: policy.Holder{User: "bob"}, Rule: "coach", App: "jitsi"}: at.Add(time.Hour)})
	for _, name := range []string{"meet.jit.si", "whereby.com"} {
		r := &policy.Request{Subject: engine.Subject(policy.Identity{User: "bob"}), Door: policy.DoorDNS, At: at, Host: mustHost(t, name)}
		if n := testing.AllocsPerRun(100, func() { engine.Decide(r) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// BenchmarkWarned is a refusal that asks for a grant, and a grant that is held.
func BenchmarkWarned(b *testing.B) {
	p := compileText(b, tenRules, nil)
	engine := engineWith(p, heldGrants{{Holder: policy.Holder{User: "bob"}, Rule: "coach", App: "jitsi"}: benchTime().Add(time.Hour)})
	for _, bc := range []struct{ name, user string }{{"refused", "alice"}, {"granted", "bob"}} {
		r := &policy.Request{Subject: engine.Subject(policy.Identity{User: bc.user}), Door: policy.DoorDNS, At: benchTime(), Host: mustHost(b, "meet.jit.si")}
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = engine.Decide(r)
			}
		})
	}
}
