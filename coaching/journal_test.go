package coaching

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sallyport/sallyport/policy"
)

// kept is a store whose journal is being written.
type kept struct {
	*Store
	stop func() // returns when everything is on disk
	logs *observer.ObservedLogs
}

func keep(t *testing.T, path string, now time.Time) *kept {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	s, err := Open(Config{File: path, PerHolder: 1 << 20}, now, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	stop := func() { cancel(); running.Wait() }
	t.Cleanup(stop)
	return &kept{Store: s, stop: stop, logs: logs}
}

func TestRestartKeepsGrants(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "coaching.grants")
	s := keep(t, path, began)
	long := Grant{
		Key: keyOf("alice@corp.example", "coach", "jitsi"), Door: policy.DoorProxy, Host: "meet.jit.si", From: keyAt("10.4.7.7", "", "").Client,
		Given: began, Until: began.Add(8 * time.Hour), Justification: `a "customer" meets there`, Decision: "k3f9x2ab-1a",
	}
	long, _, err := s.Add(long)
	if err != nil {
		t.Fatal(err)
	}
	byAddress := add(t, s.Store, keyAt("fd00:28::7", "names", ""), began, 8*time.Hour)
	short := add(t, s.Store, keyOf("bob", "coach", "jitsi"), began, time.Minute)
	ended := add(t, s.Store, keyOf("eve", "coach", "jitsi"), began, 8*time.Hour)
	if _, err := s.Revoke(t.Context(), ended.ID); err != nil {
		t.Fatal(err)
	}
	s.stop()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}

	for range 2 { // the second time from a journal that was written anew
		s = keep(t, path, began.Add(time.Hour))
		got := s.List()
		slices.SortFunc(got, func(a, b Grant) int { return strings.Compare(b.Key.User, a.Key.User) })
		if !reflect.DeepEqual(got, []Grant{long, byAddress}) {
			t.Errorf("got %+v\nwant %+v", got, []Grant{long, byAddress})
		}
		if until, ok := s.Holds(long.Key, began.Add(time.Hour)); !ok || !until.Equal(long.Until) {
			t.Error("alice's grant is lost")
		}
		s.stop()
	}
	// What ended meanwhile is told once.
	s = keep(t, path, began.Add(9*time.Hour))
	if over := s.Sweep(began.Add(9 * time.Hour)); len(over) != 2 || s.Len() != 0 {
		t.Errorf("swept %+v", over)
	}
	s.stop()
	if s := keep(t, path, began); s.Len() != 0 {
		t.Errorf("%s came back", short.ID)
	}
}

// TestCrashKeepsGrants reads the journal as it is while the store is running.
func TestCrashKeepsGrants(t *testing.T) {
	path := filepath.Join(t.TempDir(), "coaching.grants")
	s := keep(t, path, began)
	rng := rand.New(rand.NewPCG(5, 6))
	want := map[policy.GrantKey]bool{}
	var ids []string
	for i := range 3000 {
		key := keyOf(fmt.Sprint("u", i), "coach", "jitsi")
		g := add(t, s.Store, key, began, time.Hour)
		want[key] = true
		ids = append(ids, g.ID)
		if i%40 == 39 { // waits for the disk
			at := rng.IntN(len(ids))
			g, err := s.Revoke(t.Context(), ids[at])
			if err != nil {
				t.Fatal(err)
			}
			delete(want, g.Key)
			ids = slices.Delete(ids, at, at+1)
		}
	}
	if _, err := s.Revoke(t.Context(), ids[0]); err != nil {
		t.Fatal(err)
	}
	delete(want, keyOf("u0", "coach", "jitsi"))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "coaching.grants")
	if err := os.WriteFile(copied, data, 0o600); err != nil {
		t.Fatal(err)
	}
	again := openStore(t, Config{File: copied})
	if again.Len() != len(want) {
		t.Errorf("%d kept, %d held", again.Len(), len(want))
	}
	for key := range want {
		if _, ok := again.Holds(key, began); !ok {
			t.Fatalf("%+v is lost", key)
		}
	}
}

