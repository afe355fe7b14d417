package gateway

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAuthorityWarnings: names that are refused without a page are said, once,
// by check and by every load of the policy.
func TestAuthorityWarnings(t *testing.T) {
	const policyText = `version: 1
rules:
  - {name: ban, what: {domains: [zoom.us, zoom.com]}, action: block}
  - {name: open, what: {domains: [jitsi.example]}, action: allow}
default: allow
`
	var many strings.Builder
	for i := range 12 {
		fmt.Fprintf(&many, "a%02d.example, ", i)
	}
	for _, test := range []struct {
		name   string
		permit []string // none: everything
		policy string
		on     bool
		want   string // "": nothing is warned of
	}{
		{"may sign for all", nil, policyText, true, ""},
		{"may sign for them", []string{"zoom.us", "zoom.com"}, policyText, true, ""},
		{"one is missing", []string{"zoom.us"}, policyText, true, `may not sign for, and that are refused without a page: zoom.com: sallyport ca init`},
		{"many are missing", []string{"zoom.us"}, strings.Replace(policyText, "zoom.com", many.String()+"zoom.us", 1), true, "a08.example, a09.example and 2 more: sallyport"},
		{"switched off", []string{"zoom.us"}, policyText, false, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			writeAuthority(t, dir, 365*24*time.Hour, test.permit...)
			writeFile(t, filepath.Join(dir, "policy.yaml"), test.policy)
			config := filepath.Join(dir, "sallyport.yaml")
			text := "policy: policy.yaml\n"
			if test.on {
				text += "proxy: {interception: {ca: ca.crt, key: ca.key}}\n"
			}
			writeFile(t, config, text)
			c, problems := CheckConfig(config)
			if problems.HasErrors() {
				t.Fatal(problems)
			}
			var said []string
			for _, problem := range c.LoadPolicy(time.Now()).All() {
				if strings.Contains(problem.Message, "proxy.interception") {
					said = append(said, problem.String())
				}
			}
			if test.want == "" {
				if len(said) > 0 {
					t.Errorf("said %q", said)
				}
				return
			}
			if len(said) != 1 || !strings.Contains(said[0], test.want) || !strings.HasPrefix(said[0], config) {
				t.Errorf("said %q, want %q", said, test.want)
			}
		})
	}
}
