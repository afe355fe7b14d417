package gateway

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// guarded has something to lose at its end: rules, tests, a default.
const guarded = `version: 1
groups:
  employees: {networks: [127.0.0.0/8]}
rules:
  - name: zoom-memo
    who: {groups: [employees]}
    what:
      apps:
        - zoom
        - webex
    action: block
  - name: tracked
    action: block
    what:
      domains: [tracker.example]
default: block
tests:
  - {who: {ip: 127.0.0.1}, what: zoom.us, want: block}
  - {who: {ip: 127.0.0.1}, what: corp.example, want: block}
`

// assembled is a gateway whose reloader a test drives by hand, at times of its
// own choosing.
func assembled(t *testing.T, policyPath string, edits ...func(*Config)) (*Gateway, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	config := testConfig(t, policyPath)
	for _, edit := range edits {
		edit(config)
	}
	g, err := New(config, Dependencies{Log: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Shutdown(t.Context()); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return g, logs
}

// TestHalfASave writes every beginning of a policy that parses, in place, and
// the rest 50 ms later: nothing but the whole is ever put in force.
func TestHalfASave(t *testing.T) {
	for _, test := range []struct{ name, before, after string }{
		{"the same again", guarded, guarded},
		{"a rule more", guarded, strings.Replace(guarded, "default: block", "  - {name: added, what: {domains: [added.example]}, action: block}\ndefault: block", 1)},
		{"an app more", guarded, strings.Replace(guarded, "        - webex\n", "        - webex\n        - skype\n", 1)},
		{"the default lifted", guarded, strings.ReplaceAll(strings.Replace(guarded, "default: block", "default: allow", 1), "corp.example, want: block", "corp.example, want: allow")},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "policy.yaml")
			writeFile(t, path, test.before)
			g, _ := assembled(t, path)
			first := g.engine.Program().Revision()
			now, parsed := time.Now(), 0
			parses := loadable(t)
			if !parses(test.before) || !parses(test.after) {
				t.Fatal("the whole is no policy")
			}
			look := func(text string, after time.Duration) string {
				writeFile(t, path, text)
				now = now.Add(after)
				wait := g.reloader.notice(byEdit, now)
				now = now.Add(wait)
				g.reloader.edited(now)
				return g.engine.Program().Revision()
			}
			for n := range test.after {
				half := test.after[:n]
				if !parses(half) || half == test.before {
					continue
				}
				parsed++
				if got := look(half, time.Second); got != first {
					t.Errorf("half a file is in force: its last line is %q", lastLine(half))
				}
				// Nothing happens for a while; the timer rings once more.
				now = now.Add(40 * time.Millisecond)
				g.reloader.edited(now)
				if got := g.engine.Program().Revision(); got != first {
					t.Errorf("half a file is in force after 50 ms: its last line is %q", lastLine(half))
				}
				look(test.after, 0)
				now = now.Add(confirmTime) // for an edit that takes something away
				g.reloader.edited(now)
				if whole := g.engine.Program().Revision(); (whole == first) != (test.before == test.after) {
					t.Errorf("the whole is not in force: its first %d bytes came before", n)
				}
				look(test.before, time.Second)
				now = now.Add(confirmTime)
				g.reloader.edited(now)
			}
			if parsed < 10 {
				t.Errorf("only %d halves parse: the test tests little", parsed)
			}
		})
	}
}

// loadable reports of texts whether each would be put in force if it were all
// there is.
func loadable(t *testing.T) func(text string) bool {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	source, err := newPolicySource(path, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return func(text string) bool {
		writeFile(t, path, text)
		return source.load(time.Now()).OK()
	}
}

func lastLine(text string) string {
	return text[strings.LastIndexByte(strings.TrimSuffix(text, "\n"), '\n')+1:]
}

// TestShrunk says which edits wait for the files to come to rest.
func TestShrunk(t *testing.T) {
	edit := func(from, to string) string {
		if !strings.Contains(guarded, from) {
			t.Fatalf("%q is not in the policy", from)
		}
		return strings.Replace(guarded, from, to, 1)
	}
	const tracked = "  - name: tracked\n    action: block\n    what:\n      domains: [tracker.example]\n"
	for _, test := range []struct {
		name, after string
		want        bool
	}{
		{"a comment", "# why\n" + guarded, false},
		{"a shorter name", edit("tracker.example", "t.example"), false},
		{"another rule in its place", edit("name: tracked", "name: followed"), false},
		{"a rule more", edit(tracked, tracked+strings.ReplaceAll(tracked, "track", "follow")), false},
		{"a comment at the end", guarded + "# the end\n", false},
		{"a rule less", edit(tracked, ""), true},
		{"a test less", edit("  - {who: {ip: 127.0.0.1}, what: corp.example, want: block}\n", ""), true},
		{"the tests, gone", guarded[:strings.Index(guarded, "tests:")], true},
		{"no newline at the end", strings.TrimSuffix(guarded, "\n"), true},
		{"the default, gone", strings.Replace(edit("default: block\n", ""), "corp.example, want: block", "corp.example, want: allow", 1), true},
		{"no group", strings.Replace(edit("groups:\n  employees: {networks: [127.0.0.0/8]}\n", ""), "    who: {groups: [employees]}\n", "", 1), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "policy.yaml")
			writeFile(t, path, guarded)
			before := LoadPolicy(path, time.Now())
			writeFile(t, path, test.after)
			after := LoadPolicy(path, time.Now())
			if !before.OK() || !after.OK() {
				t.Fatal(before.All(), after.All())
			}
			if got := shrunk(before, after); got != test.want {
				t.Errorf("shrunk: %v, want %v", got, test.want)
			}
		})
	}
}

