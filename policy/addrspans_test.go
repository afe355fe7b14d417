package policy

import (
	"net/netip"
	"testing"
)

// TestSpans walks the spans of a policy: they must cover every address once, and
// begin at each boundary that the policy mentions.
func TestSpans(t *testing.T) {
	p := compileForSpans(t, `
version: 1
default: allow
groups: {desks: {networks: [10.0.0.0/8, "fd00::/32"]}}
apps:
  hall: {name: Hall, category: conferencing, networks: [192.0.2.0/25, "2001:db8:1::/48"]}
rules:
  - {name: hall, who: {groups: [desks], except: {networks: [10.1.0.0/16]}}, what: {apps: [hall], except: {networks: [192.0.2.7/32]}}, action: block}
`)
	for _, c := range []struct {
		name  string
		spans []AddrRange
		at    []string
	}{
		{"destinations", p.DestinationSpans(), []string{"0.0.0.0", "192.0.2.0", "192.0.2.7", "192.0.2.8", "192.0.2.128", "::", "2001:db8:1::", "2001:db8:2::"}},
		{"clients", p.ClientSpans(), []string{"0.0.0.0", "10.0.0.0", "10.1.0.0", "10.2.0.0", "11.0.0.0", "::", "fd00::", "fd00:1::"}},
	} {
		first := map[netip.Addr]bool{}
		for i, s := range c.spans {
			first[s.First] = true
			if s.Last.Less(s.First) {
				t.Errorf("%s: %v ends before it begins", c.name, s)
			}
			if i > 0 && c.spans[i-1].Last.BitLen() == s.First.BitLen() && c.spans[i-1].Last.Next() != s.First {
				t.Errorf("%s: %v follows %v", c.name, s, c.spans[i-1])
			}
		}
		for _, a := range c.at {
			if !first[netip.MustParseAddr(a)] {
				t.Errorf("%s: no span begins at %s: %v", c.name, a, c.spans)
			}
		}
		last := c.spans[len(c.spans)-1].Last
		if last != netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff") {
			t.Errorf("%s: the last address is %v", c.name, last)
		}
	}
}

func compileForSpans(t *testing.T, text string) *Program {
	t.Helper()
	doc, problems := Parse([]File{{Name: "policy.yaml", Data: []byte(text)}})
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	p, problems := Compile(doc, Sources{Revision: "test"})
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	return p
}
