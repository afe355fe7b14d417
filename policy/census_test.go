package policy_test

import (
	"maps"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// TestExceptionStates walks through the life of exceptions with a date, with
// hours, and with both.
func TestExceptionStates(t *testing.T) {
	p := compileText(t, `
version: 1
timezone: UTC
default: allow
rules:
  - {name: ban, what: {domains: [zoom.example]}, action: block}
exceptions:
  - {name: dated, what: {domains: [a.zoom.example]}, from: "2026-03-02", until: "2026-03-04", reason: x, approved_by: y}
  - {name: hourly, what: {domains: [b.zoom.example]}, from: "2026-03-02", until: "2026-03-05", when: {hours: ["Mon-Fri 09:00-17:00"]}, reason: x, approved_by: y}
`, nil)
	for _, tc := range []struct {
		at   string
		want policy.ExceptionStates
	}{
		{"2026-03-01T12:00:00Z", policy.ExceptionStates{Upcoming: 2}},
		{"2026-03-02T08:00:00Z", policy.ExceptionStates{Upcoming: 1, InForce: 1}},
		{"2026-03-02T09:00:00Z", policy.ExceptionStates{InForce: 2}},
		{"2026-03-03T17:00:00Z", policy.ExceptionStates{Upcoming: 1, InForce: 1}},
		{"2026-03-04T12:00:00Z", policy.ExceptionStates{InForce: 1, Expired: 1}},
		{"2026-03-04T17:00:00Z", policy.ExceptionStates{Expired: 2}},
		{"2027-01-01T00:00:00Z", policy.ExceptionStates{Expired: 2}},
	} {
		at, err := time.Parse(time.RFC3339, tc.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.ExceptionStates(at); got != tc.want {
			t.Errorf("at %s: %+v, want %+v", tc.at, got, tc.want)
		}
	}
}

func TestRuleActions(t *testing.T) {
	const rules = `
rules:
  - {name: one, what: {domains: [a.example]}, action: block}
  - {name: two, what: {domains: [b.example]}, action: block, enforcement: report-only}
  - {name: three, what: {domains: [c.example]}, action: warn}
  - {name: four, what: {domains: [d.example]}, action: allow}
  - {name: five, what: {domains: [e.example]}, action: monitor}
exceptions:
  - {name: not-a-rule, what: {domains: [f.a.example]}, until: "2030-01-01", reason: x, approved_by: y}
`
	for _, tc := range []struct {
		top  string
		want map[policy.Action]int
	}{
		{"version: 1\ndefault: block\n",
			map[policy.Action]int{policy.ActionBlock: 1, policy.ActionWarn: 1, policy.ActionAllow: 1, policy.ActionMonitor: 2}},
		{"version: 1\ndefault: allow\nenforcement: report-only\n",
			map[policy.Action]int{policy.ActionBlock: 0, policy.ActionWarn: 0, policy.ActionAllow: 1, policy.ActionMonitor: 4}},
	} {
		if got := compileText(t, tc.top+rules, nil).RuleActions(); !maps.Equal(got, tc.want) {
			t.Errorf("%q: %v, want %v", tc.top, got, tc.want)
		}
	}
}

// TestRuleActionsAt walks over a working day and past a ban's end.
func TestRuleActionsAt(t *testing.T) {
	p := compileText(t, `
version: 1
timezone: UTC
default: allow
rules:
  - {name: lunch, what: {domains: [a.example]}, action: allow, when: {hours: ["Mon-Fri 12:00-13:00"]}}
  - {name: hours, what: {domains: [a.example]}, action: block, when: {hours: ["Mon-Fri 09:00-17:00"]}}
  - {name: dated, what: {domains: [b.example]}, action: block, when: {until: "2026-03-03"}}
  - {name: always, what: {domains: [c.example]}, action: warn}
  - {name: try, what: {domains: [d.example]}, action: block, enforcement: report-only, when: {from: "2026-03-03"}}
exceptions:
  - {name: not-a-rule, what: {domains: [f.b.example]}, until: "2030-01-01", reason: x, approved_by: y}
`, nil)
	for _, tc := range []struct {
		at                          string
		block, warn, allow, monitor int
	}{
		{"2026-03-02T08:59:59Z", 1, 1, 0, 0},
		{"2026-03-02T09:00:00Z", 2, 1, 0, 0},
		{"2026-03-02T12:00:00Z", 2, 1, 1, 0},
		{"2026-03-02T17:00:00Z", 1, 1, 0, 0},
		{"2026-03-03T00:00:00Z", 0, 1, 0, 1},
	} {
		at, err := time.Parse(time.RFC3339, tc.at)
		if err != nil {
			t.Fatal(err)
		}
		want := map[policy.Action]int{policy.ActionBlock: tc.block, policy.ActionWarn: tc.warn, policy.ActionAllow: tc.allow, policy.ActionMonitor: tc.monitor}
		if got := p.RuleActionsAt(at); !maps.Equal(got, want) {
			t.Errorf("at %s: %v, want %v", tc.at, got, want)
		}
	}
}