// TestJournalStaysShort: what has ended is taken out of it.
func TestJournalStaysShort(t *testing.T) {
	path := filepath.Join(t.TempDir(), "coaching.grants")
	s := keep(t, path, began)
	for i := range 5 * slackLines {
		at := began.Add(time.Duration(i) * time.Second)
		add(t, s.Store, keyOf("alice", "coach", "jitsi"), at, time.Second)
		if i%100 == 99 {
			g := add(t, s.Store, keyOf("bob", "coach", "jitsi"), at, time.Second)
			if _, err := s.Revoke(t.Context(), g.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.stop()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(data, []byte("\n")); lines > slackLines+200 {
		t.Errorf("%d lines for %d grants", lines, s.Len())
	}
}

func journalOf(lines ...string) string {
	return journalHeader + "\n" + strings.Join(lines, "\n") + "\n"
}

const goodLine = `{"grant":{"id":"a","user":"alice","rule":"coach","given":"2020-04-01T09:00:00Z","until":"2020-04-01T17:00:00Z"}}`

func TestBrokenJournals(t *testing.T) {
	for _, test := range []struct {
		name, text string
		held       int
		broken     bool
	}{
		{"good", journalOf(goodLine), 1, false},
		{"the same twice", journalOf(goodLine, goodLine), 1, false},
		{"ended", journalOf(goodLine, `{"ended":"a"}`), 0, false},
		{"an unknown one ended", journalOf(goodLine, `{"ended":"b"}`), 1, false},
		{"ended and given again", journalOf(goodLine, `{"ended":"a"}`, goodLine), 1, false},
		{"nothing", "", 0, false},
		{"header alone", journalHeader + "\n", 0, false},
		{"half a header", journalHeader[:10], 0, false},
		{"half a line", journalOf(goodLine) + goodLine[:40], 1, false},
		{"a line without its end", journalOf(goodLine) + strings.Replace(goodLine, `"a"`, `"b"`, 1), 1, false},

		{"no header", goodLine + "\n", 0, true},
		{"another version", strings.Replace(journalHeader, "1", "2", 1) + "\n" + goodLine + "\n", 0, true},
		{"half a line in the middle", journalOf(goodLine, goodLine[:40], goodLine), 0, true},
		{"zeros", journalOf(goodLine) + strings.Repeat("\x00", 100) + "\n", 0, true},
		{"empty line", journalOf(goodLine, ""), 0, true},
		{"unknown field", journalOf(strings.Replace(goodLine, `"rule"`, `"device":"x","rule"`, 1)), 0, true},
		{"two things", journalOf(strings.Replace(goodLine, `{"grant"`, `{"ended":"b","grant"`, 1)), 0, true},
		{"two objects", journalOf(goodLine + goodLine), 0, true},
		{"something behind", journalOf(goodLine + "}"), 0, true},
		{"no id", journalOf(strings.Replace(goodLine, `"id":"a",`, "", 1)), 0, true},
		{"no holder", journalOf(strings.Replace(goodLine, `"user":"alice",`, "", 1)), 0, true},
		{"two holders", journalOf(strings.Replace(goodLine, `"user"`, `"client":"10.0.0.1","user"`, 1)), 0, true},
		{"no rule", journalOf(strings.Replace(goodLine, `"rule":"coach",`, "", 1)), 0, true},
		{"no end", journalOf(strings.Replace(goodLine, `,"until":"2020-04-01T17:00:00Z"`, "", 1)), 0, true},
		{"bad address", journalOf(strings.Replace(goodLine, `"user":"alice"`, `"client":"10.0.0"`, 1)), 0, true},
		{"endless line", journalOf(goodLine) + strings.Repeat("x", 1<<20) + "\n", 0, true},
		{"too many lines", journalOf(slices.Repeat([]string{goodLine}, maxLines(10)+1)...), 0, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "coaching.grants")
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			core, logs := observer.New(zap.DebugLevel)
			s, err := Open(Config{File: path, Limit: 10}, began, zap.New(core))
			if err != nil {
				t.Fatal(err)
			}
			if s.Len() != test.held {
				t.Errorf("%d held, want %d", s.Len(), test.held)
			}
			aside, err := os.ReadFile(path + brokenSuffix)
			if test.broken != (err == nil && string(aside) == test.text) {
				t.Errorf("moved aside: %v", err)
			}
			if reported := logs.FilterLevelExact(zap.ErrorLevel).Len(); test.broken != (reported == 1) {
				t.Errorf("%d errors were logged", reported)
			}
		})
	}
}

func TestJournalThatCannotBeRead(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "coaching.grants")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{File: folder}, began, nil); err != nil {
		t.Errorf("a folder: %v", err)
	}
	if _, err := os.Stat(folder + brokenSuffix); err != nil {
		t.Errorf("it was not moved aside: %v", err)
	}
}

