package gateway

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/privacy"
)

func TestPrivacySettings(t *testing.T) {
	const full, pseudonym, none = privacy.Full, privacy.Pseudonym, privacy.None
	for text, want := range map[string]privacy.Extents{
		"tenant: x":                   {},
		"audit: {}":                   {},
		"audit: {privacy: {}}":        {},
		"audit: {privacy: full}":      {},
		"audit: {privacy: pseudonym}": {Client: pseudonym, User: pseudonym, Device: pseudonym},
		"audit: {privacy: none}":      {Client: none, User: none, Device: none},
		"audit: {privacy: {client: none, user: pseudonym}}":               {Client: none, User: pseudonym},
		"audit: {privacy: {client: pseudonym, user: none, device: full}}": {Client: pseudonym, User: none, Device: full},
	} {
		c, problems := parseConfig("/etc/sallyport/sallyport.yaml", []byte(text))
		if len(problems) > 0 || c.Audit.Privacy != want {
			t.Errorf("%s: %+v, %v", text, c.Audit.Privacy, problems)
		}
		if c.Audit.Pseudonyms.Rotate != 24*time.Hour || c.PseudonymKeyFile() != "/etc/sallyport/state/pseudonym.key" {
			t.Errorf("%s: %+v, %s", text, c.Audit.Pseudonyms, c.PseudonymKeyFile())
		}
	}
	c, problems := parseConfig("/etc/sallyport/sallyport.yaml", []byte("audit: {privacy: {device: pseudonym}, pseudonyms: {key: fleet.key, rotate: 168h}}"))
	if len(problems) > 0 || c.Audit.Pseudonyms.Rotate != 168*time.Hour || c.PseudonymKeyFile() != "/etc/sallyport/fleet.key" {
		t.Errorf("%+v, %v", c.Audit, problems)
	}
}

func TestPrivacyProblems(t *testing.T) {
	for _, test := range []struct {
		name, yaml, want string
		warning          bool
	}{
		{"a word", "audit: {privacy: pseudonyms}", `f.yaml:1:18: unknown privacy "pseudonyms": did you mean "pseudonym"?`, false},
		{"another word", "audit: {privacy: {user: hash}}", `f.yaml:1:25: unknown user "hash": use full, pseudonym or none`, false},
		{"a list", "audit: {privacy: [user]}", `f.yaml:1:18: "privacy" must be full, pseudonym or none, or a mapping`, false},
		{"nothing", "audit: {privacy: }", `"privacy" must be full, pseudonym or none, or a mapping`, false},
		{"the client alone", "audit: {privacy: {client: pseudonym}}", "f.yaml:1:18: warning: audit.privacy has client: pseudonym and user: full", true},
		{"the user alone", "audit: {privacy: {user: none}}", "f.yaml:1:18: warning: audit.privacy has client: full and user: none", true},
		{"a key", "audit: {privacy: {users: none}}", `unknown key "users" in audit.privacy: did you mean "user"?`, false},
		{"rotate", "audit: {privacy: none, pseudonyms: {rotate: 1m}}", `f.yaml:1:45: `, false},
		{"the place of the key", "audit: {privacy: pseudonym, pseudonym: {key: x}}", `did you mean "pseudonyms"?`, false},
		{"no pseudonyms", "audit: {pseudonyms: {key: x}}", "f.yaml:1:21: warning: audit.pseudonyms does nothing", true},
		{"debug", "audit: {privacy: {client: none, user: none}}\nlog: {level: debug}", "f.yaml:1:18: warning: log.level is debug, and at that level", true},
		{"queries", "audit: {privacy: pseudonym}\nproxy: {access_logs: [{file: a.log, query: keep}]}", `f.yaml:2:30: warning: access log "a.log" keeps the queries of URLs`, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, problems := parseConfig("f.yaml", []byte(test.yaml))
			if len(problems) != 1 || problems.HasErrors() == test.warning || !strings.Contains(problems[0].String(), test.want) {
				t.Errorf("got  %v\nwant %s", problems, test.want)
			}
		})
	}
	for _, text := range []string{
		"audit: {privacy: {device: none}}\nlog: {level: debug}",
		"log: {level: debug}\nproxy: {access_logs: [{file: a.log, query: keep}]}",
	} {
		if _, problems := parseConfig("f.yaml", []byte(text)); len(problems) > 0 {
			t.Errorf("%s: %v", text, problems)
		}
	}
}

// TestConfiguredPseudonymKey: a key that is named must be there, and check says
// what serve would.
func TestConfiguredPseudonymKey(t *testing.T) {
	dir := t.TempDir()
	path, key := filepath.Join(dir, "sallyport.yaml"), filepath.Join(dir, "mine.key")
	writeFile(t, filepath.Join(dir, "policy.yaml"), memo)
	writeFile(t, path, "audit:\n  privacy: pseudonym\n  pseudonyms:\n    key: mine.key\n")
	for _, test := range []struct {
		name  string
		spoil func() error
		want  string
	}{
		{"none", func() error { return nil }, "there is no file"},
		{"short", func() error { return os.WriteFile(key, []byte("0f0f"), 0o600) }, "is not 64 hexadecimal digits"},
		{"open", func() error {
			writeFile(t, key, strings.Repeat("0f", 32))
			return os.Chmod(key, 0o644)
		}, "chmod 600"},
	} {
		if err := test.spoil(); err != nil {
			t.Fatal(err)
		}
		c, problems := CheckConfig(path)
		if len(problems) != 1 || problems[0].Line != 4 || !strings.Contains(problems[0].Message, "audit.pseudonyms.key") || !strings.Contains(problems[0].Message, test.want) {
			t.Errorf("%s: check says %v", test.name, problems)
		}
		if _, err := New(c, Dependencies{}); err == nil || !strings.Contains(err.Error(), "audit.pseudonyms.key") {
			t.Errorf("%s: start says %v", test.name, err)
		}
	}
}
