package identity

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestVerifiedExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := resolver(t, Config{VerifiedFor: time.Minute}, "alice")
		g := r.users.Load()
		var p pair
		if err := p.parse(basicOf("alice", "pw-alice")); err != nil {
			t.Fatal(err)
		}
		m := g.mac(&p)
		known := func() bool { _, ok := g.known(m, r.now()); return ok }

		if known() {
			t.Error("known before anybody signed in")
		}
		signIn(t, r, desk, "alice")
		time.Sleep(time.Minute - time.Nanosecond)
		if !known() {
			t.Error("forgotten before its time")
		}
		time.Sleep(time.Nanosecond)
		if known() {
			t.Error("known after its time")
		}
		signIn(t, r, desk, "alice")
		if !known() {
			t.Error("not known after signing in anew")
		}
	})
}

func TestAnswersAreBounded(t *testing.T) {
	a := answers{limit: 10, byMAC: map[mac]answer{}}
	for i := range 100 {
		a.put(mac{byte(i)}, answer{user: "u", until: time.Duration(i)})
	}
	if len(a.byMAC) != 10 {
		t.Errorf("%d answers held, want 10", len(a.byMAC))
	}
	if _, ok := a.find(mac{99}, 0); !ok {
		t.Error("the newest answer is gone")
	}
}

func TestFailuresAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := resolver(t, Config{}, "alice", "bob")
		signIn(t, r, desk, "bob")
		guess := func(addr netip.Addr, n int) error {
			_, err := r.ByCredentials(addr, basicOf("alice", fmt.Sprint("guess ", n)))
			return err
		}
		for n := range failureBurst {
			if err := guess(desk, n); !errors.Is(err, ErrCredentials) || errors.Is(err, ErrThrottled) {
				t.Fatalf("guess %d: %v, want plain ErrCredentials", n, err)
			}
		}
		if err := guess(desk, 1000); !errors.Is(err, ErrThrottled) || !errors.Is(err, ErrCredentials) {
			t.Errorf("guess beyond the burst: %v, want ErrThrottled", err)
		}
		if _, err := r.ByCredentials(desk, basicOf("alice", "pw-alice")); !errors.Is(err, ErrThrottled) {
			t.Errorf("the right password beyond the burst: %v, want ErrThrottled", err)
		}
		if _, err := r.ByCredentials(desk, basicOf("bob", "pw-bob")); err != nil {
			t.Errorf("bob, signed in already, is shut out by a guesser at his address: %v", err)
		}
		signIn(t, r, other, "alice")

		time.Sleep(failureRefill)
		if err := guess(desk, 1001); errors.Is(err, ErrThrottled) {
			t.Error("no attempt was given back after a while")
		}
		if err := guess(desk, 1002); !errors.Is(err, ErrThrottled) {
			t.Errorf("two attempts were given back at once: %v", err)
		}
		time.Sleep(failureRefill)
		signIn(t, r, desk, "alice")
	})
}

// A program that repeats a stale password must not use up the attempts of its
// neighbours behind the same address.
func TestTheSameFailureCountsOnce(t *testing.T) {
	r := resolver(t, Config{}, "alice")
	for range 10 * failureBurst {
		if _, err := r.ByCredentials(desk, basicOf("alice", "stale")); !errors.Is(err, ErrCredentials) || errors.Is(err, ErrThrottled) {
			t.Fatalf("stale password: %v, want plain ErrCredentials", err)
		}
	}
	signIn(t, r, desk, "alice")
}

// Success costs no attempt, however often and with however many names.
func TestSuccessIsFree(t *testing.T) {
	var users []string
	for i := range 2 * failureBurst {
		users = append(users, fmt.Sprint("user", i))
	}
	r := resolver(t, Config{}, users...)
	for _, u := range users {
		signIn(t, r, desk, u)
	}
	if len(r.failures.paidAt) != 0 {
		t.Errorf("debts after successes only: %v", r.failures.paidAt)
	}
}

func TestThrottleByPrefix(t *testing.T) {
	th := newThrottle()
	one, two := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	for range failureBurst {
		if !th.take(one, 0) {
			t.Fatal("throttled within the burst")
		}
	}
	if th.take(two, 0) {
		t.Error("a neighbour in the same /64 has attempts of its own")
	}
	if !th.take(netip.MustParseAddr("2001:db8:0:1::1"), 0) {
		t.Error("another /64 is throttled")
	}
}

func TestThrottleIsBounded(t *testing.T) {
	th := newThrottle()
	for i := range 2 * maxThrottled {
		th.take(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 0)
	}
	if len(th.paidAt) != maxThrottled {
		t.Errorf("%d addresses held, want %d", len(th.paidAt), maxThrottled)
	}
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1)
		if !g.enter() {
			t.Fatal("the first is not let in")
		}
		start := time.Now()
		if g.enter() {
			t.Fatal("two computations at once through a gate for one")
		}
		if waited := time.Since(start); waited != maxWait {
			t.Errorf("gave up after %v, want %v", waited, maxWait)
		}

		// A full waiting room sends the next one away at once.
		var wg sync.WaitGroup
		for range maxWaiting {
			wg.Go(func() { g.enter() })
		}
		synctest.Wait()
		start = time.Now()
		if g.enter() || time.Since(start) != 0 {
			t.Errorf("one too many waited %v", time.Since(start))
		}
		wg.Wait()

		g.leave()
		if !g.enter() {
			t.Error("the slot was not given back")
		}
	})
}

func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := resolver(t, Config{}, "alice")
		for range cap(r.bcrypts.slots) {
			r.bcrypts.enter()
		}
		if _, err := r.ByCredentials(desk, basicOf("alice", "pw-alice")); !errors.Is(err, ErrBusy) {
			t.Errorf("error %v, want ErrBusy", err)
		}
		if len(r.failures.paidAt) != 0 {
			t.Error("waiting in vain counted as a failure")
		}
		r.bcrypts.leave()
		signIn(t, r, desk, "alice")
	})
}

// Unknown names must cost what known ones cost. Time cannot be tested without
// flakes; the allocations that bcrypt makes can.
func TestUnknownUserCostsTheSame(t *testing.T) {
	h := table(t, "alice")
	known := testing.AllocsPerRun(5, func() { h.verify("alice", []byte("wrong")) })
	unknown := testing.AllocsPerRun(5, func() { h.verify("mallory", []byte("wrong")) })
	// The race detector adds one here and there; a bcrypt that is not computed
	// would be missing a dozen.
	if known < 5 || math.Abs(known-unknown) > 2 {
		t.Errorf("a known user costs %v allocations, an unknown one %v", known, unknown)
	}
}
