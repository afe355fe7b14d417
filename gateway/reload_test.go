package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	successful = "sallyport_policy_last_reload_successful"
	failures   = `sallyport_policy_reloads_total{result="failure"}`
	enforced   = "sallyport_policy_time_to_enforce_seconds_count"
)

// slowPoll makes sure that it is the watch that notices.
func slowPoll(c *Config, _ *Dependencies) { c.Reload.Poll = time.Hour }

// TestEdit lifts a ban and brings it back.
func TestEdit(t *testing.T) {
	g := start(t, memo, slowPoll)
	first := g.engine.Program().Revision()
	writeFile(t, g.policy, open)
	g.wantNewRevision(first)
	if g.blockedByDNS("zoom.us") {
		t.Error("the DNS door still refuses")
	}
	second := g.engine.Program().Revision()
	writeFile(t, g.policy, memo)
	g.wantNewRevision(second)
	if !g.blockedByDNS("zoom.us") {
		t.Error("the DNS door lets it through")
	}
	if now := g.engine.Program().Revision(); now != first {
		t.Errorf("the same bytes have two revisions, %s and %s", first, now)
	}
	g.wantMetric(enforced, "2")
	g.wantMetric(`sallyport_policy_info{revision="`+first+`"}`, "1")
	g.wantMetric(`sallyport_policy_info{revision="`+second+`"}`, "") // which leaves after the other has come
	for _, entry := range g.log.FilterMessage("policy in force").All() {
		fields := entry.ContextMap()
		if fmt.Sprint(fields["rules_added"]) == "<nil>" || fmt.Sprint(fields["rules_removed"]) == "<nil>" {
			t.Errorf("the log does not say what the edit was: %v", fields)
		}
	}
}

// TestBrokenEdits makes every mistake in turn: the old policy goes on, and
// metric, readiness and log say so; the good bytes again set it right.
func TestBrokenEdits(t *testing.T) {
	g := start(t, memo, slowPoll)
	revision := g.engine.Program().Revision()
	write := func(text string) func() { return func() { writeFile(t, g.policy, text) } }
	for i, test := range []struct {
		name  string
		spoil func()
		want  string
	}{
		{"bad indentation", write(strings.Replace(memo, "    who:", "   who:", 1)), "policy.yaml:"},
		{"unknown app", write(strings.Replace(memo, "[zoom]", "[zom]", 1)), `unknown app "zom": did you mean "zoom"?`},
		{"empty file", write(""), "policy.yaml:1:1: the file is empty"},
		{"half a file", write(memo[:strings.Index(memo, "block")-2]), "policy.yaml:"},
		{"removed", func() {
			if err := os.Remove(g.policy); err != nil {
				t.Fatal(err)
			}
		}, "there is no policy at"},
		{"fails its own tests", write(memo + "tests:\n  - {who: {ip: 127.0.0.1}, what: zoom.us, want: allow}\n"), "test failed"},
		{"a folder in its place", func() {
			if err := errors.Join(os.Remove(g.policy), os.Mkdir(g.policy, 0o700)); err != nil {
				t.Fatal(err)
			}
		}, "holds no *.yaml"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.spoil()
			g.wantMetric(successful, "0")
			if now := g.engine.Program().Revision(); now != revision || !g.blockedByDNS("zoom.us") {
				t.Error("the old policy does not decide any more")
			}
			status, body := g.get("/readyz")
			if status != http.StatusOK || !strings.Contains(body, test.want) || !strings.Contains(body, "revision "+revision+" keeps deciding") {
				t.Errorf("readyz: %d %s", status, body)
			}
			failed := g.log.FilterMessageSnippet("policy not loaded").All()
			// A folder takes the place of a file in two steps, and both may be seen.
			if more := len(failed) - (i + 1); more < 0 || more > 0 && test.name != "a folder in its place" {
				t.Fatalf("%d failures are logged, want %d: one for each edit", len(failed), i+1)
			}
			if problems := fmt.Sprint(failed[len(failed)-1].ContextMap()["problems"]); !strings.Contains(problems, test.want) {
				t.Errorf("the log has %s, want %s", problems, test.want)
			}
			g.wantMetric(failures, strconv.Itoa(i+1))

			_ = os.Remove(g.policy) // where it is a folder
			writeFile(t, g.policy, memo)
			g.wantMetric(successful, "1")
			if _, body := g.get("/readyz"); body != "ready\n" {
				t.Errorf("all is well again, and readyz says %s", body)
			}
		})
	}
	if n := g.metric(enforced); n != "0" {
		t.Errorf("%s edits were enforced, and there was none", n)
	}
}

