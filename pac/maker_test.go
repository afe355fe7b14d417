package pac

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sallyport/sallyport/policy"
)

func TestMakerKeepsPlans(t *testing.T) {
	program := compiled(t, officePolicy, nil)
	m := NewMaker(MakerConfig{Settings: Settings{Judged: true}, SignIn: true, Program: func() *policy.Program { return program },
		Everywhere: func(string, *Plan) { t.Error("something cannot be written down") }})
	at := func(addr string) *Plan { return m.Plan(netip.MustParseAddr(addr)) }
	staff := at("10.1.1.1")
	if at("10.200.3.4") != staff || at("::ffff:10.9.9.9") != staff {
		t.Error("two clients of one group have two plans")
	}
	if at("192.0.2.7") == staff || at("203.0.113.1") == at("192.0.2.7") {
		t.Error("clients of two groups have one plan")
	}
	if m.Plan(netip.Addr{}) != at("203.0.113.200") {
		t.Error("a client without an address is not like one that no rule is for")
	}
	if n := testing.AllocsPerRun(100, func() { at("10.1.1.1") }); n > 20 {
		t.Errorf("a plan that is there costs %v allocations", n)
	}
	before := staff
	program = compiledAs(t, "edited", officePolicy, nil)
	if at("10.1.1.1") == before {
		t.Error("an edit of the policy left the plan as it was")
	}
}

func TestMakerWithoutSignIn(t *testing.T) {
	program := compiled(t, officePolicy, nil)
	for signIn, want := range map[bool]bool{true: true, false: false} {
		m := NewMaker(MakerConfig{Settings: Settings{Judged: true}, SignIn: signIn, Program: func() *policy.Program { return program }})
		b := newBrowser(t, m.Plan(netip.MustParseAddr("10.1.1.1")).Script(testProxy(t), hostOf(t, "portal.corp.example")))
		if got := b.proxied(t, "www.board.example"); got != want {
			t.Errorf("sign in %v: what a user's rule names goes to the proxy: %v", signIn, got)
		}
	}
}

// TestMakerTells of each revision for which everything goes to the proxy, once
// for each set of rules.
func TestMakerTells(t *testing.T) {
	text := `version: 1
rules:
  - {name: expression, who: {networks: [10.0.0.0/8]}, what: {domains: ["/^zoom/"]}, action: block}
default: allow
`
	program := compiled(t, text, nil)
	var told []string
	m := NewMaker(MakerConfig{Settings: Settings{Judged: true}, Program: func() *policy.Program { return program },
		Everywhere: func(revision string, p *Plan) { told = append(told, fmt.Sprint(revision, " ", p.Whole, " ", p.Cause)) }})
	for range 3 {
		m.Plan(netip.MustParseAddr("10.1.1.1"))
		m.Plan(netip.MustParseAddr("10.2.2.2"))
		m.Plan(netip.MustParseAddr("192.0.2.1"))
	}
	program = compiledAs(t, "edited", text, nil)
	m.Plan(netip.MustParseAddr("10.1.1.1"))
	want := fmt.Sprintf("test %[1]s expression,edited %[1]s expression", policy.WholeRegexp)
	if got := strings.Join(told, ","); got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

// TestMakerBoundsItsMemory: there may be as many sets of rules as clients, and
// a plan may be as large as a script.
func TestMakerBoundsItsMemory(t *testing.T) {
	program := compiled(t, officePolicy, nil)
	m := NewMaker(MakerConfig{Program: func() *policy.Program { return program }})
	large := make([]byte, MaxScript-headRoom)
	const clients = 40
	for i := range clients {
		key := fmt.Sprint(i)
		plan := &Plan{body: large}
		m.keep("test", key, plan)
		if m.kept.size > maxKept {
			t.Fatalf("%d bytes are kept", m.kept.size)
		}
		if m.find("test", key) != plan {
			t.Fatalf("plan %d is not kept", i)
		}
	}
	if len(m.kept.plans) == clients {
		t.Errorf("%d plans are kept: the bound was not met", clients)
	}
}

func TestMakerForMany(t *testing.T) {
	first := compiled(t, officePolicy, nil)
	second := compiledAs(t, "edited", officePolicy, nil)
	var now atomic.Pointer[policy.Program]
	now.Store(first)
	m := NewMaker(MakerConfig{Settings: Settings{Judged: true}, SignIn: true, Program: now.Load})
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 200 {
				if worker == 0 {
					now.Store([]*policy.Program{first, second}[i%2])
				}
				plan := m.Plan(netip.AddrFrom4([4]byte{10, byte(worker), byte(i), 1}))
				if !strings.Contains(string(plan.body), "watch.example") {
					t.Error("a plan is for somebody else")
				}
			}
		})
	}
	wg.Wait()
}
