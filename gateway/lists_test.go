package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// listed blocks what a list holds. The list is in a folder of its own.
const listed = `
version: 1
lists:
  threats: {file: lists/threats.txt}
rules:
  - {name: threats, what: {lists: [threats]}, action: block}
default: allow
`

// listOf writes n lines of a list, all different from other lists' by word.
func listOf(word string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%s%d.example\n", word, i)
	}
	return b.String()
}

// layList writes the policy and its list, and gives their paths.
func layList(t *testing.T, list string) (policyPath, listPath string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "lists"), 0o700); err != nil {
		t.Fatal(err)
	}
	policyPath, listPath = filepath.Join(dir, "policy.yaml"), filepath.Join(dir, "lists", "threats.txt")
	writeFile(t, policyPath, listed)
	if list != "" {
		writeFile(t, listPath, list)
	}
	return policyPath, listPath
}

// old gives a file a time stamp that can be trusted.
func old(t *testing.T, path string, age time.Duration) {
	t.Helper()
	at := time.Now().Add(-age)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestListsAreKept(t *testing.T) {
	policyPath, path := layList(t, listOf("bad", 100))
	old(t, path, time.Hour)
	source, err := newPolicySource(policyPath, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	load := func() (*Loaded, *policy.List) {
		t.Helper()
		l := source.load(time.Now())
		if !l.OK() {
			t.Fatal(l.All())
		}
		return l, source.lists.kept[listPlace{file: path}].list
	}
	first, list := load()
	if !first.listsParsed || first.Lists[0].Entries != 100 {
		t.Errorf("the first load: parsed %v, %+v", first.listsParsed, first.Lists)
	}
	writeFile(t, policyPath, listed+"# an edit elsewhere\n")
	if l, again := load(); l.listsParsed || again != list {
		t.Error("an edit of the policy read the list again")
	}
	old(t, path, 2*time.Hour)
	if l, again := load(); l.listsParsed || again != list {
		t.Error("the same bytes under another time were parsed again")
	}
	writeFile(t, path, listOf("bad", 101))
	if l, again := load(); !l.listsParsed || again == list || l.digest == first.digest {
		t.Error("a new list was not read")
	}
	// Written within the same tick of the clock, and as long as before.
	_, list = load()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, listOf("odd", 101))
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if l, again := load(); !l.listsParsed || again == list {
		t.Error("the time stamp of a file just written was trusted")
	}
	writeFile(t, policyPath, open)
	if l := source.load(time.Now()); !l.OK() || len(source.lists.kept) != 0 {
		t.Errorf("a list that nothing names is kept: %v", l.All())
	}
}

// TestListNamedTwice reads one file for two names, well and badly.
func TestListNamedTwice(t *testing.T) {
	policyPath, path := layList(t, listOf("bad", 100))
	writeFile(t, policyPath, strings.Replace(listed, "rules:", "  again: {file: "+path+"}\nrules:", 1)+"# "+path)
	source, err := newPolicySource(policyPath, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	lists := func() *loadedLists {
		t.Helper()
		l := source.load(time.Now())
		if !l.OK() || len(l.Lists) != 2 || l.Lists[0].Entries != 100 || l.Lists[1].Entries != 100 {
			t.Fatal(l.All(), l.Lists)
		}
		return source.lists.load(l.Document.Lists)
	}
	document := source.load(time.Now()).Document
	for _, cache := range []*listCache{newListCache(newListStore(t.TempDir()), nil), source.lists} {
		got := cache.load(document.Lists)
		if got.byName["threats"] != got.byName["again"] || got.byName["again"] == nil {
			t.Error("one file is held twice")
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	got := lists()
	if got.states[0].Trouble == "" || got.states[1].Trouble != got.states[0].Trouble || len(got.problems) != 2 {
		t.Errorf("each name must say that the file is gone: %+v, %v", got.states, got.problems)
	}
	source, err = newPolicySource(policyPath, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if l := source.load(time.Now()); l.OK() || strings.Count(l.Problems.Err().Error(), "there is no file") != 2 {
		t.Errorf("at the start: %v", l.All())
	}
}

func TestListTrouble(t *testing.T) {
	policyPath, path := layList(t, listOf("bad", 100))
	source, err := newPolicySource(policyPath, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if l := source.load(time.Now()); !l.OK() || len(l.Problems) > 0 {
		t.Fatal(l.All())
	}
	for _, test := range []struct {
		name  string
		spoil func() error
		want  string
	}{
		{"removed", func() error { return os.Remove(path) }, "there is no file"},
		{"empty", func() error { return os.WriteFile(path, nil, 0o600) }, `list "threats": `},
		{"an error page", func() error { return os.WriteFile(path, []byte("<html><body>502 Bad Gateway</body></html>\n"), 0o600) }, `list "threats": `},
		{"broken off", func() error { return os.WriteFile(path, []byte(listOf("bad", 10)), 0o600) }, "shrank from 100 entries to 10"},
		{"a folder", func() error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) }, "not a regular file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := test.spoil(); err != nil {
				t.Fatal(err)
			}
			l := source.load(time.Now())
			if !l.OK() || len(l.Problems) != 1 || l.Problems[0].Severity != policy.SeverityWarning {
				t.Fatalf("the last good copy must do, with a warning: %v", l.All())
			}
			if text := l.Problems[0].String(); !strings.Contains(text, test.want) ||
				!strings.Contains(text, "policy.yaml:4:") || !strings.HasSuffix(text, "; its last good copy keeps deciding") {
				t.Errorf("got %s, want %s", text, test.want)
			}
			if l.Lists[0].Trouble == "" || l.Lists[0].Entries != 100 {
				t.Errorf("got %+v", l.Lists[0])
			}
		})
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, []byte(listOf("bad", 11)), 0o600)); err != nil {
		t.Fatal(err)
	}
	if l := source.load(time.Now()); !l.OK() || len(l.Problems) > 0 || l.Lists[0].Entries != 11 {
		t.Errorf("what has lost less than 90 %% is a list: %v", l.All())
	}
}

func TestShrankTooFar(t *testing.T) {
	for _, test := range []struct {
		before, after int
		want          bool
	}{
		{0, 0, false}, // nothing was there to be lifted
		{1, 0, true}, {1, 1, false}, {1, 2, false},
		{9, 0, true}, {9, 1, false},
		{10, 1, true}, {10, 2, false},
		{15, 1, true}, {15, 2, false},
		{19, 1, true}, {20, 2, true}, {20, 3, false},
		{100, 9, true}, {100, 10, true}, {100, 11, false}, {109, 10, true},
		{20_000_000, 2_000_000, true}, {20_000_000, 2_000_001, false},
		{2_000_000, 20_000_000, false},
	} {
		if got := shrankTooFar(test.before, test.after); got != test.want {
			t.Errorf("from %d to %d: %v, want %v", test.before, test.after, got, test.want)
		}
	}
}

// TestTinyListShrinks reads the shortest list that can lose 90 %.
func TestTinyListShrinks(t *testing.T) {
	policyPath, path := layList(t, listOf("bad", 10))
	source, err := newPolicySource(policyPath, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if l := source.load(time.Now()); !l.OK() {
		t.Fatal(l.All())
	}
	for _, test := range []struct{ entries, want, problems int }{{1, 10, 1}, {2, 2, 0}, {1, 1, 0}} {
		writeFile(t, path, listOf("bad", test.entries))
		l := source.load(time.Now())
		if !l.OK() || len(l.Problems) != test.problems || l.Lists[0].Entries != test.want {
			t.Errorf("a file of %d: %d entries decide, want %d: %v", test.entries, l.Lists[0].Entries, test.want, l.All())
		}
	}
}

// TestListThatNeverWas keeps a gateway from starting with a ban that is empty.
func TestListThatNeverWas(t *testing.T) {
	policyPath, path := layList(t, "")
	source, err := newPolicySource(policyPath, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	l := source.load(time.Now())
	if l.OK() || !strings.Contains(l.Problems.Err().Error(), `list "threats": there is no file`) {
		t.Fatalf("got %v", l.All())
	}
	writeFile(t, path, listOf("bad", 3))
	if changed, _ := source.changed(l); !changed {
		t.Error("its arrival is not noticed")
	}
	if l := source.load(time.Now()); !l.OK() {
		t.Error(l.All())
	}
}

// TestListWhileRunning edits, spoils and mends a list of a running gateway.
func TestListWhileRunning(t *testing.T) {
	policyPath, path := layList(t, listOf("bad", 100))
	var settled atomic.Int64
	g := startWith(t, policyPath, func(c *Config, d *Dependencies) {
		slowPoll(c, d)
		d.Settle = func() { settled.Add(1) }
	})
	wantSettled := func(want int64) {
		t.Helper()
		eventually(t, func() error {
			if got := settled.Load(); got != want {
				return fmt.Errorf("memory was settled %d times, want %d: once for each list that was read", got, want)
			}
			return nil
		})
	}
	wantSettled(1)
	if !g.blockedByDNS("bad7.example") || !g.blockedByDNS("under.bad7.example") || g.blockedByDNS("odd7.example") {
		t.Fatal("the list does not decide")
	}
	first := g.engine.Program().Revision()
	writeFile(t, path, listOf("odd", 100))
	g.wantNewRevision(first)
	wantSettled(2)
	if g.blockedByDNS("bad7.example") || !g.blockedByDNS("odd7.example") {
		t.Error("the new list does not decide")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	g.wantMetric(`sallyport_policy_list_stale{list="threats"}`, "1")
	if !g.blockedByDNS("odd7.example") {
		t.Error("a list that went missing lifted the ban")
	}
	if status, body := g.get("/readyz"); status != http.StatusOK || !strings.Contains(body, `list "threats": there is no file`) {
		t.Errorf("readyz: %d %s", status, body)
	}
	if _, body := g.get("/api/v1/policy"); !strings.Contains(body, `"entries": 100`) || !strings.Contains(body, `"trouble": "there is no file`) {
		t.Errorf("the report does not show it: %s", body)
	}
	writeFile(t, path, listOf("odd", 100))
	g.wantMetric(`sallyport_policy_list_stale{list="threats"}`, "0")
	if _, body := g.get("/readyz"); body != "ready\n" {
		t.Errorf("readyz: %s", body)
	}
	before := g.engine.Program().Revision()
	writeFile(t, policyPath, listed+"# a word more, and no list\n")
	g.wantNewRevision(before)
	if got := settled.Load(); got != 2 {
		t.Errorf("memory was settled %d times, want 2: an edit of the policy reads no list", got)
	}
}
