package policy_test

import (
	"net/netip"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/sallyport/sallyport/policy"
)

// TestWhatIsKeptKeepsNoProgram: caches, tunnels and logs hold verdicts,
// subjects and prepared facts for days. None of them may hold the Program, or
// one of its lists, after a swap.
func TestWhatIsKeptKeepsNoProgram(t *testing.T) {
	const text = `
version: 1
lists: {threats: {file: threats}}
groups: {staff: {networks: [10.0.0.0/8], users: [ceo]}}
rules:
  - {name: listed, who: {groups: [staff]}, what: {lists: [threats]}, action: monitor}
  - {name: threats, what: {lists: [threats], except: {domains: [not.bad.example]}}, action: block}
  - {name: meetings, who: {users: [ceo]}, what: {apps: [zoom]}, when: {hours: ["Mon-Fri 09:00-17:00"]}, action: allow, strip_h3: true}
  - {name: ban, what: {apps: [zoom]}, action: block}
default: allow
`
	compile := func() (*policy.Program, *policy.List) {
		doc, problems := policy.Parse([]policy.File{{Name: "policy.yaml", Data: []byte(text)}})
		if problems.HasErrors() {
			t.Fatal(problems)
		}
		list, _, err := policy.ParseList([]byte("bad.example\nworse.example\n"))
		if err != nil {
			t.Fatal(err)
		}
		p, problems := policy.Compile(doc, policy.Sources{Catalogue: catalogueApps(t), Lists: map[string]*policy.List{"threats": list}})
		if p == nil {
			t.Fatal(problems)
		}
		return p, list
	}
	at := time.Date(2020, 3, 30, 12, 0, 0, 0, time.UTC)
	hosts := []policy.Host{mustHost(t, "bad.example"), mustHost(t, "zoom.us"), mustHost(t, "plain.example"), mustHost(t, "use-application-dns.net")}

	var subjects []policy.Subject
	var verdicts []policy.Verdict
	decided := map[string]bool{}
	p, list := compile()
	engine := policy.NewEngine(p)
	program, names := weak.Make(p), weak.Make(list)
	p, list = nil, nil
	facts := engine.Prepare(hosts)
	for _, id := range []policy.Identity{{}, {Addr: netip.MustParseAddr("10.1.2.3")}, {User: "ceo"}} {
		subject := engine.Subject(id)
		subjects = append(subjects, subject)
		for _, host := range hosts {
			r := policy.Request{Subject: subject, Door: policy.DoorDNS, At: at, Host: host}
			v := engine.Decide(&r)
			facts.Moot(&subject, &v)
			facts.Judged(&subject, &v)
			verdicts = append(verdicts, v)
			decided[v.RuleName()] = true
		}
	}
	for _, rule := range []string{"threats", "meetings", "ban", policy.DefaultRule, policy.RuleCanary} {
		if !decided[rule] {
			t.Errorf("no verdict is by %s: %v", rule, decided)
		}
	}

	runtime.GC()
	if program.Value() == nil || names.Value() == nil {
		t.Fatal("the program in force is gone")
	}
	next, _ := compile()
	engine.Swap(next)
	for range 3 { // memos and the like may need a second look
		runtime.GC()
	}
	if program.Value() != nil {
		t.Error("the old program is still in memory")
	}
	if names.Value() != nil {
		t.Error("its list is still in memory")
	}

	// And what is left of it is still good for what it was kept for.
	for i := range verdicts {
		if facts.Ready(&verdicts[i]) != true || verdicts[i].RuleName() == "" {
			t.Errorf("verdict %d: %+v", i, verdicts[i])
		}
	}
	for i := range subjects {
		r := policy.Request{Subject: subjects[i], Door: policy.DoorDNS, At: at, Host: hosts[1]}
		if v := engine.Decide(&r); v.RuleName() != verdicts[i*len(hosts)+1].RuleName() || facts.Ready(&v) {
			t.Errorf("subject %d under the new program: %s", i, v.RuleName())
		}
	}
	runtime.KeepAlive(engine)
}
