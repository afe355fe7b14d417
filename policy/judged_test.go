package policy_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/sallyport/sallyport/policy"
)

// judgedPolicy names destinations in every way that a single decision of the
// DNS door does not show.
const judgedPolicy = `
version: 1
groups: {staff: {networks: [10.0.0.0/8]}, sales: {users: [sam], directory: [Sales]}}
rules:
  - {name: everything, who: {networks: [0.0.0.0/0]}, action: monitor}
  - {name: ban, who: {groups: [staff]}, what: {apps: [zoom]}, action: block, doors: [proxy]}
  - {name: approved, what: {apps: [msteams]}, action: allow, strip_h3: true}
  - {name: later, what: {domains: [later.example]}, action: block, when: {from: 2199-01-01}}
  - {name: ports, what: {domains: [ports.example], ports: [8443], except: {domains: [not.ports.example]}}, action: block}
  - {name: person, who: {users: [mallory]}, what: {domains: [person.example]}, action: block, strip_h3: true}
  - {name: group, who: {groups: [sales]}, what: {domains: [group.example]}, action: block}
  - {name: nobody, who: {groups: [unidentified]}, what: {domains: [nobody.example]}, action: block}
  - {name: but, who: {except: {users: [mallory]}}, what: {domains: [but.example]}, action: block}
  - {name: device, who: {devices: [laptop]}, what: {domains: [device.example]}, action: block}
default: allow
`

func TestJudged(t *testing.T) {
	p := compileRandom(t, judgedPolicy)
	staff, guest := policy.Identity{Addr: netip.MustParseAddr("10.1.1.1")}, policy.Identity{Addr: netip.MustParseAddr("192.0.2.1")}
	sam, mallory := guest, guest
	sam.User, mallory.User = "sam", "mallory"
	for _, c := range []struct {
		client          policy.Identity
		host            string
		judged, stripH3 bool
	}{
		{staff, "us04web.zoom.us", true, false},  // by a rule of the other door
		{guest, "us04web.zoom.us", false, false}, // not for this client
		{guest, "teams.microsoft.com", true, true},
		{guest, "later.example", true, false},
		{guest, "a.ports.example", true, false},
		{guest, "not.ports.example", false, false},
		{staff, "plain.example", false, false},

		{guest, "person.example", true, true}, // may turn out to be mallory
		{staff, "person.example", true, true},
		{mallory, "person.example", true, true},
		{sam, "person.example", false, false}, // and this one does not
		{guest, "group.example", true, false},
		{sam, "group.example", true, false},
		{mallory, "group.example", false, false},
		{guest, "nobody.example", true, false}, // is nobody as long as nobody signs in
		{sam, "nobody.example", false, false},
		{guest, "but.example", true, false},
		{mallory, "but.example", false, false},
		{guest, "device.example", false, false}, // which no sign-in brings
	} {
		// By its own name, and by a name of its owner's choice that leads there.
		v := decideAtDNS(t, p, c.client, c.host)
		if v.Judged != c.judged || v.StripH3 != c.stripH3 {
			t.Errorf("%s for %+v: judged %v, strip h3 %v; want %v, %v", c.host, c.client, v.Judged, v.StripH3, c.judged, c.stripH3)
		}
		vanity := decideAtDNS(t, p, c.client, "vanity.test")
		subject := p.Subject(c.client)
		facts := p.Prepare([]policy.Host{mustHost(t, "nowhere.test"), mustHost(t, c.host), mustHost(t, "192.0.2.200")})
		if judged, stripH3 := facts.Judged(&subject, &vanity); judged != c.judged || stripH3 != c.stripH3 {
			t.Errorf("an alias of %s for %+v: judged %v, strip h3 %v; want %v, %v", c.host, c.client, judged, stripH3, c.judged, c.stripH3)
		}
		if judged, stripH3 := (*policy.Facts)(nil).Judged(&subject, &v); judged != v.Judged || stripH3 != v.StripH3 {
			t.Errorf("%s without facts: judged %v, strip h3 %v; want %v, %v", c.host, judged, stripH3, v.Judged, v.StripH3)
		}
	}
}

func decideAtDNS(t *testing.T, p *policy.Program, client policy.Identity, host string) policy.Verdict {
	t.Helper()
	return p.Decide(&policy.Request{Door: policy.DoorDNS, Host: mustHost(t, host), Subject: p.Subject(client)})
}

// TestJudgedOfAnotherProgram: what cannot be told counts as judged.
func TestJudgedOfAnotherProgram(t *testing.T) {
	one, two := compileRandom(t, judgedPolicy), compileRandom(t, judgedPolicy)
	host := mustHost(t, "plain.example")
	v := decideAtDNS(t, one, policy.Identity{}, "plain.example")
	own, foreign := one.Subject(policy.Identity{}), two.Subject(policy.Identity{})
	for name, c := range map[string]struct {
		facts   *policy.Facts
		subject *policy.Subject
		want    bool
	}{
		"all of one":       {one.Prepare([]policy.Host{host}), &own, false},
		"facts of another": {two.Prepare([]policy.Host{host}), &own, true},
		"another subject":  {one.Prepare([]policy.Host{host}), &foreign, true},
		"none resolved it": {one.Prepare([]policy.Host{host}), &policy.Subject{}, true},
	} {
		if judged, stripH3 := c.facts.Judged(c.subject, &v); judged != c.want || stripH3 != c.want {
			t.Errorf("%s: judged %v, strip h3 %v; want both %v", name, judged, stripH3, c.want)
		}
	}
}