// TestShrunkFolderAndList takes a file out of a folder, and names out of a list.
func TestShrunkFolderAndList(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "a.yaml"), "version: 1\nlists:\n  threats: {file: t.txt}\nrules:\n  - {name: threats, what: {lists: [threats]}, action: block}\n")
	writeFile(t, filepath.Join(dir, "b.yaml"), "# nothing but a remark\norganisation: {name: Example Rockets}\n")
	load := func(names int) *Loaded {
		t.Helper()
		writeFile(t, filepath.Join(dir, "t.txt"), listOf("bad", names))
		l := LoadPolicy(dir, time.Now())
		if !l.OK() {
			t.Fatal(l.All())
		}
		return l
	}
	whole := load(100)
	if !shrunk(whole, load(99)) || shrunk(whole, load(101)) || shrunk(whole, load(100)) {
		t.Error("a list is shorter with 99 names of 100, and with no other number here")
	}
	if err := os.Remove(filepath.Join(dir, "b.yaml")); err != nil {
		t.Fatal(err)
	}
	if !shrunk(whole, load(100)) {
		t.Error("a file is gone, and nothing is thought to be missing")
	}
}

// TestSmallerPolicyWaitsForRest takes the end of a policy away for good: it is
// in force once the file has been at rest, and the log asks whether it was meant.
func TestSmallerPolicyWaitsForRest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	writeFile(t, path, guarded)
	g, logs := assembled(t, path)
	first := g.engine.Program().Revision()
	writeFile(t, path, guarded[:strings.Index(guarded, "tests:")])
	start := time.Now()
	at := func(after time.Duration) (again time.Duration, revision string) {
		again = g.reloader.edited(start.Add(after))
		return again, g.engine.Program().Revision()
	}
	g.reloader.notice(byEdit, start)
	if again, revision := at(10 * time.Millisecond); again != confirmTime || revision != first {
		t.Errorf("at first: look again in %v, revision %s", again, revision)
	}
	// Another byte arrives without an event, as where only the poll looks.
	writeFile(t, path, guarded[:strings.Index(guarded, "  - {who: {ip: 127.0.0.1}, what: corp")])
	if again, revision := at(110 * time.Millisecond); again != confirmTime || revision != first {
		t.Errorf("after more came: look again in %v, revision %s", again, revision)
	}
	if again, revision := at(210 * time.Millisecond); again != 0 || revision == first {
		t.Errorf("at rest: look again in %v, revision %s", again, revision)
	}
	if n := logs.FilterMessageSnippet("is the beginning of the one before").Len(); n != 1 {
		t.Errorf("the log asks %d times whether that was meant", n)
	}
	// Never at rest, but not for ever.
	for i := range 1 + int(mostShrink/time.Second) {
		writeFile(t, path, guarded[:strings.Index(guarded, "tests:")]+fmt.Sprintf("# %d\n", i))
		g.reloader.notice(byEdit, start.Add(time.Hour+time.Duration(i)*time.Second))
		g.reloader.edited(start.Add(time.Hour + time.Duration(i)*time.Second + quietTime))
	}
	if g.reloader.pending.noticed {
		t.Error("an edit is pending for longer than may be")
	}
}

// TestRuleTakenAway removes a rule while the gateway runs, with every notice
// and wait that there is.
func TestRuleTakenAway(t *testing.T) {
	g := start(t, guarded, slowPoll)
	first := g.engine.Program().Revision()
	const tracked = "  - name: tracked\n    action: block\n    what:\n      domains: [tracker.example]\n"
	writeFile(t, g.policy, strings.Replace(guarded, tracked, "", 1))
	g.wantNewRevision(first)
	if n := len(g.engine.Program().Document().Rules); n != 1 {
		t.Errorf("%d rules are in force, want 1", n)
	}
}
