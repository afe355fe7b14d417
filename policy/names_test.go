package policy_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/policy"
)

// scopePolicy has every kind of who, and of what.
const scopePolicy = `
version: 1
lists: {one: {file: one}, two: {file: two}}
groups: {staff: {networks: [10.0.0.0/8]}, lab: {networks: [192.0.2.0/24]}, sales: {users: [sam]}}
rules:
  - {name: approved, who: {groups: [staff]}, what: {domains: [good.example]}, action: allow}
  - {name: ban, who: {groups: [staff]}, what: {domains: [ban.example, =one.ban2.example, "*.below.example"], except: {domains: [free.ban.example]}}, action: block}
  - {name: coach, what: {domains: [coach.example]}, action: warn}
  - {name: watch, who: {groups: [staff]}, what: {domains: [watch.example]}, action: monitor}
  - {name: names-only, what: {domains: [dns.example]}, action: block, doors: [dns]}
  - {name: laboratory, who: {groups: [lab]}, what: {domains: [lab.example], networks: [198.51.100.0/24]}, action: block}
  - {name: selling, who: {groups: [sales]}, what: {domains: [sales.example]}, action: block}
  - {name: not-sam, who: {except: {users: [sam]}}, what: {domains: [butsam.example]}, action: block}
  - {name: nobody, who: {groups: [unidentified]}, what: {domains: [nobody.example]}, action: block}
  - {name: laptop, who: {devices: [laptop]}, what: {domains: [device.example]}, action: block}
  - {name: rehearsed, who: {groups: [staff]}, what: {domains: [rehearsed.example]}, action: block, enforcement: report-only}
  - {name: ports, what: {ports: [8443, udp/9000-9010]}, action: block}
default: allow
`

func TestScopeNamesWhatItsRulesName(t *testing.T) {
	p := compileRandom(t, scopePolicy)
	everybody := "butsam.example coach.example"
	for _, c := range []struct {
		name, addr, user string
		signIn           bool
		now, later       string
		addrs            int
	}{
		{
			"staff", "10.1.1.1", "", true,
			"ban.example *.below.example butsam.example coach.example !free.ban.example =one.ban2.example rehearsed.example watch.example",
			"sales.example", 0,
		},
		{
			"staff who cannot sign in", "10.1.1.1", "", false,
			"ban.example *.below.example butsam.example coach.example !free.ban.example =one.ban2.example rehearsed.example watch.example",
			"", 0,
		},
		{"laboratory", "192.0.2.9", "", true, "butsam.example coach.example lab.example", "sales.example", 1},
		{"nobody", "203.0.113.1", "", true, everybody + " nobody.example", "sales.example", 0},
		{"sam", "203.0.113.1", "sam", true, "coach.example sales.example", "", 0},
		{"somebody else", "203.0.113.1", "kim", true, everybody, "", 0},
	} {
		subject := p.Subject(policy.Identity{Addr: netip.MustParseAddr(c.addr), User: c.user})
		scope := p.Scope(&subject, policy.DoorProxy, c.signIn)
		now, later := scope.Named(1000), scope.NamedLater(1000)
		if got := inWords(now); got != c.now {
			t.Errorf("%s: names %q, want %q", c.name, got, c.now)
		}
		if got := inWords(later); got != c.later {
			t.Errorf("%s, later: names %q, want %q", c.name, got, c.later)
		}
		if len(now.Addrs) != c.addrs {
			t.Errorf("%s: addresses %v, want %d ranges", c.name, now.Addrs, c.addrs)
		}
		if len(now.Ports) != 2 || now.Ports[0].From != 8443 || len(later.Ports) != 0 || now.Whole != policy.WholeNot || later.Whole != policy.WholeNot {
			t.Errorf("%s: %+v, later %+v", c.name, now, later)
		}
	}
	whole := p.WholeScope(policy.DoorProxy).Named(1000)
	for _, name := range []string{"sales.example", "lab.example", "device.example"} {
		if !strings.Contains(inWords(whole), name) {
			t.Errorf("the scope of everybody lacks %s: %q", name, inWords(whole))
		}
	}
	if strings.Contains(inWords(whole), "dns.example") || strings.Contains(inWords(whole), "good.example") {
		t.Errorf("the scope of everybody has rules of another door, or that allow: %q", inWords(whole))
	}
}

// inWords writes names as a policy would, with ! for what is not named.
func inWords(n policy.Named) string {
	var all []string
	for _, one := range n.Names {
		prefix := map[[2]bool]string{{true, true}: "", {true, false}: "=", {false, true}: "*.", {false, false}: "!"}
		all = append(all, prefix[[2]bool{one.Itself, one.Under}]+one.Name)
	}
	slices.SortFunc(all, func(a, b string) int {
		return strings.Compare(strings.TrimLeft(a, "=*.!"), strings.TrimLeft(b, "=*.!"))
	})
	return strings.Join(all, " ")
}

