package e2e

import (
	"strings"
	"testing"
)

// TestDeadUpstream leaves the gateway without a resolver: what is forbidden is
// refused all the same, and the rest fails soon and says why.
func TestDeadUpstream(t *testing.T) {
	sallyport(t)
	g := startGateway(t, setting{Upstream: freePort(t)}, readFile(t, "testdata/policy.yaml"))
	refused := dig(t, "dig", g.dns, "A", "zoom.us")
	checkNullMode(t, "zoom.us", "A", &refused)
	failed := dig(t, "dig", g.dns, "A", "www.rockets.example")
	if failed.status != "SERVFAIL" || !(strings.HasPrefix(failed.ede, "22") || strings.HasPrefix(failed.ede, "23")) {
		t.Errorf("without a resolver: status %s, extended error %q, want SERVFAIL and 22 or 23", failed.status, failed.ede)
	}
}
