package coaching

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// TestTakingOver lets one process take over from another while both are given
// grants, and while grants of either are revoked and end.
func TestTakingOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "coaching.grants")
	old := keep(t, path, began)
	app := func(name string) policy.GrantKey { return keyOf("alice", "coach", name) }
	add(t, old.Store, app("kept"), began, time.Hour)
	revokedOld := add(t, old.Store, app("revoked by the old one"), began, time.Hour)
	revokedNew := add(t, old.Store, app("revoked by the new one"), began, time.Hour)
	add(t, old.Store, app("ends meanwhile"), began, time.Minute)
	if _, err := old.Revoke(t.Context(), add(t, old.Store, app("x"), began, time.Hour).ID); err != nil { // all is on disk
		t.Fatal(err)
	}

	turn := make(chan struct{})
	next, err := Open(Config{File: path, Turn: turn}, began, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { next.Run(ctx) })
	for _, name := range []string{"kept", "revoked by the old one", "revoked by the new one"} {
		if _, ok := next.Holds(app(name), began); !ok {
			t.Errorf("%s: not held from the beginning", name)
		}
	}
	add(t, old.Store, app("late"), began, time.Hour)
	add(t, old.Store, app("at both"), began, time.Hour)
	own := add(t, next, app("new"), began, time.Hour)
	add(t, next, app("at both"), began, 2*time.Hour)
	if _, err := old.Revoke(t.Context(), revokedOld.ID); err != nil {
		t.Fatal(err)
	}
	short, done := context.WithTimeout(t.Context(), time.Millisecond)
	defer done()
	if _, err := next.Revoke(short, revokedNew.ID); !errors.Is(err, errNotKept) {
		t.Errorf("revoked before its turn: %v", err)
	}
	// The old one tells what ends while the journal is its own.
	if over := next.Sweep(began.Add(time.Minute)); len(over) != 0 {
		t.Errorf("the new one tells of %+v", over)
	}
	if over := old.Sweep(began.Add(time.Minute)); len(over) != 1 {
		t.Errorf("the old one tells of %+v", over)
	}
	old.stop()
	if over := old.Sweep(began.Add(3 * time.Hour)); len(over) != 0 {
		t.Errorf("the old one tells of %+v when it has let go", over)
	}

	close(turn)
	gone := add(t, next, app("gone"), began, time.Hour)
	if _, err := next.Revoke(t.Context(), gone.ID); err != nil { // its turn has come
		t.Fatal(err)
	}
	check := func(s *Store) {
		t.Helper()
		for name, want := range map[string]bool{
			"kept": true, "late": true, "new": true, "at both": true,
			"revoked by the old one": false, "revoked by the new one": false, "ends meanwhile": false, "gone": false, "x": false,
		} {
			if _, ok := s.Holds(app(name), began.Add(time.Minute)); ok != want {
				t.Errorf("%s: held %v", name, ok)
			}
		}
	}
	check(next)
	if until, _ := next.Holds(app("at both"), began); !until.Equal(began.Add(2 * time.Hour)) {
		t.Errorf("what the new one gave was replaced: until %v", until)
	}
	cancel()
	running.Wait()
	again := openStore(t, Config{File: path})
	check(again)
	if over := again.Sweep(own.Until); len(over) != 3 {
		t.Errorf("told of %d ends", len(over))
	}
}

// TestTurnThatNeverComes: a process that ends before the old one writes
// nothing, and says so to whoever waits.
func TestTurnThatNeverComes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "coaching.grants")
	old := keep(t, path, began)
	first := add(t, old.Store, keyOf("alice", "coach", "a"), began, time.Hour)
	if _, err := old.Revoke(t.Context(), add(t, old.Store, keyOf("alice", "coach", "x"), began, time.Hour).ID); err != nil {
		t.Fatal(err)
	}
	next, err := Open(Config{File: path, Turn: make(chan struct{})}, began, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { next.Run(ctx) })
	running.Go(func() {
		if _, err := next.Revoke(t.Context(), first.ID); !errors.Is(err, errNotKept) {
			t.Errorf("revoked: %v", err)
		}
	})
	for next.Len() > 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	running.Wait()
	old.stop()
	if again := openStore(t, Config{File: path}); again.Len() != 1 {
		t.Errorf("%d are kept, want the old one's", again.Len())
	}
}
