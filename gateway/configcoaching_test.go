package gateway

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCoachingSettings(t *testing.T) {
	for text, want := range map[string]string{
		"portal: {url: http://gate.corp.example:8080}":     "http://gate.corp.example:8080",
		"portal: {url: HTTPS://Gate.Corp.Example/}":        "https://gate.corp.example",
		`portal: {url: "http://[2001:db8::1]:80"}`:         "http://[2001:db8::1]:80",
		`portal: {url: ""}`:                                "",
		"portal: {url: gate.corp.example}":                 "is not the address of the portal",
		"portal: {url: ftp://gate.corp.example}":           "is not the address of the portal",
		"portal: {url: http://gate.corp.example/continue}": "is not the address of the portal",
		"portal: {url: 'http://gate.corp.example?x=y'}":    "is not the address of the portal",
		"portal: {url: http://me@gate.corp.example}":       "is not the address of the portal",
		"portal: {url: http://}":                           "is not the address of the portal",
		"portal: {url: http://gate.corp.example:70000}":    "port 70000",
		`portal: {url: "http://a b/"}`:                     "is not the address of the portal",
		"coaching: {keys: x}":                              `did you mean "key"?`,
	} {
		c, problems := parseConfig("f.yaml", []byte(text))
		if len(problems) > 0 {
			if !strings.Contains(problems[0].String(), want) || want == "" {
				t.Errorf("%s: %v", text, problems)
			}
			continue
		}
		if c.Portal.URL != want {
			t.Errorf("%s: %q, want %q", text, c.Portal.URL, want)
		}
	}
	c, problems := parseConfig("/etc/sallyport/sallyport.yaml", []byte("coaching: {key: coaching.key}\nportal: {url: http://gate.corp.example, hosts: [other.corp.example]}"))
	if len(problems) > 0 || c.Coaching.Key != "/etc/sallyport/coaching.key" || !slices.Equal(c.Portal.names(), []string{"other.corp.example", "gate.corp.example"}) {
		t.Errorf("%+v, %v", c, problems)
	}
}

// TestConfiguredKey: a key that is named must be there, and check says so.
func TestConfiguredKey(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sallyport.yaml")
	writeFile(t, filepath.Join(dir, "policy.yaml"), coached)
	writeFile(t, path, "coaching:\n  key: mine.key\n")
	for _, test := range []struct {
		name  string
		spoil func()
		want  string
	}{
		{"none", func() {}, `coaching.key: there is no file`},
		{"open", func() {
			writeFile(t, filepath.Join(dir, "mine.key"), strings.Repeat("0f", 32))
			_ = os.Chmod(filepath.Join(dir, "mine.key"), 0o644)
		}, "chmod 600"},
		{"good", func() { _ = os.Chmod(filepath.Join(dir, "mine.key"), 0o600) }, ""},
	} {
		test.spoil()
		c, problems := CheckConfig(path)
		if test.want == "" != (len(problems) == 0) || test.want != "" && (!strings.Contains(problems[0].Message, test.want) || problems[0].Line != 2) {
			t.Errorf("%s: check says %v", test.name, problems)
		}
		g, err := New(c, Dependencies{})
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), "coaching.key") {
			t.Errorf("%s: start says %v", test.name, err)
		}
		if g != nil {
			if err := g.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "state")); !os.IsNotExist(err) {
		t.Errorf("a key of its own was made: %v", err)
	}
}
