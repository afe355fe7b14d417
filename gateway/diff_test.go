package gateway

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/sallyport/sallyport/policy"
)

func TestCompare(t *testing.T) {
	rule := func(name string, line int, edit func(*policy.Rule)) policy.Rule {
		r := policy.Rule{
			Position: policy.Position{File: "p.yaml", Line: line},
			Name:     name,
			What: policy.What{
				Position: policy.Position{Line: line},
				Domains:  []policy.Pattern{{Position: policy.Position{Line: line}, Regexp: regexp.MustCompile("a")}},
				Networks: []policy.Network{{Prefix: netip.MustParsePrefix("10.0.0.0/8")}},
			},
			When: policy.When{From: time.Unix(int64(1000), 0), Zone: time.UTC},
		}
		if edit != nil {
			edit(&r)
		}
		return r
	}
	base := []policy.Rule{rule("a", 1, nil), rule("b", 2, nil), rule("c", 3, nil)}
	for _, test := range []struct {
		name  string
		after []policy.Rule
		want  diff
	}{
		{"moved down by a comment", []policy.Rule{rule("a", 11, nil), rule("b", 12, nil), rule("c", 13, nil)}, diff{}},
		{"added", append(slices.Clone(base), rule("d", 4, nil)), diff{added: []string{"d"}}},
		{"removed", base[:2], diff{removed: []string{"c"}}},
		{"reordered", []policy.Rule{base[1], base[0], base[2]}, diff{reordered: true}},
		{"action", []policy.Rule{base[0], rule("b", 2, func(r *policy.Rule) { r.Action = policy.ActionAllow }), base[2]}, diff{changed: []string{"b"}}},
		{"time", []policy.Rule{base[0], rule("b", 2, func(r *policy.Rule) { r.When.From = time.Unix(1001, 0) }), base[2]}, diff{changed: []string{"b"}}},
		{"same time elsewhere", []policy.Rule{base[0], rule("b", 2, func(r *policy.Rule) { r.When.From = r.When.From.In(time.FixedZone("x", 3600)) }), base[2]}, diff{}},
		{"zone", []policy.Rule{base[0], rule("b", 2, func(r *policy.Rule) { r.When.Zone = time.FixedZone("x", 1) }), base[2]}, diff{changed: []string{"b"}}},
		{"regexp", []policy.Rule{base[0], rule("b", 2, func(r *policy.Rule) { r.What.Domains[0].Regexp = regexp.MustCompile("b") }), base[2]}, diff{changed: []string{"b"}}},
		{"prefix", []policy.Rule{base[0], rule("b", 2, func(r *policy.Rule) { r.What.Networks[0].Prefix = netip.MustParsePrefix("10.0.0.0/9") }), base[2]}, diff{changed: []string{"b"}}},
		{"except", []policy.Rule{base[0], rule("b", 2, func(r *policy.Rule) { r.Who.Except = &policy.Who{} }), base[2]}, diff{changed: []string{"b"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := compare(base, test.after, func(r *policy.Rule) string { return r.Name })
			if !slices.Equal(got.added, test.want.added) || !slices.Equal(got.removed, test.want.removed) ||
				!slices.Equal(got.changed, test.want.changed) || got.reordered != test.want.reordered {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestDiffFieldsAreBounded(t *testing.T) {
	fields := diff{added: make([]string, maxNamed+5)}.fields("rules")
	encoder := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(encoder)
	}
	if got := len(encoder.Fields["rules_added"].([]any)); got != maxNamed {
		t.Errorf("%d names are logged, want %d", got, maxNamed)
	}
	if got := encoder.Fields["rules_added_more"]; got != int64(5) {
		t.Errorf("%v more, want 5", got)
	}
}

func TestPolicyDiff(t *testing.T) {
	before := &policy.Document{Default: policy.ActionAllow, Groups: []policy.Group{{Name: "staff"}}}
	after := &policy.Document{Default: policy.ActionBlock, ReportOnly: true, Groups: []policy.Group{{Name: "people"}}}
	var keys []string
	for _, f := range policyDiff(before, after) {
		keys = append(keys, f.Key)
	}
	if got, want := strings.Join(keys, " "), "groups_added groups_removed default report_only"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if f := policyDiff(nil, after); f != nil {
		t.Errorf("the first policy has nothing to differ from: %v", f)
	}
}
