package policy_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

func TestProgramFacts(t *testing.T) {
	p := compileText(t, `
version: 1
timezone: Europe/Berlin
organisation: {name: Example Rockets, contact: it@corp.example}
groups: {a: {networks: [10.0.0.0/8]}, b: {networks: [10.1.0.0/16]}}
apps:
  zoom-east: {extends: zoom, name: Zoom East, category: conferencing, domains: [zoom-east.example], networks: [192.0.2.0/24]}
rules:
  - {name: first, who: {groups: [b]}, what: {apps: [zoom-east]}, when: {until: 2020-04-01}, action: block}
  - {name: second, who: {groups: [a]}, what: {apps: [zoom]}, when: {from: 2020-05-01}, action: block}
exceptions:
  - {name: exception, what: {domains: [ok.example]}, until: 2020-06-01}
`, nil)
	if p.Revision() != "test" || p.Organisation().Name != "Example Rockets" || p.Organisation().Zone != p.Document().Location {
		t.Errorf("revision %q, organisation %+v", p.Revision(), p.Organisation())
	}
	var names []string
	for _, r := range p.Rules() {
		names = append(names, r.Name)
	}
	if got := strings.Join(names, " "); got != "exception first second default" {
		t.Errorf("rules: %s", got)
	}
	if got := strings.Join(p.GroupNames(), " "); got != "a b" {
		t.Errorf("groups: %s", got)
	}
	engine := policy.NewEngine(p)
	if engine.Program() != p {
		t.Error("the engine does not hold its program")
	}
	subject := engine.Subject(policy.Identity{Addr: netip.MustParseAddr("10.1.2.3")})
	if got := strings.Join(subject.GroupNames(), " "); got != "a b" {
		t.Errorf("subject: groups %s", got)
	}
	again := p.Subject(policy.Identity{User: "someone"})
	if !subject.SameProgram(&again) {
		t.Error("two subjects of one program are of different ones")
	}
	var nobody policy.Subject
	if nobody.GroupNames() != nil || nobody.SameProgram(&subject) {
		t.Error("the zero subject claims groups or a program")
	}

	// A new app that extends another has all of it, and its own.
	at := time.Date(2020, 3, 30, 0, 0, 0, 0, time.UTC)
	for host, app := range map[string]string{"us04web.zoom.us": "zoom-east", "x.zoom-east.example": "zoom-east", "192.0.2.7": "zoom-east"} {
		v := p.Decide(&policy.Request{Subject: subject, Door: policy.DoorProxy, At: at, Host: mustHost(t, host)})
		if v.RuleName() != "first" || v.AppID() != app || v.App.Name != "Zoom East" {
			t.Errorf("%s: rule %s, app %s", host, v.RuleName(), v.AppID())
		}
	}
}

func TestNextEdge(t *testing.T) {
	p := compileText(t, `
version: 1
rules:
  - {name: a, what: {domains: [a.example]}, when: {from: 2020-04-01, until: 2020-05-01}, action: block}
  - {name: b, what: {domains: [b.example]}, when: {hours: ["Mon-Fri 09:00-17:00"]}, action: block}
`, nil)
	at := time.Date(2020, 3, 31, 18, 0, 0, 0, time.UTC) // a Tuesday
	for _, want := range []string{"2020-04-01T00:00:00Z", "2020-04-01T09:00:00Z", "2020-04-01T17:00:00Z", "2020-04-02T09:00:00Z"} {
		edge := p.NextEdge(at)
		if got := edge.UTC().Format(time.RFC3339); got != want {
			t.Fatalf("after %s: %s, want %s", at, got, want)
		}
		at = edge
	}
	plain := compileText(t, "version: 1\nrules: [{name: a, what: {domains: [a.example]}, action: block}]\n", nil)
	if edge := plain.NextEdge(at); !edge.IsZero() {
		t.Errorf("a policy without schedules has an edge at %s", edge)
	}
}

func TestRunTests(t *testing.T) {
	p := compileText(t, `
version: 1
default: allow
groups: {g: {networks: [10.0.0.0/8]}}
rules:
  - {name: ban, who: {groups: [g]}, what: {apps: [zoom]}, when: {from: 2020-03-28}, action: block}
  - {name: dns-only, what: {domains: [dns.example]}, doors: [dns], action: block}
  - {name: watch, what: {domains: [watched.example]}, action: monitor}
tests:
  - {who: {ip: 10.1.1.1}, what: zoom.us, at: 2020-03-29, want: block, by: ban}
  - {who: {ip: 10.1.1.1}, what: zoom.us, at: 2020-03-27, want: allow}
  - {who: {ip: 10.1.1.1}, what: zoom.us, want: block}
  - {what: "dns.example:443", want: allow}
  - {what: dns.example, door: dns, want: block}
  - {what: watched.example, want: monitor, by: watch}
  - {what: watched.example, want: allow}
  - {what: dns.example, want: block}
  - {who: {ip: 10.1.1.1}, what: zoom.us, at: 2020-03-29, want: allow}
  - {who: {ip: 10.1.1.1}, what: zoom.us, at: 2020-03-29, want: block, by: watch}
  - {what: plain.example, want: monitor}
`, nil)
	failures := p.RunTests(time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC))
	want := []string{
		"want block, got allow by default at the proxy door",
		"want allow, got block by ban at the dns door",
		"want block by watch, got it by ban at the dns door",
		"want monitor, got allow by default at the dns door",
	}
	if len(failures) != len(want) {
		t.Fatalf("%d failures, want %d: %v", len(failures), len(want), failures)
	}
	for i, f := range failures {
		if !strings.HasSuffix(f.String(), want[i]) || !strings.HasPrefix(f.String(), "policy.yaml:") {
			t.Errorf("failure %d: %s, want …%s", i, f, want[i])
		}
		if len(f.Explanation.Trace) == 0 {
			t.Errorf("failure %d has no trace", i)
		}
	}
}

