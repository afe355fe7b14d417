package gateway

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Series of the policy's metrics.
const (
	modifiedInForce = "sallyport_policy_modified_timestamp_seconds"
	modifiedOnDisk  = "sallyport_policy_file_modified_timestamp_seconds"
	nextEdgeAt      = "sallyport_policy_next_edge_timestamp_seconds"
)

// number is the value of a series; "" where there is none.
func (r *running) number(series string) (value float64, ok bool) {
	r.t.Helper()
	text := r.metric(series)
	if text == "" {
		return 0, false
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		r.t.Fatal(err)
	}
	return value, true
}

// TestPolicyFileTimes follows what the metrics say of when the policy was
// written: in a save, in a copy of the same bytes with another time, and while
// what is on disk cannot be put in force.
func TestPolicyFileTimes(t *testing.T) {
	g := start(t, memo, func(c *Config, _ *Dependencies) { c.Reload.Poll = 20 * time.Millisecond })
	written := time.Now().Add(-time.Hour).Truncate(time.Second)
	stamp := func(age time.Duration) float64 {
		t.Helper()
		at := written.Add(age)
		if err := os.Chtimes(g.policy, at, at); err != nil {
			t.Fatal(err)
		}
		return float64(at.Unix())
	}
	shows := func(inForce, onDisk float64) {
		t.Helper()
		eventually(t, func() error {
			a, _ := g.number(modifiedInForce)
			b, _ := g.number(modifiedOnDisk)
			if a != inForce || b != onDisk {
				return fmt.Errorf("in force %v, on disk %v, want %v and %v", a, b, inForce, onDisk)
			}
			return nil
		})
	}
	for _, age := range []time.Duration{0, time.Minute, -time.Minute} {
		at := stamp(age)
		shows(at, at)
	}
	good := stamp(0)
	shows(good, good)

	writeFile(t, g.policy, "version: 1\nrules: nonsense\n")
	bad := stamp(2 * time.Minute)
	g.wantMetric(`sallyport_policy_last_reload_successful`, "0")
	shows(good, bad)

	writeFile(t, g.policy, memo)
	mended := stamp(3 * time.Minute)
	shows(mended, mended)

	if err := os.Remove(g.policy); err != nil {
		t.Fatal(err)
	}
	if _, there := g.number(modifiedOnDisk); there {
		t.Error("a policy that is not there has a time")
	}
}

// TestPolicyFolderTimes takes the newest of a folder, and nothing that is no
// part of the policy.
func TestPolicyFolderTimes(t *testing.T) {
	dir := t.TempDir()
	at := time.Unix(1_700_000_000, 0)
	for name, age := range map[string]time.Duration{"a.yaml": 0, "b.yaml": time.Hour, "notes.txt": 2 * time.Hour, ".c.yaml": 2 * time.Hour} {
		path := filepath.Join(dir, name)
		writeFile(t, path, "")
		if err := os.Chtimes(path, at.Add(age), at.Add(age)); err != nil {
			t.Fatal(err)
		}
	}
	if newest, ok := newestFile(dir); !ok || !newest.Equal(at.Add(time.Hour)) {
		t.Errorf("%v, %v", newest, ok)
	}
	if newest, ok := newestFile(filepath.Join(dir, "none")); ok {
		t.Errorf("a folder that is not there: %v", newest)
	}
}

// TestPolicyCensus shows rules, exceptions and the next edge at the clock by
// which the gateway decides, and follows an edit.
func TestPolicyCensus(t *testing.T) {
	clock := &clock{}
	clock.set(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	const rules = `
version: 1
timezone: UTC
default: allow
rules:
  - {name: ban, what: {apps: [zoom]}, action: block}
  - {name: coach, what: {domains: [coach.example]}, action: warn}
  - {name: dated, what: {apps: [webex]}, action: block, when: {until: "2026-03-03"}}
  - {name: try, what: {domains: [try.example]}, action: block, enforcement: report-only}
`
	g := start(t, rules+`
exceptions:
  - {name: review, what: {apps: [zoom]}, from: "2026-03-02", until: "2026-03-04", reason: review, approved_by: security}
`, func(_ *Config, d *Dependencies) { d.Now = clock.now })
	day := func(d int) string {
		return strconv.FormatFloat(float64(time.Date(2026, 3, d, 0, 0, 0, 0, time.UTC).Unix()), 'g', -1, 64)
	}
	for _, at := range []struct {
		day                        int
		upcoming, inForce, expired string
		blocking                   string
		edge                       string
	}{
		{1, "1", "0", "0", "2", day(2)},
		{2, "0", "1", "0", "2", day(3)},
		{3, "0", "1", "0", "1", day(4)},
		{4, "0", "0", "1", "1", ""},
	} {
		clock.set(time.Date(2026, 3, at.day, 12, 0, 0, 0, time.UTC))
		for series, want := range map[string]string{
			`sallyport_policy_exceptions{state="upcoming"}`: at.upcoming,
			`sallyport_policy_exceptions{state="in_force"}`: at.inForce,
			`sallyport_policy_exceptions{state="expired"}`:  at.expired,
			`sallyport_policy_rules{action="block"}`:        "2",
			`sallyport_policy_rules{action="warn"}`:         "1",
			`sallyport_policy_rules{action="monitor"}`:      "1",
			`sallyport_policy_rules{action="allow"}`:        "0",

			`sallyport_policy_rules_applying{action="block"}`: at.blocking,
			`sallyport_policy_rules_applying{action="warn"}`:  "1",
			`sallyport_policy_rules_applying{action="allow"}`: "0",

			nextEdgeAt: at.edge,
		} {
			if got := g.metric(series); got != want {
				t.Errorf("on day %d: %s is %q, want %q", at.day, series, got, want)
			}
		}
	}
	before := g.engine.Program().Revision()
	writeFile(t, g.policy, rules)
	g.wantNewRevision(before)
	if got := g.metric(`sallyport_policy_exceptions{state="expired"}`); got != "0" {
		t.Errorf("%s expired exceptions of a policy that has none", got)
	}
}
