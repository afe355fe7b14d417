package e2e

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// kdig repeats the heart of the dig tests with a second, unrelated
// implementation of DNS.
func (tn town) kdig(t *testing.T) {
	need(t, "kdig")
	for _, kind := range []string{"A", "AAAA", "HTTPS", "TXT", "ANY"} {
		for _, transport := range []string{"+notcp", "+tcp"} {
			a := dig(t, "kdig", tn.dns, kind, "us04web.zoom.us", "+edns", transport)
			checkNullMode(t, "us04web.zoom.us", kind, &a)
			if a.ede != memoEDE {
				t.Errorf("%s: extended error %q, want %q\n%s", kind, a.ede, memoEDE, a.raw)
			}
		}
	}
	for _, c := range []struct{ kind, name string }{
		{"A", "www.rockets.example"},
		{"HTTPS", "www.rockets.example"},
		{"TXT", "long.rockets.example"},
		{"A", "nothing.rockets.example"},
		{"A", "alias.rockets.example"},
	} {
		direct := dig(t, "kdig", loopback(tn.upstream), c.kind, c.name)
		through := dig(t, "kdig", tn.dns, c.kind, c.name)
		compareAnswers(t, c.kind+" "+c.name, &direct, &through)
	}
	// One connection, several questions, as stub resolvers with TCP kept open do.
	host, port := split(t, tn.dns)
	r := run(t, t.TempDir(), need(t, "kdig"), "@"+host, "-p", strconv.Itoa(port), "+tcp", "+keepopen", "+short",
		"www.rockets.example", "zoom.us", "zoomlion.com")
	if got, want := strings.Fields(r.stdout), []string{"127.0.0.1", "0.0.0.0", "127.0.0.1"}; !slices.Equal(got, want) {
		t.Errorf("three questions over one connection: %v, want %v\n%s", got, want, r.stderr)
	}
}