func TestCompileReportsWhatIsMissing(t *testing.T) {
	doc, problems := policy.Parse([]policy.File{{Name: "p.yaml", Data: []byte(
		"version: 1\nlists: {gone: {file: gone.txt}}\nrules: [{name: r, what: {lists: [gone]}, action: block}]\n")}})
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	program, problems := policy.Compile(doc, policy.Sources{})
	if program != nil || !strings.Contains(fmt.Sprint(problems), `list "gone" was not loaded`) {
		t.Errorf("program %v, problems %v", program, problems)
	}

	var many strings.Builder
	many.WriteString("version: 1\nlists:\n")
	lists := map[string]*policy.List{}
	for i := range 65 {
		fmt.Fprintf(&many, "  l%d: {file: f%d}\n", i, i)
		list, _, err := policy.ParseList([]byte("a.example\n"))
		if err != nil {
			t.Fatal(err)
		}
		lists[fmt.Sprintf("l%d", i)] = list
	}
	doc, _ = policy.Parse([]policy.File{{Name: "p.yaml", Data: []byte(many.String() + "rules: []\n")}})
	if _, problems = policy.Compile(doc, policy.Sources{Lists: lists}); !strings.Contains(fmt.Sprint(problems), "at most 64") {
		t.Errorf("65 lists: %v", problems)
	}
}

// TestManyListsAtOnce: a fact that more lists hold than a match has room for.
func TestManyListsAtOnce(t *testing.T) {
	var text strings.Builder
	text.WriteString("version: 1\nlists:\n")
	data := map[string][]byte{}
	for i := range 12 {
		fmt.Fprintf(&text, "  l%d: {file: f%d}\n", i, i)
		data[fmt.Sprintf("f%d", i)] = []byte("everywhere.example\n")
	}
	text.WriteString("rules:\n")
	for i := range 100 {
		fmt.Fprintf(&text, "  - {name: r%d, who: {users: [u%d]}, what: {lists: [l%d], except: {domains: [not.everywhere.example], lists: [l%d]}}, action: block}\n", i, i, i%11, (i+1)%11)
		fmt.Fprintf(&text, "  - {name: s%d, who: {users: [u%d]}, what: {lists: [l%d]}, action: block}\n", i, i, i%11)
	}
	p := compileFiles(t, []policy.File{{Name: "p.yaml", Data: []byte(text.String())}}, data)
	for _, i := range []int{0, 31, 32, 63, 99} {
		subject := p.Subject(policy.Identity{User: fmt.Sprintf("u%d", i)})
		v := p.Decide(&policy.Request{Subject: subject, Door: policy.DoorDNS, At: benchTime(), Host: mustHost(t, "x.everywhere.example")})
		if want := fmt.Sprintf("s%d", i); v.RuleName() != want {
			t.Errorf("user %d: %s, want %s", i, v.RuleName(), want)
		}
	}
}

func TestWords(t *testing.T) {
	for _, a := range []policy.Action{policy.ActionBlock, policy.ActionWarn, policy.ActionAllow, policy.ActionMonitor} {
		if back, err := policy.ParseAction(a.String()); err != nil || back != a {
			t.Errorf("%s: %v %v", a, back, err)
		}
	}
	if _, err := policy.ParseAction("deny"); err == nil {
		t.Error("deny is taken for an action")
	}
	for _, d := range policy.Doors() {
		if back, err := policy.ParseDoor(d.String()); err != nil || back != d {
			t.Errorf("%s: %v %v", d, back, err)
		}
	}
	if _, err := policy.ParseDoor("window"); err == nil {
		t.Error("window is taken for a door")
	}
	if policy.Door(0).String() != "none" || policy.Action(9).String() != "invalid" {
		t.Error("values out of range have names")
	}
	var v policy.Verdict
	if v.RuleName() != policy.DefaultRule || v.Reason() == "" || v.AppID() != "" {
		t.Errorf("the zero verdict: %q %q %q", v.RuleName(), v.Reason(), v.AppID())
	}
}
