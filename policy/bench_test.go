package policy_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// benchTime is a moment at which every rule of the benchmark policies is in force.
func benchTime() time.Time { return time.Date(2020, 4, 1, 12, 0, 0, 0, time.UTC) }

// tenRules is a small, ordinary policy: the memo and what stands around it.
const tenRules = `
version: 1
default: allow
groups:
  employees: {networks: [10.0.0.0/8]}
  liaison: {users: [priya@corp.example]}
rules:
  - {name: memo, who: {groups: [employees], except: {groups: [liaison]}}, what: {apps: [zoom]}, when: {from: 2020-03-28}, action: block}
  - {name: approved, what: {apps: [msteams, webex]}, action: allow}
  - {name: coach, what: {categories: [conferencing]}, action: warn}
  - {name: bypass, what: {categories: [bypass]}, action: block}
  - {name: r5, what: {domains: [five.example]}, action: block}
  - {name: r6, what: {domains: [six.example]}, action: block}
  - {name: r7, what: {networks: [203.0.113.0/24]}, action: block}
  - {name: r8, who: {networks: [10.3.0.0/16]}, what: {domains: [eight.example]}, action: block}
  - {name: r9, what: {categories: [webinar]}, action: block}
  - {name: watch, what: {categories: [messaging]}, action: monitor}
`

// manyRules is a policy of n rules over n/5 groups, and a list.
func manyRules(n int) string {
	var b strings.Builder
	b.WriteString("version: 1\ndefault: allow\nlists: {big: {file: big.txt}}\ngroups:\n")
	groups := n / 5
	for g := range groups {
		fmt.Fprintf(&b, "  g%d: {networks: [10.%d.%d.0/24]}\n", g, g/256%256, g%256)
	}
	b.WriteString("rules:\n")
	apps := []string{"zoom", "webex", "msteams", "slack", "discord", "goto", "jitsi", "whereby"}
	for i := range n - 1 {
		fmt.Fprintf(&b, "  - {name: r%d, who: {groups: [g%d]}, what: {apps: [%s], domains: [d%d.example]}, action: block}\n",
			i, i%groups, apps[i%len(apps)], i)
	}
	b.WriteString("  - {name: threats, what: {lists: [big]}, action: block}\n")
	return b.String()
}

// bigList is n names of ordinary length, one a line.
func bigList(n int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for range n {
		length := 5 + rng.IntN(10)
		for range length {
			b.WriteByte("abcdefghijklmnopqrstuvwxyz0123456789"[rng.IntN(36)])
		}
		b.WriteString([]string{".com", ".net", ".example", ".co.uk", ".org"}[rng.IntN(5)])
		b.WriteByte('\n')
	}
	return []byte(b.String())
}

func compileText(b testing.TB, text string, list []byte) *policy.Program {
	b.Helper()
	return compileFiles(b, []policy.File{{Name: "policy.yaml", Data: []byte(text)}}, map[string][]byte{"big.txt": list})
}

func mustHost(b testing.TB, name string) policy.Host {
	b.Helper()
	h, err := policy.ParseHost(name)
	if err != nil {
		b.Fatal(err)
	}
	return h
}

// decideCases are the questions that the benchmarks and the allocation test
// ask of a policy.
func decideRequests(b testing.TB, p *policy.Program) map[string]*policy.Request {
	b.Helper()
	subject := p.Subject(policy.Identity{Addr: netip.MustParseAddr("10.0.7.7")})
	ask := func(name string, derived ...policy.Host) *policy.Request {
		return &policy.Request{Subject: subject, Door: policy.DoorDNS, At: benchTime(), Host: mustHost(b, name), Derived: derived}
	}
	return map[string]*policy.Request{
		"allowed": ask("static.cdn.example.com"),
		"blocked": ask("us04web.eu.zoom.us"),
		"derived": ask("static.cdn.example.com", mustHost(b, "edge.cdn.example.net"), mustHost(b, "198.51.100.7")),
		"address": ask("198.51.100.7"),
	}
}

func BenchmarkDecide(b *testing.B) {
	policies := []struct {
		name string
		make func() *policy.Program
	}{
		{"rules_10", func() *policy.Program { return compileText(b, tenRules, nil) }},
		{"rules_10000_list_1m", func() *policy.Program { return compileText(b, manyRules(10_000), bigList(1_000_000)) }},
	}
	for _, pc := range policies {
		program := pc.make()
		for _, name := range []string{"allowed", "blocked", "derived", "address"} {
			request := decideRequests(b, program)[name]
			b.Run(pc.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_ = program.Decide(request)
				}
			})
		}
		b.Run(pc.name+"/cold_names", func(b *testing.B) { benchColdNames(b, program) })
	}
}

// benchColdNames asks about a different name each time, so that the tables are
// not in the processor's caches.
func benchColdNames(b *testing.B, program *policy.Program) {
	rng := rand.New(rand.NewPCG(3, 4))
	requests := make([]policy.Request, 1<<16)
	subject := program.Subject(policy.Identity{Addr: netip.MustParseAddr("10.0.7.7")})
	for i := range requests {
		host := policy.HostFromCanonicalName(fmt.Sprintf("www.h%x.example%d.com", rng.Uint64(), rng.IntN(1000)))
		requests[i] = policy.Request{Subject: subject, Door: policy.DoorDNS, At: benchTime(), Host: host}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_ = program.Decide(&requests[i&(1<<16-1)])
	}
}