// TestJournalThatCannotBeWritten: grants hold all the same, whoever revokes
// one is told, and all is written once it can be.
func TestJournalThatCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	path := filepath.Join(dir, "coaching.grants")
	s := keep(t, path, began)
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // in the folder's place
		t.Fatal(err)
	}
	g := add(t, s.Store, keyOf("alice", "coach", "jitsi"), began, time.Hour)
	other := add(t, s.Store, keyOf("bob", "coach", "jitsi"), began, time.Hour)
	if _, err := s.Revoke(t.Context(), g.ID); !errors.Is(err, errNotKept) {
		t.Errorf("revoked: %v", err)
	}
	if _, ok := s.Holds(other.Key, began); !ok || s.Trouble() == "" {
		t.Errorf("held %v, trouble %q", ok, s.Trouble())
	}
	if _, ok := s.Holds(g.Key, began); ok {
		t.Error("what was revoked holds")
	}
	if n := s.logs.FilterLevelExact(zap.ErrorLevel).Len(); n != 1 {
		t.Errorf("%d errors were logged", n)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	third := add(t, s.Store, keyOf("carol", "coach", "jitsi"), began, time.Hour)
	if _, err := s.Revoke(t.Context(), third.ID); err != nil || s.Trouble() != "" {
		t.Errorf("%v, trouble %q", err, s.Trouble())
	}
	s.stop()
	again := openStore(t, Config{File: path})
	if list := again.List(); len(list) != 1 || list[0].Key != other.Key {
		t.Errorf("kept: %+v", list)
	}
	if _, err := s.Revoke(t.Context(), other.ID); !errors.Is(err, errNotKept) {
		t.Errorf("revoked after the end: %v", err)
	}
}

// TestNoGrantsNoFile: a gateway that never warned anybody writes nothing.
func TestNoGrantsNoFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s := keep(t, filepath.Join(dir, "coaching.grants"), began)
	s.stop()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// FuzzJournal: whatever is in the file, it is understood or refused, and what
// was understood is the same once it was written again.
func FuzzJournal(f *testing.F) {
	f.Add([]byte(journalOf(goodLine)))
	f.Add([]byte(journalOf(goodLine, `{"ended":"a"}`)))
	f.Add([]byte(journalHeader))
	f.Fuzz(func(t *testing.T, text []byte) {
		grants, _, err := parseJournal(bytes.NewReader(text), 100)
		if err != nil {
			return
		}
		written := []byte(journalHeader + "\n")
		for i := range grants {
			written = lineOfGrant(&grants[i]).append(written)
		}
		again, torn, err := parseJournal(bytes.NewReader(written), 100)
		if err != nil || torn || len(again) != len(grants) {
			t.Fatalf("%d grants were written as %q, and read as %d, %v, %v", len(grants), written, len(again), torn, err)
		}
		for i := range grants {
			if again[i].Key != grants[i].Key || !again[i].Until.Equal(grants[i].Until) {
				t.Fatalf("%+v became %+v", grants[i], again[i])
			}
		}
	})
}
