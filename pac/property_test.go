package pac

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// randomRules writes rules one a line, with groups, users and lists around them
// that stay the same, so that each rule can be put alone into a policy, too.
func randomRules(rng *rand.Rand) (head string, rules []string) {
	head = `version: 1
lists: {one: {file: one}, two: {file: two}}
groups:
  g0: {networks: [10.0.0.0/12], users: [u0]}
  g1: {networks: [10.16.0.0/12], users: [u1]}
  g2: {users: [u2, u3]}
  nest: {groups: [g0, g2]}
`
	for r := range 2 + rng.IntN(8) {
		rules = append(rules, fmt.Sprintf("  - {name: r%d, who: {%s}, what: {%s}, action: %s%s}\n", r,
			pick(rng, "groups: [g0]", "groups: [g1]", "groups: [g1]", "groups: [nest]", "users: [u2]", "networks: [10.16.0.0/16]", "groups: [unidentified]", "groups: [unidentified]",
				"except: {users: [u1]}", "groups: [g0, g1], except: {users: [u0]}", "devices: [laptop]"),
			pick(rng, "apps: [zoom]", "apps: [webex, msteams]", "categories: [conferencing], except: {apps: [zoom]}", "domains: [a.example, =b.example, \"*.c.example\"]",
				"domains: [example], except: {domains: [x.a.example, =c.example]}", "networks: [3.7.0.0/16, \"2001:db8::/32\"]", "lists: [one]",
				"domains: [test], except: {lists: [one]}", "lists: [two], except: {domains: [y.b.example]}", fmt.Sprintf("domains: [r%d.example]", r)),
			pick(rng, "block", "warn", "monitor", "allow"),
			pick(rng, "", "", "", ", doors: [dns]", ", doors: [proxy]", ", enforcement: report-only")))
	}
	return head, rules
}

var propertyLists = map[string]string{
	"one": "plain.test\n198.51.100.0/24\n=one.test\n",
	"two": "||c.example^\n@@||z.c.example^\n||y.b.example^\n",
}

var propertyHosts = []string{
	"zoom.us", "us04web.zoom.us", "eu.webex.com", "teams.microsoft.com", "login.microsoftonline.com", "ocsp.digicert.com", "a.example", "x.a.example",
	"b.example", "y.b.example", "c.example", "z.c.example", "w.c.example", "plain.test", "x.plain.test", "one.test", "x.one.test", "r3.example", "example",
	"3.7.35.1", "3.8.0.0", "198.51.100.77", "2001:db8::1", "2001:db9::", "nowhere.invalid", "test", "meet.jit.si",
}

func pick(rng *rand.Rand, from ...string) string { return from[rng.IntN(len(from))] }

// TestJudgedGoesToTheProxy: in mode judged a name goes to the proxy where a rule
// that does not allow is about it and is for this client, or for somebody who
// may sit there; it goes nowhere else where no such rule is.
func TestJudgedGoesToTheProxy(t *testing.T) {
	rng := rand.New(rand.NewPCG(51, 52))
	seen := map[string]int{}
	for range 10 {
		head, rules := randomRules(rng)
		program := compiled(t, head+"rules:\n"+strings.Join(rules, "")+"default: allow\n", propertyLists)
		var alone []*policy.Program // each rule that acts at the proxy, and nothing else
		for _, rule := range rules {
			if !strings.Contains(rule, "action: allow") && !strings.Contains(rule, "doors: [dns]") {
				alone = append(alone, compiled(t, head+"rules:\n"+rule+"default: allow\n", propertyLists))
			}
		}
		for range 3 {
			addr := fmt.Sprintf("10.%d.0.7", []int{0, 16, 17, 200}[rng.IntN(4)])
			plan := planFor(program, &Settings{Judged: true}, addr)
			b := newBrowser(t, plan.Script(testProxy(t), hostOf(t, "portal.corp.example")))
			subject := subjectAt(program, addr)
			hidden := checksumsOf(program.Scope(&subject, policy.DoorProxy, true).NamedLater(MaxNames).Names)
			for _, name := range propertyHosts {
				host := hostOf(t, name)
				now := acts(alone, policy.Identity{Addr: netip.MustParseAddr(addr)}, host)
				later := false
				for _, user := range []string{"u0", "u1", "u2", "u3", "somebody"} {
					later = later || acts(alone, policy.Identity{Addr: netip.MustParseAddr(addr), User: user}, host)
				}
				got := b.proxied(t, name)
				byChance := !now && !later && got && (hidden.covers(name) || host.IsAddr())
				if got != (now || later) && !byChance {
					t.Fatalf("%s of %s goes to the proxy: %v; a rule is for it now: %v, or later: %v\n%s%s", name, addr, got, now, later, head, strings.Join(rules, ""))
				}
				seen[fmt.Sprint(now, later, byChance && !host.IsAddr())]++
			}
		}
	}
	for _, kind := range []string{"false false false", "true true false", "true false false", "false true false"} {
		if seen[kind] < 3 {
			t.Errorf("%s was seen %d times: %v", kind, seen[kind], seen)
		}
	}
	if chance := seen["false false true"]; chance > seen["false false false"]/20 {
		t.Errorf("%d names go to the proxy by chance, %d do not", chance, seen["false false false"])
	}
}