func TestScopeKey(t *testing.T) {
	p := compileRandom(t, scopePolicy)
	key := func(addr, user string, signIn bool) string {
		subject := p.Subject(policy.Identity{Addr: netip.MustParseAddr(addr), User: user})
		return p.Scope(&subject, policy.DoorProxy, signIn).Key()
	}
	if key("10.1.1.1", "", true) != key("10.200.3.4", "", true) {
		t.Error("two clients of one group have different keys")
	}
	distinct := map[string]string{}
	for _, c := range []struct {
		addr, user string
		signIn     bool
	}{{"10.1.1.1", "", true}, {"10.1.1.1", "", false}, {"192.0.2.9", "", true}, {"203.0.113.1", "", true}, {"203.0.113.1", "sam", true}} {
		k := key(c.addr, c.user, c.signIn)
		if other, taken := distinct[k]; taken {
			t.Errorf("%+v has the key of %s", c, other)
		}
		distinct[k] = fmt.Sprint(c)
	}
}

func TestNamedWhole(t *testing.T) {
	for _, c := range []struct {
		name, rules string
		whole       policy.Whole
		cause       string
	}{
		{"names", "[{name: a, what: {domains: [a.example]}, action: block}]\ndefault: allow", policy.WholeNot, ""},
		{"default", "[{name: a, what: {domains: [a.example]}, action: block}]\ndefault: block", policy.WholeDefault, policy.DefaultRule},
		{"no destination", "[{name: a, who: {networks: [0.0.0.0/0, \"::/0\"]}, action: monitor}]\ndefault: allow", policy.WholeRule, "a"},
		{"but for one", "[{name: a, what: {except: {domains: [a.example]}}, action: block}]\ndefault: allow", policy.WholeRule, "a"},
		{"everything allowed", "[{name: a, who: {networks: [0.0.0.0/0]}, action: allow}]\ndefault: allow", policy.WholeNot, ""},
		{"regular expression", `[{name: a, what: {domains: ["/^a/", b.example]}, action: block}]` + "\ndefault: allow", policy.WholeRegexp, "a"},
		{"regular expression allowed", `[{name: a, what: {domains: ["/^a/"]}, action: allow}]` + "\ndefault: allow", policy.WholeNot, ""},
		{"regular expression excepted", `[{name: a, what: {domains: [b.example], except: {domains: ["/^a/"]}}, action: block}]` + "\ndefault: allow", policy.WholeNot, ""},
		{"big list", "[{name: a, what: {lists: [big]}, action: block}]\ndefault: allow", policy.WholeTooMany, "a"},
		{"big list excepted", "[{name: a, what: {domains: [test], except: {lists: [big]}}, action: block}]\ndefault: allow", policy.WholeNot, ""},
		{"lists that are big together", "[{name: a, what: {lists: [half]}, action: block}, {name: b, what: {lists: [other]}, action: warn}]\ndefault: allow", policy.WholeTooMany, "b"},
		{"big list of another door", "[{name: a, what: {lists: [big]}, action: block, doors: [dns]}]\ndefault: allow", policy.WholeNot, ""},
	} {
		var big, half strings.Builder
		for i := range 40 {
			fmt.Fprintf(&big, "n%d.test\n", i)
			if i < 15 {
				fmt.Fprintf(&half, "m%d.test\n", i)
			}
		}
		text := "version: 1\nlists: {big: {file: big}, half: {file: half}, other: {file: half}}\nrules: " + c.rules + "\n"
		p := compileFiles(t, []policy.File{{Name: "policy.yaml", Data: []byte(text)}},
			map[string][]byte{"big": []byte(big.String()), "half": []byte(half.String())})
		subject := p.Subject(policy.Identity{Addr: netip.MustParseAddr("10.1.1.1")})
		scope := p.Scope(&subject, policy.DoorProxy, false)
		n := scope.Named(20)
		cause := ""
		if n.Cause != nil {
			cause = n.Cause.Name
		}
		if n.Whole != c.whole || cause != c.cause {
			t.Errorf("%s: whole %d because of %q, want %d, %q", c.name, n.Whole, cause, c.whole, c.cause)
		}
		unlisted := scope.Unlisted(20)
		if alone := c.whole != policy.WholeNot && c.whole != policy.WholeDefault && c.cause != "b"; alone != (len(unlisted) == 1) ||
			alone && (unlisted[0].Rule != n.Cause || unlisted[0].Why != c.whole) {
			t.Errorf("%s: unlisted %+v", c.name, unlisted)
		}
		if (n.Whole == policy.WholeNot) != (n.Whole.String() == "") {
			t.Errorf("%s: the reason is %q", c.name, n.Whole)
		}
	}
}

