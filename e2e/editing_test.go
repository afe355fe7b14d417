package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestEdits changes the policy under the running binary. Whatever goes wrong
// with an edit, the last good policy decides, and says what is wrong.
func TestEdits(t *testing.T) {
	sallyport(t)
	upstream := startUnbound(t)
	good := readFile(t, "testdata/policy.yaml")
	g := startGateway(t, setting{Upstream: upstream}, good)
	path := filepath.Join(g.dir, "policy.yaml")

	for _, c := range []struct {
		name string
		edit func(t *testing.T)
		log  []string // what standard error must tell about it
	}{
		{"bad indentation", g.writes(changed(t, good, "groups:\n  employees:", "groups:\n employees:")), []string{"policy.yaml:"}},
		{"unknown app", g.writes(changed(t, good, "apps: [zoom]", "apps: [zom]")), []string{"policy.yaml:13:", `did you mean \"zoom\"?`}},
		{"failing own test", g.writes(changed(t, good, "want: block, by: zoom-memo", "want: allow")), []string{"policy.yaml:"}},
		{"empty file", g.writes(""), []string{"policy.yaml", "empty"}},
		{"half-written file", func(t *testing.T) {
			writeFile(t, path, []byte(good[:len(good)/2])) // in place, and the rest does not come
		}, []string{"policy.yaml"}},
		{"file removed", func(t *testing.T) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, []string{"policy.yaml", "there is no policy"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			logged := len(g.stderr.String())
			c.edit(t)
			eventually(t, "the failed edit is told", func() error { return g.wantReload(t, 0) })
			g.wantRefused(t, "zoom.us.")
			code, body := g.get(t, "/readyz")
			if code != 200 || !strings.Contains(body, "policy") {
				t.Errorf("/readyz: %d %q, want 200 and what is wrong with the policy", code, body)
			}
			eventually(t, "the log tells place and remedy", func() error {
				text := g.stderr.String()[logged:]
				for _, word := range c.log {
					if !strings.Contains(text, word) && !strings.Contains(text, strings.ReplaceAll(word, `\"`, `"`)) {
						return fmt.Errorf("no %q in:\n%s", word, text)
					}
				}
				return nil
			})

			g.rewrite(t, good)
			eventually(t, "the same good bytes set it right", func() error { return g.wantReload(t, 1) })
			g.wantRefused(t, "zoom.us.")
			if code, body := g.get(t, "/readyz"); code != 200 || strings.Contains(body, "policy.yaml") {
				t.Errorf("/readyz after the repair: %d %q", code, body)
			}
		})
	}

	t.Run("good edit", func(t *testing.T) {
		before := g.metric(t, "sallyport_policy_time_to_enforce_seconds_count")
		g.rewrite(t, changed(t, good, "domains: [null.mode.example]", "domains: [null.mode.example, zoomlion.com]"))
		eventually(t, "the DNS door enforces the edit", func() error { return g.refused("zoomlion.com.") })
		g.wantMetric(t, before+1, "sallyport_policy_time_to_enforce_seconds_count")
		t.Logf("time to enforce, mean over %v edits: %.1f ms", before+1,
			1000*g.metric(t, "sallyport_policy_time_to_enforce_seconds_sum")/(before+1))
	})

	t.Run("SIGHUP", func(t *testing.T) {
		g.wantRefused(t, "zoom.us.")
		log := filepath.Join(g.dir, "decisions.jsonl")
		eventually(t, "the decision log is written", func() error { return exists(log) })
		if err := os.Rename(log, log+".1"); err != nil {
			t.Fatal(err)
		}
		before := g.metric(t, "sallyport_policy_reloads_total")
		g.signal(t, syscall.SIGHUP)
		eventually(t, "SIGHUP opens the decision log again", func() error { return exists(log) })
		eventually(t, "SIGHUP reads the policy again", func() error {
			if g.metric(t, "sallyport_policy_reloads_total") <= before {
				return errors.New("no reload was counted")
			}
			return nil
		})
		g.wantRefused(t, "us04web.zoom.us.")
		g.logged(t, "the decision after the rotation", func(e entry) bool { return e.Host == "us04web.zoom.us" })
	})
}

func (g *gateway) writes(policy string) func(*testing.T) {
	return func(t *testing.T) { g.rewrite(t, policy) }
}

func (g *gateway) wantReload(t *testing.T, successful float64) error {
	t.Helper()
	if got := g.metric(t, "sallyport_policy_last_reload_successful"); got != successful {
		return fmt.Errorf("sallyport_policy_last_reload_successful is %v", got)
	}
	return nil
}

func (g *gateway) wantRefused(t *testing.T, name string) {
	t.Helper()
	if err := g.refused(name); err != nil {
		t.Error(err)
	}
}

// refused asks the DNS door for an address and wants 0.0.0.0.
func (g *gateway) refused(name string) error {
	address, err := addressOf(g.dns, name)
	if err == nil && address != [4]byte{} {
		err = fmt.Errorf("%s is answered with %v", name, address)
	}
	return err
}

// answered asks the DNS door for an address and wants the real one.
func (g *gateway) answered(name string) error {
	address, err := addressOf(g.dns, name)
	if err == nil && address != [4]byte{127, 0, 0, 1} {
		err = fmt.Errorf("%s is answered with %v", name, address)
	}
	return err
}

func exists(path string) error {
	_, err := os.Stat(path)
	return err
}
