package authority

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/policy/catalogue"
)

func programOf(t testing.TB, text string) *policy.Program {
	t.Helper()
	doc, problems := policy.Parse([]policy.File{{Name: "policy.yaml", Data: []byte("version: 1\n" + text)}})
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	apps, err := catalogue.Apps()
	if err != nil {
		t.Fatal(err)
	}
	lists := map[string]*policy.List{}
	for _, l := range doc.Lists {
		lists[l.Name] = &policy.List{}
	}
	program, problems := policy.Compile(doc, policy.Sources{Catalogue: apps, Lists: lists})
	if program == nil {
		t.Fatal(problems)
	}
	return program
}

func reachOf(t testing.TB, text string) Reach {
	t.Helper()
	p := programOf(t, text)
	return ReachOf(p.Document(), p.Apps())
}

const rocketApps = `
apps:
  calls: {category: conferencing-small, domains: [calls.example, =only.calls.example, {domain: cdn.example, role: shared}]}
  chats: {category: conference, domains: [chats.example]}
`

func TestReach(t *testing.T) {
	for _, test := range []struct {
		name, rules string
		names       string
		wider       string
	}{
		{"by app", "rules: [{name: r, what: {apps: [calls]}, action: block}]", "calls.example", ""},
		{"warned of", "rules: [{name: r, what: {apps: [calls, chats]}, action: warn}]", "calls.example chats.example", ""},
		{"by category, which has others below it", "rules: [{name: r, what: {categories: [conferencing-small]}, action: block}]", "calls.example", ""},
		{"by domain, of every kind", `rules: [{name: r, what: {domains: [b.example, "=a.example", "*.c.example", x.b.example]}, action: block}]`, "a.example b.example c.example", ""},
		{"rehearsed", "rules: [{name: r, what: {domains: [a.example]}, action: block, enforcement: report-only}]", "a.example", ""},
		{"allowed and watched", "rules: [{name: r, what: {apps: [calls]}, action: allow}, {name: s, what: {domains: [a.example]}, action: monitor}]", "", ""},
		{"at the DNS door only", "rules: [{name: r, what: {apps: [calls]}, action: block, doors: [dns]}]", "", ""},
		{"at the proxy only", "rules: [{name: r, what: {domains: [a.example]}, action: block, doors: [proxy]}]", "a.example", ""},
		{"by address", "rules: [{name: r, what: {networks: [192.0.2.0/24]}, action: block}]", "", ""},
		{"everything at times", "rules: [{name: r, when: {hours: 'Mon-Fri 09:00-17:00'}, action: block}]", "", `rule "r" refuses every name`},
		{"everything on a port", "rules: [{name: r, what: {ports: [443]}, action: block}]", "", `rule "r" refuses every name`},
		{"by pattern", `rules: [{name: r, what: {domains: ["/^meet[0-9]+[.]/", a.example]}, action: block}]`, "a.example", `rule "r" refuses names by the pattern /^meet[0-9]+[.]/`},
		{"by list", "lists: {ads: {file: ads.txt}}\nrules: [{name: r, what: {lists: [ads]}, action: block}]", "", `rule "r" refuses the list "ads"`},
		{"by default", "default: block\nrules: [{name: r, what: {domains: [a.example]}, action: block}]", "a.example", "the policy's default is block"},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := test.rules + rocketApps
			if !strings.Contains(text, "default:") {
				text += "default: allow\n"
			}
			r := reachOf(t, text)
			if got := strings.Join(r.Names, " "); got != test.names {
				t.Errorf("names %q, want %q", got, test.names)
			}
			if got := strings.Join(r.Wider, "; "); !strings.HasPrefix(got, test.wider) || test.wider == "" && got != "" {
				t.Errorf("wider %q, want %q", got, test.wider)
			}
		})
	}
}

// TestReachOfCategories takes every app of the catalogue, and fits into one
// certificate.
func TestReachOfCategories(t *testing.T) {
	r := reachOf(t, "default: allow\nrules: [{name: r, what: {categories: [conferencing, bypass]}, action: block}]")
	if len(r.Names) < 100 || len(r.Wider) > 0 {
		t.Fatalf("%d names, wider %v", len(r.Names), r.Wider)
	}
	joined := " " + strings.Join(r.Names, " ") + " "
	for _, name := range []string{"zoom.us", "mask.icloud.com", "cloudflare-dns.com"} {
		if !strings.Contains(joined, " "+name+" ") {
			t.Errorf("%s is not among them", name)
		}
	}
	c := certificateOf(t, mustCreate(t, options(r.Names...)))
	if beyond := r.Beyond(c); len(beyond) > 0 {
		t.Errorf("beyond an authority made for them: %v", beyond)
	}
	if beyond := r.Beyond(certificateOf(t, mustCreate(t, options("zoom.us")))); len(beyond) != len(r.Names)-1 {
		t.Errorf("%d of %d names are beyond an authority for one", len(beyond), len(r.Names))
	}
}

func TestReachOfTooMany(t *testing.T) {
	names := make([]string, maxPermitted+1)
	for i := range names {
		names[i] = fmt.Sprintf("n%d.example", i)
	}
	r := reachOf(t, "default: allow\nrules: [{name: r, what: {domains: ["+strings.Join(names, ", ")+"]}, action: block}]")
	if len(r.Wider) != 1 || !strings.Contains(r.Wider[0], "refuses 1001 names: at most 1000") {
		t.Errorf("wider %v", r.Wider)
	}
}