// TestJudgedAgreesWithPlainReading holds Judged and StripH3, of a host and of
// facts, against a reading of the document.
func TestJudgedAgreesWithPlainReading(t *testing.T) {
	rng := rand.New(rand.NewPCG(17, 18))
	seen := map[[2]bool]int{}
	for range 20 {
		text := randomPolicy(rng)
		p := compileRandom(t, text)
		o := &oracle{doc: p.Document(), apps: p.Apps()}
		for range 100 {
			r := randomRequest(rng, p)
			r.Door, r.Port, r.Claimed = policy.DoorDNS, 0, nil
			judged, stripH3 := o.judged(&r.Subject.Identity, r.Host)
			alone := r
			alone.Derived = nil
			v := p.Decide(&alone)
			if v.Judged != judged || v.StripH3 != stripH3 {
				t.Fatalf("%v for %+v: judged %v, strip h3 %v, plain reading: %v, %v\n%s", r.Host, r.Subject.Identity, v.Judged, v.StripH3, judged, stripH3, text)
			}
			for _, fact := range r.Derived {
				j, s := o.judged(&r.Subject.Identity, fact)
				judged, stripH3 = judged || j, stripH3 || s
			}
			if j, s := p.Prepare(r.Derived).Judged(&r.Subject, &v); j != judged || s != stripH3 {
				t.Fatalf("%v with %v for %+v: judged %v, strip h3 %v, plain reading: %v, %v\n%s", r.Host, r.Derived, r.Subject.Identity, j, s, judged, stripH3, text)
			}
			seen[[2]bool{judged, stripH3}]++
		}
	}
	for _, kind := range [][2]bool{{false, false}, {true, false}, {true, true}} {
		if seen[kind] < 50 {
			t.Errorf("judged %v, strip h3 %v was seen %d times", kind[0], kind[1], seen[kind])
		}
	}
}

// judged reads whether a rule names the host for whoever the client may be: as
// it is, or where nobody has signed in, as any user at all.
func (o *oracle) judged(id *policy.Identity, h policy.Host) (judged, stripH3 bool) {
	may := []policy.Identity{*id}
	if id.User == "" {
		for _, user := range []string{"u0", "u1", "u2", "u3", "u4", "u5", "somebody"} {
			as := *id
			as.User = user
			may = append(may, as)
		}
	}
	for _, rule := range slices.Concat(o.doc.Exceptions, o.doc.Rules) {
		what := &rule.What
		if isEverything(what) || !o.selects(what, h, policy.Host{}) || what.Except != nil && o.selects(what.Except, h, policy.Host{}) {
			continue
		}
		if slices.ContainsFunc(may, func(id policy.Identity) bool { return o.isWho(&id, &rule.Who) }) {
			judged, stripH3 = true, stripH3 || rule.StripH3
		}
	}
	return judged, stripH3
}

// TestWhatDecidesElsewhereIsJudged: whatever the proxy door says of a name or
// of where it leads, by a rule, at any hour, on any port, to whoever the client
// turns out to be, the DNS door has called it judged before.
func TestWhatDecidesElsewhereIsJudged(t *testing.T) {
	rng := rand.New(rand.NewPCG(19, 20))
	ruled := 0
	for range 40 {
		p := compileRandom(t, randomPolicy(rng))
		for range 100 {
			r := randomRequest(rng, p)
			r.Door, r.Port, r.Claimed = policy.DoorDNS, 0, nil
			v := p.Decide(&r)
			judged, _ := p.Prepare(r.Derived).Judged(&r.Subject, &v)
			later := randomRequest(rng, p)
			later.Door, later.Port = policy.DoorProxy, 443
			later.Host, later.Derived, later.Claimed = r.Host, r.Derived, r.Derived // the name may be hidden, so its alias is claimed
			id := r.Subject.Identity
			if id.User == "" {
				id.User = later.Subject.User
			}
			later.Subject = p.Subject(id)
			then := p.Decide(&later)
			if then.RuleName() == policy.DefaultRule {
				continue
			}
			if ruled++; !judged {
				t.Fatalf("%v with %v is not judged for %+v, yet %s decides for %+v", r.Host, r.Derived, r.Subject.Identity, then.RuleName(), id)
			}
		}
	}
	if ruled < 500 {
		t.Errorf("a rule decides %d times: too few", ruled)
	}
}

func TestJudgedDoesNotAllocate(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 22))
	for range 5 {
		p := compileRandom(t, randomPolicy(rng))
		r := policy.Request{Door: policy.DoorDNS, Host: mustHost(t, "vanity.test"), Subject: p.Subject(policy.Identity{Addr: netip.MustParseAddr("10.1.1.1")})}
		facts := p.Prepare([]policy.Host{mustHost(t, "eu.webex.com"), mustHost(t, "x.a.example")})
		v := p.Decide(&r)
		if judged, _ := facts.Judged(&r.Subject, &v); !judged {
			t.Error("nothing is judged: the sets are not walked")
		}
		if n := testing.AllocsPerRun(100, func() {
			p.Decide(&r)
			facts.Judged(&r.Subject, &v)
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}
