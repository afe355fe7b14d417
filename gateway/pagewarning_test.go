package gateway

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// paged has two rules that answer with the page, and one that does not.
const paged = `version: 1
rules:
  - {name: talk, what: {domains: [talk.example]}, action: block, answer: page}
  - {name: memo, what: {apps: [zoom]}, action: block, answer: page}
  - {name: other, what: {apps: [webex]}, action: block, answer: nxdomain}
default: allow
`

// TestPageThatNobodySees warns where answer: page is asked for, and the portal
// is not where browsers go.
func TestPageThatNobodySees(t *testing.T) {
	for _, test := range []struct{ name, portal, want string }{
		{"off", `""`, "portal.listen is empty"},
		{"default port", "127.0.0.1:8080", "portal.listen is 127.0.0.1:8080"},
		{"any port", "127.0.0.1:0", "portal.listen is 127.0.0.1:0"},
		{"port 80", "127.0.0.1:80", ""},
		{"port 80 of every address", `":80"`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "sallyport.yaml")
			writeFile(t, filepath.Join(dir, "policy.yaml"), paged)
			for _, answer := range []string{"page", "nxdomain"} {
				writeFile(t, path, "portal: {listen: "+test.portal+"}\ndns:\n  block:\n    answer: "+answer+"\n")
				c, problems := ReadConfig(path)
				if c == nil {
					t.Fatal(problems)
				}
				if test.want == "" || answer != "page" {
					if len(problems) > 0 {
						t.Errorf("answer %s: %v", answer, problems)
					}
				} else if len(problems) != 1 || !strings.HasPrefix(problems[0].String(), path+":4:13: warning: ") || !strings.Contains(problems[0].Message, test.want) {
					t.Errorf("answer %s: %v", answer, problems)
				}
				loaded := c.LoadPolicy(time.Now())
				if !loaded.OK() {
					t.Fatal(loaded.All())
				}
				var places []string
				for _, p := range loaded.Problems {
					if strings.Contains(p.Message, "answer: page") {
						places = append(places, strings.TrimPrefix(p.Position.String(), dir+"/"))
					}
				}
				want := "policy.yaml:3:5 policy.yaml:4:5"
				if test.want == "" {
					want = ""
				}
				if got := strings.Join(places, " "); got != want {
					t.Errorf("rules: warnings at %q, want %q", got, want)
				}
			}
		})
	}
}