// acts reports whether the rule of any of the programs refuses the host, or
// records it.
func acts(programs []*policy.Program, id policy.Identity, host policy.Host) bool {
	for _, p := range programs {
		v := p.Decide(&policy.Request{Subject: p.Subject(id), Door: policy.DoorProxy, Port: 443, Host: host, At: time.Unix(1.6e9, 0)})
		if v.Action.Refuses() || v.Would != nil {
			return true
		}
	}
	return false
}

// covers is what the script asks of checksums.
func (c *checksums) covers(name string) bool {
	dots := strings.Count(name, ".")
	for at := 0; at >= 0; dots-- {
		bit := uint8(under)
		if at == 0 {
			bit = itself
		}
		if dots+1 >= c.labels && len(c.table) > 0 && c.table[checksum(name[at:])&c.mask]&bit != 0 {
			return true
		}
		next := strings.IndexByte(name[at:], '.')
		if next < 0 {
			return false
		}
		at += next + 1
	}
	return false
}

// TestChecksumsAreShort: what is not in the table fits now and then, so that a
// name that fits is no proof, and seldom enough that little goes to the proxy.
func TestChecksumsAreShort(t *testing.T) {
	rng := rand.New(rand.NewPCG(53, 54))
	for _, count := range []int{1, 20, 255, 3000} {
		var names []policy.NamedName
		for i := range count {
			names = append(names, policy.NamedName{Name: fmt.Sprintf("board-%d.example", i), Itself: true, Under: i%2 == 0})
		}
		c := checksumsOf(append(names, policy.NamedName{Name: "free.board-1.example"}))
		for _, n := range names {
			if !c.covers(n.Name) || n.Under && !c.covers("www."+n.Name) {
				t.Fatalf("%s of %d is not covered", n.Name, count)
			}
		}
		const tries = 50_000
		hits := 0
		for range tries {
			if c.covers(fmt.Sprintf("site%d.test", rng.IntN(1<<30))) {
				hits++
			}
		}
		if rate := float64(hits) / tries; rate > 1.0/200 || rate < 1.0/1100 {
			t.Errorf("%d names: %d of %d others fit", count, hits, tries)
		}
	}
	if c := checksumsOf([]policy.NamedName{{Name: "zip", Under: true}}); !c.covers("x.zip") || c.labels != 1 {
		t.Errorf("a top-level domain is not covered: %+v", c)
	}
	if c := checksumsOf(nil); c.covers("a.example") || len(c.table) != 0 {
		t.Errorf("checksums of nothing: %+v", c)
	}
}

// TestChecksumInTheScript: the script and this package compute the same.
func TestChecksumInTheScript(t *testing.T) {
	p := compiled(t, "version: 1\nrules: [{name: a, who: {users: [chair]}, what: {domains: [board.example, =alone.example, \"*.under.example\"]}, action: block}]\ndefault: allow\n", nil)
	b := browserFor(t, p, &Settings{Judged: true}, "10.1.1.1")
	subject := subjectAt(p, "10.1.1.1")
	c := checksumsOf(p.Scope(&subject, policy.DoorProxy, true).NamedLater(10).Names)
	rng := rand.New(rand.NewPCG(55, 56))
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-_"
	for _, name := range []string{"board.example", "www.board.example", "alone.example", "under.example", "x.y.under.example"} {
		if !b.proxied(t, name) && name != "under.example" {
			t.Errorf("%s goes past the proxy", name)
		}
	}
	fits := 0
	for range 1200 {
		var name strings.Builder
		for label := range 2 + rng.IntN(3) {
			if label > 0 {
				name.WriteByte('.')
			}
			for range 1 + rng.IntN(20) {
				name.WriteByte(letters[rng.IntN(len(letters))])
			}
		}
		name.WriteString("q") // so that it is no number
		want := c.covers(name.String())
		if got := b.proxied(t, name.String()); got != want {
			t.Fatalf("%s: the script says %v, this package %v", name.String(), got, want)
		}
		if want {
			fits++
		}
	}
	if fits == 0 || fits > 50 {
		t.Errorf("%d of 1200 names fit", fits)
	}
}
