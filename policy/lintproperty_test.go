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

// TestUnreachableRulesNeverDecide: whatever lint calls unreachable decides no
// request, over many small random policies and every request that their words
// can tell apart.
func TestUnreachableRulesNeverDecide(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 7))
	apps := builtIn(t)
	now := time.Date(2020, 4, 1, 0, 0, 0, 0, time.UTC)
	warned := 0
	for range 100 {
		text := overlappingPolicy(random)
		doc, problems := policy.Parse([]policy.File{{Name: "p", Data: []byte(text)}})
		program, more := policy.Compile(doc, policy.Sources{Catalogue: apps})
		if err := append(problems, more...).Err(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		unreachable := map[string]bool{}
		for _, p := range policy.Lint(doc, apps, now) {
			if strings.Contains(p.Message, "can never match") {
				unreachable[strings.Split(p.Message, `"`)[1]] = true
				warned++
			}
		}
		if len(unreachable) == 0 {
			continue
		}
		eachRequest(t, program, func(r *policy.Request) {
			verdict := program.Decide(r)
			if unreachable[verdict.RuleName()] || verdict.Would != nil && unreachable[verdict.Would.Name] {
				t.Fatalf("lint says %v, yet %q decided:\n%s %v port %d derived %v by %+v\n%s",
					unreachable, verdict.RuleName(), r.Door, r.Host, r.Port, r.Derived, r.Subject.Identity, text)
			}
		})
	}
	if warned < 50 {
		t.Errorf("only %d warnings: the policies do not test much", warned)
	}
}

// overlappingPolicy writes rules out of a few words that overlap in every way that
// lint knows.
func overlappingPolicy(random *rand.Rand) string {
	pick := func(words ...string) string { return words[random.IntN(len(words))] }
	several := func(words ...string) string {
		chosen := []string{pick(words...)}
		if random.IntN(3) == 0 {
			chosen = append(chosen, pick(words...))
		}
		return "[" + strings.Join(chosen, ", ") + "]"
	}
	groups := []string{"outer", "inner", "net", "unidentified"}
	who := func() string {
		return pick(
			"groups: "+several(groups...), "groups: "+several(groups...), "users: "+several("u1", "u2"),
			"networks: "+several("10.0.0.0/8", "10.1.0.0/16", "192.168.0.0/16"), "devices: "+several("d1", "d2"),
		)
	}
	what := func() string {
		return pick(
			"apps: "+several("zoom", "webex", "hall"), "apps: "+several("zoom", "webex", "hall"), "categories: "+several("conferencing", "bypass", "bypass-doh"),
			"domains: "+several("zoom.us", "=zoom.us", `"*.zoom.us"`, "us04.zoom.us", "hall.example", "a.hall.example", "cdn.hall.example", "example", "dns.google", `"/^a[.]/"`),
			"networks: "+several("192.0.2.0/24", "192.0.2.128/25"),
		)
	}
	var b strings.Builder
	b.WriteString("version: 1\ndefault: " + pick("allow", "block") + "\n")
	if random.IntN(10) == 0 {
		b.WriteString("enforcement: report-only\n")
	}
	b.WriteString(`groups:
  outer: {groups: [inner], users: [u1]}
  inner: {users: [u2], networks: [10.1.0.0/16]}
  net: {networks: [10.0.0.0/8], devices: [d1]}
apps:
  hall: {category: conferencing, domains: [hall.example, {domain: cdn.hall.example, role: shared}, x.cdn.hall.example], networks: [192.0.2.0/25]}
rules:
`)
	for i := range 6 + random.IntN(9) {
		fmt.Fprintf(&b, "  - name: r%d\n    action: %s\n", i, pick("allow", "block", "block", "warn", "monitor"))
		body := pick("wt", "wt", "t", "t", "t")
		if strings.Contains(body, "w") {
			fmt.Fprintf(&b, "    who: {%s%s}\n", who(), pick("", "", "", ", except: {"+who()+"}"))
		}
		if strings.Contains(body, "t") {
			fmt.Fprintf(&b, "    what: {%s%s%s}\n", what(), pick("", "", "", ", ports: "+several("443", "tcp/443", "400-500")), pick("", "", ", except: {"+what()+"}"))
		}
		b.WriteString(pick("", "", "", "", "    doors: [dns]\n", "    doors: [proxy]\n"))
		b.WriteString(pick("", "", "", "", "", "", "    when: {from: 2020-04-02}\n", "    when: {until: 2020-04-04}\n",
			"    when: {hours: \"09:00-17:00\"}\n", "    when: {hours: \"Thu-Fri 10:00-16:00\"}\n", "    when: {from: 2020-04-03, until: 2020-04-05}\n"))
	}
	return b.String()
}

// eachRequest visits the requests that the words of overlappingPolicy can tell
// apart, and some that they cannot.
func eachRequest(t *testing.T, program *policy.Program, visit func(*policy.Request)) {
	t.Helper()
	var hosts []policy.Host
	for _, name := range []string{
		"zoom.us", "us04.zoom.us", "x.us04.zoom.us", "ocsp.digicert.com", "webex.com", "hall.example", "a.hall.example", "cdn.hall.example",
		"x.cdn.hall.example", "y.cdn.hall.example", "example", "dns.google", "dns.quad9.net", "a.b", "192.0.2.1", "192.0.2.200", "3.7.35.1", "9.9.9.9",
	} {
		host, err := policy.ParseHost(name)
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, host)
	}
	// A shared name does not become the app's by leading to one of its names,
	// so that a rule for that name alone could still match. Lint ignores it.
	shared := map[string]bool{"ocsp.digicert.com": true, "cdn.hall.example": true, "y.cdn.hall.example": true}
	var subjects []policy.Subject
	for _, addr := range []string{"10.0.0.1", "10.1.0.1", "192.168.0.1", "172.16.0.1"} {
		for _, user := range []string{"", "u1", "u2", "u3"} {
			for _, devices := range [][]string{nil, {"d1"}, {"d2"}} {
				subjects = append(subjects, program.Subject(policy.Identity{Addr: netip.MustParseAddr(addr), User: user, Devices: devices}))
			}
		}
	}
	for _, day := range []int{1, 2, 3, 6} {
		for _, hour := range []int{8, 12, 16} {
			at := time.Date(2020, 4, day, hour, 0, 0, 0, time.UTC)
			for _, subject := range subjects {
				for i, host := range hosts {
					derived := hosts[(i+day+hour)%len(hosts)]
					visit(&policy.Request{Subject: subject, Door: policy.DoorDNS, At: at, Host: host})
					visit(&policy.Request{Subject: subject, Door: policy.DoorProxy, At: at, Host: host, Port: 443})
					if !shared[host.Name()] {
						visit(&policy.Request{Subject: subject, Door: policy.DoorProxy, At: at, Host: host, Port: 80, Derived: []policy.Host{derived}})
					}
				}
			}
		}
	}
}