func BenchmarkSubject(b *testing.B) {
	var text strings.Builder
	text.WriteString("version: 1\ndefault: allow\ngroups:\n")
	for g := range 1000 {
		fmt.Fprintf(&text, "  g%d:\n    networks: [", g)
		for n := range 100 {
			at := g*100 + n
			if n > 0 {
				text.WriteString(", ")
			}
			fmt.Fprintf(&text, "10.%d.%d.%d/30", at>>14&255, at>>6&255, at&63<<2)
		}
		text.WriteString("]\n")
	}
	text.WriteString("rules: [{name: r, who: {groups: [g1]}, what: {apps: [zoom]}, action: block}]\n")
	program := compileText(b, text.String(), nil)
	rng := rand.New(rand.NewPCG(5, 6))
	addrs := make([]netip.Addr, 1<<12)
	for i := range addrs {
		v := rng.Uint32()
		addrs[i] = netip.AddrFrom4([4]byte{10, byte(v % 7), byte(v >> 8), byte(v >> 16)})
	}
	b.Run("networks_100000", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			_ = program.Subject(policy.Identity{Addr: addrs[i&(1<<12-1)]})
		}
	})
}

func BenchmarkCompile(b *testing.B) {
	apps := catalogueApps(b)
	b.Run("list_1m", func(b *testing.B) {
		data := bigList(1_000_000)
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := policy.ParseList(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("fleet", func(b *testing.B) {
		doc, problems := policy.Parse([]policy.File{{Name: "fleet.yaml", Data: []byte(fleet())}})
		if problems.HasErrors() {
			b.Fatal(problems[0])
		}
		for b.Loop() {
			if _, problems := policy.Compile(doc, policy.Sources{Catalogue: apps}); problems.HasErrors() {
				b.Fatal(problems[0])
			}
		}
	})
	b.Run("fleet_parse", func(b *testing.B) {
		data := []byte(fleet())
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if _, problems := policy.Parse([]policy.File{{Name: "fleet.yaml", Data: data}}); problems.HasErrors() {
				b.Fatal(problems[0])
			}
		}
	})
	b.Run("edit_beside_list_1m", func(b *testing.B) {
		list, _, err := policy.ParseList(bigList(1_000_000))
		if err != nil {
			b.Fatal(err)
		}
		text := []byte(tenRules + "  - {name: threats, what: {lists: [big]}, action: block}\nlists: {big: {file: big.txt}}\n")
		for b.Loop() {
			doc, problems := policy.Parse([]policy.File{{Name: "policy.yaml", Data: text}})
			if problems.HasErrors() {
				b.Fatal(problems[0])
			}
			if _, problems := policy.Compile(doc, policy.Sources{Catalogue: apps, Lists: map[string]*policy.List{"big": list}}); problems.HasErrors() {
				b.Fatal(problems[0])
			}
		}
	})
}

// fleet is 10,000 rules over 2,000 groups with 100,000 users.
func fleet() string {
	var b strings.Builder
	b.WriteString("version: 1\ndefault: allow\ngroups:\n")
	for g := range 2000 {
		fmt.Fprintf(&b, "  g%d: {users: [", g)
		for u := range 50 {
			if u > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "u%d@corp.example", g*50+u)
		}
		b.WriteString("]}\n")
	}
	b.WriteString("rules:\n")
	for r := range 10_000 {
		fmt.Fprintf(&b, "  - {name: r%d, who: {groups: [g%d]}, what: {apps: [zoom], domains: [d%d.example]}, action: block}\n", r, r%2000, r)
	}
	return b.String()
}

func TestDecideDoesNotAllocate(t *testing.T) {
	program := compileText(t, manyRules(2000), bigList(10_000))
	for name, request := range decideRequests(t, program) {
		if n := testing.AllocsPerRun(100, func() { _ = program.Decide(request) }); n != 0 {
			t.Errorf("%s: %v allocations a decision, want 0", name, n)
		}
	}
	// A tester's question about another year leaves the present alone.
	scheduled := compileText(t, tenRules+"  - {name: later, what: {domains: [later.example]}, when: {from: 2030-01-01, until: 2031-01-01}, action: block}\n", nil)
	request := decideRequests(t, scheduled)["blocked"]
	_ = scheduled.Decide(request)
	future := *request
	future.At = time.Date(2030, 6, 1, 0, 0, 0, 0, time.UTC)
	_ = scheduled.Explain(&future)
	_ = scheduled.RunTests(future.At)
	_ = scheduled.NextEdge(future.At)
	if n := testing.AllocsPerRun(100, func() { _ = scheduled.Decide(request) }); n != 0 {
		t.Errorf("after an explanation of the future: %v allocations a decision, want 0", n)
	}
	addr := netip.MustParseAddr("10.0.7.7")
	if n := testing.AllocsPerRun(100, func() { _ = program.Subject(policy.Identity{Addr: addr}) }); n != 0 {
		t.Errorf("subject: %v allocations, want 0", n)
	}
}