// TestWaysOfSaving edits the policy as editors and orchestrators do.
func TestWaysOfSaving(t *testing.T) {
	must := func(t *testing.T, errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name  string
		lay   func(t *testing.T, dir string) (policy string)
		write func(t *testing.T, dir string)
	}{
		{"rename over the old file", func(t *testing.T, dir string) string {
			writeFile(t, filepath.Join(dir, "policy.yaml"), memo)
			return filepath.Join(dir, "policy.yaml")
		}, func(t *testing.T, dir string) {
			writeFile(t, filepath.Join(dir, ".policy.yaml.swp"), open)
			must(t, os.Rename(filepath.Join(dir, ".policy.yaml.swp"), filepath.Join(dir, "policy.yaml")))
		}},
		{"move away and write anew", func(t *testing.T, dir string) string {
			writeFile(t, filepath.Join(dir, "policy.yaml"), memo)
			return filepath.Join(dir, "policy.yaml")
		}, func(t *testing.T, dir string) {
			must(t, os.Rename(filepath.Join(dir, "policy.yaml"), filepath.Join(dir, "policy.yaml~")))
			writeFile(t, filepath.Join(dir, "policy.yaml"), open)
		}},
		{"symbolic link of Kubernetes", func(t *testing.T, dir string) string {
			must(t, os.Mkdir(filepath.Join(dir, "..v1"), 0o700))
			writeFile(t, filepath.Join(dir, "..v1", "policy.yaml"), memo)
			must(t, os.Symlink("..v1", filepath.Join(dir, "..data")),
				os.Symlink(filepath.Join("..data", "policy.yaml"), filepath.Join(dir, "policy.yaml")))
			return filepath.Join(dir, "policy.yaml")
		}, func(t *testing.T, dir string) {
			must(t, os.Mkdir(filepath.Join(dir, "..v2"), 0o700))
			writeFile(t, filepath.Join(dir, "..v2", "policy.yaml"), open)
			must(t, os.Symlink("..v2", filepath.Join(dir, "..data_tmp")),
				os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")),
				os.RemoveAll(filepath.Join(dir, "..v1")))
		}},
		{"link to a file elsewhere", func(t *testing.T, dir string) string {
			must(t, os.Mkdir(filepath.Join(dir, "etc"), 0o700), os.Mkdir(filepath.Join(dir, "store"), 0o700))
			writeFile(t, filepath.Join(dir, "store", "p.yaml"), memo)
			must(t, os.Symlink(filepath.Join("..", "store", "p.yaml"), filepath.Join(dir, "etc", "policy.yaml")))
			return filepath.Join(dir, "etc", "policy.yaml")
		}, func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, "store", "p.yaml"), open) }},
		{"a file joins a folder", func(t *testing.T, dir string) string {
			must(t, os.Mkdir(filepath.Join(dir, "policy.d"), 0o700))
			writeFile(t, filepath.Join(dir, "policy.d", "50-memo.yaml"), memo)
			return filepath.Join(dir, "policy.d")
		}, func(t *testing.T, dir string) {
			writeFile(t, filepath.Join(dir, "policy.d", "10-lift.yaml"), "rules: [{name: lift, what: {apps: [zoom]}, action: allow}]")
		}},
		{"in pieces", func(t *testing.T, dir string) string {
			writeFile(t, filepath.Join(dir, "policy.yaml"), memo)
			return filepath.Join(dir, "policy.yaml")
		}, func(t *testing.T, dir string) {
			f, err := os.Create(filepath.Join(dir, "policy.yaml"))
			must(t, err)
			for line := range strings.Lines(open) {
				_, err := f.WriteString(line)
				must(t, err, f.Sync())
			}
			must(t, f.Close())
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			g := startWith(t, test.lay(t, dir), slowPoll)
			if !g.blockedByDNS("zoom.us") {
				t.Fatal("the first policy does not decide")
			}
			first := g.engine.Program().Revision()
			test.write(t, dir)
			g.wantNewRevision(first)
			eventually(t, func() error {
				if g.blockedByDNS("zoom.us") {
					return errors.New("the edit is not in force")
				}
				return nil
			})
			g.wantMetric(successful, "1")
		})
	}
}

// TestPollNoticesWhatTheWatchDoesNot edits behind a link that nobody watches.
func TestPollNoticesWhatTheWatchDoesNot(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"v1": memo, "v2": open} {
		if err := os.MkdirAll(filepath.Join(dir, "store", name), 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, "store", name, "policy.yaml"), text)
	}
	link := filepath.Join(dir, "store", "now")
	if err := os.Symlink("v1", link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join("store", "now", "policy.yaml"), filepath.Join(dir, "policy.yaml")); err != nil {
		t.Fatal(err)
	}
	g := startWith(t, filepath.Join(dir, "policy.yaml"), func(c *Config, _ *Dependencies) { c.Reload.Poll = 20 * time.Millisecond })
	first := g.engine.Program().Revision()
	if err := errors.Join(os.Symlink("v2", link+"2"), os.Rename(link+"2", link)); err != nil {
		t.Fatal(err)
	}
	g.wantNewRevision(first)
	g.wantMetric(enforced, "1")
}

