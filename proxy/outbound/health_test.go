package outbound

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

var errBroken = errors.New("broken")

// newHealth notes how long the parent is left alone, and 0 where it works again.
func newHealth() (*health, *[]time.Duration) {
	var turns []time.Duration
	return &health{changed: func(_ bool, rest time.Duration, _ error) { turns = append(turns, rest) }}, &turns
}

// fail uses a parent that does not work; false: there was no leave to.
func fail(h *health) bool {
	permit, ok := h.ask(false)
	if ok {
		permit.settle(outcomeFailed, errBroken)
	}
	return ok
}

func TestHealthBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, turns := newHealth()
		began := time.Now()
		for len(*turns) < 9 {
			fail(h)
			time.Sleep(100 * time.Millisecond)
		}
		want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60}
		for i := range want {
			want[i] *= time.Second
		}
		if !slices.Equal(*turns, want) {
			t.Errorf("left alone for %v, want %v", *turns, want)
		}
		if took := time.Since(began).Round(time.Second); took != (1+2+4+8+16+32+60+60)*time.Second {
			t.Errorf("nine failures took %v", took)
		}
		if !errors.Is(h.lastError(), errBroken) {
			t.Errorf("the last error is %v", h.lastError())
		}

		time.Sleep(longRest)
		permit, ok := h.ask(false)
		if !ok {
			t.Fatal("nobody may find out whether it is back")
		}
		permit.settle(outcomeAnswered, nil)
		if (*turns)[len(*turns)-1] != 0 || !fail(h) || (*turns)[len(*turns)-1] != time.Second {
			t.Errorf("%v: it works again, and then fails for the first time", *turns)
		}
	})
}

// Only one finds out whether it is back, and the others go on without it.
func TestHealthProbesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := newHealth()
		fail(h)
		time.Sleep(firstRest)
		probe, ok := h.ask(false)
		if !ok {
			t.Fatal("no probe")
		}
		for _, alone := range []bool{false, true} {
			if _, ok := h.ask(alone); ok {
				t.Error("two probes")
			}
		}
		probe.settle(outcomeUnknown, nil) // its client has left
		probe.settle(outcomeAnswered, nil)
		if h.failures == 0 {
			t.Error("the second word counts")
		}
		probe, ok = h.ask(false)
		if !ok {
			t.Fatal("no second probe")
		}
		probe.settle(outcomeAnswered, nil)
		for range 2 {
			if _, ok := h.ask(false); !ok {
				t.Error("it works, and is left alone")
			}
		}
	})
}

// Many that fail at a time are one failure.
func TestHealthCountsOneOutageOnce(t *testing.T) {
	h, turns := newHealth()
	var permits []*permit
	for range 5 {
		permit, _ := h.ask(false)
		permits = append(permits, permit)
	}
	for _, permit := range permits {
		permit.settle(outcomeFailed, errBroken)
	}
	if len(*turns) != 1 {
		t.Errorf("left alone %d times, want once", len(*turns))
	}
}

// Where there is no other way, it is tried once a second, however long it has
// been away.
func TestHealthAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, turns := newHealth()
		for len(*turns) < 6 {
			fail(h)
			time.Sleep(100 * time.Millisecond)
		}
		tries := 0
		for range 100 {
			if permit, ok := h.ask(true); ok {
				tries++
				permit.settle(outcomeFailed, errBroken)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if tries < 9 || tries > 10 {
			t.Errorf("tried %d times in 10 s, want once a second", tries)
		}
	})
}

// A parent that can be reached, and then says nothing, does not work.
func TestHealthOfTheSilent(t *testing.T) {
	h, turns := newHealth()
	settle := func(o outcome) {
		h.settle(false, o, errBroken) // begun while it was thought to work
	}
	for _, step := range []struct {
		outcome outcome
		turns   int
	}{
		{outcomeSilent, 0}, {outcomeSilent, 0}, {outcomeReached, 0}, {outcomeSilent, 1}, // three in a row, since it answered none
		{outcomeReached, 1}, {outcomeUnknown, 1}, {outcomeAnswered, 2}, {outcomeSilent, 2},
		{outcomeFailed, 3}, {outcomeReached, 4},
	} {
		if settle(step.outcome); len(*turns) != step.turns {
			t.Fatalf("after %d: turned %d times, want %d", step.outcome, len(*turns), step.turns)
		}
	}
}