// TestNamedAgreesWithPlainReading holds what is listed against a reading of
// the document, for clients as they are and for whoever they may be.
func TestNamedAgreesWithPlainReading(t *testing.T) {
	rng := rand.New(rand.NewPCG(41, 42))
	seen := map[string]int{}
	for round := range 16 {
		text := randomPolicy(rng)
		if round%4 > 0 { // a regular expression is seldom, and hides everything else
			text = strings.ReplaceAll(text, `"/^[xyz]\\./"`, "xyz.example")
		}
		p := compileRandom(t, text)
		o := &oracle{doc: p.Document(), apps: p.Apps()}
		for range 10 {
			r := randomRequest(rng, p)
			scope := p.Scope(&r.Subject, r.Door, true)
			now, later := listingOf(scope.Named(1000)), listingOf(scope.NamedLater(1000))
			if o.doc.Default.Refuses() != (now.Whole == policy.WholeDefault) {
				t.Fatalf("the default is %s, and whole is %d", o.doc.Default, now.Whole)
			}
			if expression := hasExpression(text); !expression && (now.Whole > policy.WholeDefault || later.Whole != policy.WholeNot) {
				t.Fatalf("whole: %d, later %d", now.Whole, later.Whole)
			} else if expression {
				seen["expression"]++
				continue
			}
			for range 40 {
				h := randomHost(rng)
				if rng.IntN(3) == 0 && !h.IsAddr() {
					h = mustHost(t, pick(rng, "www.", "x.", "deep.er.")+h.Name())
				}
				fits, may := o.named(&r.Subject.Identity, r.Door, h)
				if got := now.has(h); got != fits {
					t.Fatalf("%v is listed for %+v at %s: %v, plain reading: %v\n%s", h, r.Subject.Identity, r.Door, got, fits, text)
				}
				if got := later.has(h); got != may {
					t.Fatalf("%v is listed for later for %+v at %s: %v, plain reading: %v\n%s", h, r.Subject.Identity, r.Door, got, may, text)
				}
				seen[fmt.Sprint(fits, may)]++
			}
		}
	}
	for _, kind := range []string{"false false", "true false", "false true", "true true", "expression"} {
		if seen[kind] < 30 {
			t.Errorf("%s was seen %d times", kind, seen[kind])
		}
	}
}

func hasExpression(text string) bool { return strings.Contains(text, "/^[xyz]") }

// listing is a Named, to be asked as its documentation says.
type listing struct {
	policy.Named
	byName map[string]policy.NamedName
}

func listingOf(n policy.Named) *listing {
	l := &listing{Named: n, byName: map[string]policy.NamedName{}}
	for _, one := range n.Names {
		l.byName[one.Name] = one
	}
	return l
}

func (l *listing) has(h policy.Host) bool {
	if h.IsAddr() {
		return slices.ContainsFunc(l.Addrs, func(r policy.AddrRange) bool {
			return r.First.BitLen() == h.Addr().BitLen() && r.First.Compare(h.Addr()) <= 0 && h.Addr().Compare(r.Last) <= 0
		})
	}
	if one, ok := l.byName[h.Name()]; ok {
		return one.Itself
	}
	for _, above, ok := strings.Cut(h.Name(), "."); ok; _, above, ok = strings.Cut(above, ".") {
		if one, ok := l.byName[above]; ok {
			return one.Under
		}
	}
	return false
}

// named reads whether a rule that does not allow names the host at a door: one
// that fits the client as it is, and one that does not but would some user.
func (o *oracle) named(id *policy.Identity, door policy.Door, h policy.Host) (fits, may bool) {
	for _, rule := range slices.Concat(o.doc.Exceptions, o.doc.Rules) {
		what := &rule.What
		if rule.Action == policy.ActionAllow || len(rule.Doors) > 0 && !slices.Contains(rule.Doors, door) ||
			!o.selects(what, h, policy.Host{}) || what.Except != nil && o.selects(what.Except, h, policy.Host{}) {
			continue
		}
		if o.isWho(id, &rule.Who) {
			fits = true
			continue
		}
		for _, user := range []string{"u0", "u1", "u2", "u3", "u4", "u5", "somebody"} {
			as := *id
			as.User = user
			may = may || id.User == "" && o.isWho(&as, &rule.Who)
		}
	}
	return fits, may
}

// TestNamedSaysNothingTwice: a name that the names above imply is left out.
func TestNamedSaysNothingTwice(t *testing.T) {
	p := compileRandom(t, `
version: 1
groups: {one: {networks: [10.0.0.0/8]}, two: {networks: [192.0.2.0/24]}}
rules:
  - {name: one, who: {groups: [one]}, what: {domains: [example]}, action: block}
  - {name: two, who: {groups: [two]}, what: {domains: [secret.sub.example, other.test], except: {domains: [hidden.secret.sub.example]}}, action: block}
default: allow
`)
	subject := p.Subject(policy.Identity{Addr: netip.MustParseAddr("10.1.1.1")})
	n := p.Scope(&subject, policy.DoorProxy, true).Named(1000)
	if got := inWords(n); got != "example" {
		t.Errorf("names %q: what other clients' rules name shows", got)
	}
}