// TestStartOfAnEdit takes the time stamp of what was written for the start, but
// not one that was copied with the file.
func TestStartOfAnEdit(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	const poll = 10 * time.Second
	for _, test := range []struct {
		by    string
		age   time.Duration // of the file, at the first look
		want  time.Duration // before the first look
		known bool
	}{
		{byEdit, 3 * time.Millisecond, 3 * time.Millisecond, true},
		{byEdit, -time.Millisecond, 0, true}, // written on
		{byEdit, 2 * time.Minute, 0, true},   // moved here: the event is the edit
		{byPoll, 9 * time.Second, 9 * time.Second, true},
		{byPoll, staleWrite + poll - 1, staleWrite + poll - 1, true},
		{byPoll, staleWrite + poll, 0, false},
		{byPoll, -time.Millisecond, 0, false},
		{bySignal, time.Second, 0, false},
		{byRequest, time.Second, 0, false},
	} {
		got, known := trigger{name: test.by, at: at}.start(at.Add(-test.age), poll)
		if before := at.Sub(got); before != test.want || known != test.known {
			t.Errorf("%s of a file %v old: %v before, known %v; want %v, %v", test.by, test.age, before, known, test.want, test.known)
		}
	}
}

func TestReloadByRequest(t *testing.T) {
	g := start(t, memo, slowPoll)
	status, body := g.http("POST", "/-/reload")
	if status != http.StatusOK || !strings.Contains(body, `"changed": false`) {
		t.Errorf("nothing changed: %d %s", status, body)
	}
	writeFile(t, g.policy, "version: 1\nrules: [{name: x, what: {apps: [zom]}, action: block}]\n")
	status, body = g.http("POST", "/-/reload")
	if status != http.StatusUnprocessableEntity || !strings.Contains(body, `"line": 2`) || !strings.Contains(body, `did you mean \"zoom\"?`) {
		t.Errorf("a bad policy: %d %s", status, body)
	}
	writeFile(t, g.policy, open)
	status, body = g.http("POST", "/-/reload")
	if status != http.StatusOK || !strings.Contains(body, `"loaded": true`) || g.blockedByDNS("zoom.us") {
		t.Errorf("a good policy: %d %s", status, body)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.reloader.ask(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits any more: %v", err)
	}
}

func TestHangup(t *testing.T) {
	hangup := make(chan os.Signal, 1)
	dir := t.TempDir()
	log := filepath.Join(dir, "decisions.jsonl")
	g := start(t, memo, func(c *Config, d *Dependencies) {
		slowPoll(c, d)
		c.Audit.File = log
		d.Hangup = hangup
	})
	g.blockedByDNS("zoom.us")
	size := func(path string) int64 {
		info, err := os.Stat(path)
		if err != nil {
			return -1
		}
		return info.Size()
	}
	eventually(t, func() error {
		if size(log) <= 0 {
			return errors.New("the decision is not written")
		}
		return nil
	})
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	hangup <- syscall.SIGHUP
	eventually(t, func() error {
		if size(log) < 0 {
			return errors.New("the log is not opened again")
		}
		return nil
	})
	before := size(log + ".1")
	g.blockedByDNS("zoom.us")
	eventually(t, func() error {
		if size(log) <= 0 {
			return errors.New("the new file stays empty")
		}
		return nil
	})
	if now := size(log + ".1"); now != before {
		t.Errorf("the rotated file grew from %d to %d bytes", before, now)
	}
	g.wantMetric(`sallyport_policy_reloads_total{result="unchanged"}`, "1")
}

// TestConfigurationChange edits sallyport.yaml: it is said once, and taken back
// when the edit is.
func TestConfigurationChange(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sallyport.yaml")
	writeFile(t, path, "policy: policy.yaml\n")
	writeFile(t, filepath.Join(dir, "policy.yaml"), memo)
	g := startWith(t, filepath.Join(dir, "policy.yaml"), func(c *Config, d *Dependencies) {
		slowPoll(c, d)
		c.Path = path
	})
	const message = "the configuration has changed: restart the gateway to apply it"
	writeFile(t, path, "policy: policy.yaml\ntenant: other\n")
	g.wantMetric("sallyport_config_restart_needed", "1")
	if status, body := g.get("/readyz"); status != 200 || !strings.Contains(body, path+" has changed: restart") {
		t.Errorf("readyz: %d %s", status, body)
	}
	if status, _ := g.http("POST", "/-/reload"); status != 200 {
		t.Errorf("the policy is as good as before: %d", status)
	}
	if n := g.logged(message); n != 1 {
		t.Errorf("it was logged %d times", n)
	}
	writeFile(t, path, "policy: policy.yaml\n")
	g.wantMetric("sallyport_config_restart_needed", "0")
	if n := g.logged("the configuration is again what the gateway runs with"); n != 1 {
		t.Errorf("its return was logged %d times", n)
	}
	if n := g.metric(enforced); n != "0" {
		t.Errorf("the policy was loaded anew %s times", n)
	}
}
