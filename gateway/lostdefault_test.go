package gateway

import (
	"strings"
	"testing"
)

// A policy that was cut off before its default is not taken over, however long
// it stays so: it would let through what it no longer names.
func TestLostDefaultIsNotTakenOver(t *testing.T) {
	g := start(t, guarded, nil)
	before := g.engine.Program().Revision()
	short, _, _ := strings.Cut(guarded, "  - name: tracked")
	writeFile(t, g.policy, short)
	g.wantMetric("sallyport_policy_last_reload_successful", "0")
	if now := g.engine.Program().Revision(); now != before {
		t.Fatalf("revision %s took over from %s", now, before)
	}
	if _, body := g.get("/readyz"); !strings.Contains(body, "default: allow") {
		t.Errorf("readiness does not name the remedy: %s", body)
	}
	writeFile(t, g.policy, short+"default: allow\n")
	g.wantNewRevision(before)
	g.wantMetric("sallyport_policy_last_reload_successful", "1")
}
