package main

import "testing"

func TestGCPercent(t *testing.T) {
	for _, test := range []struct {
		alive uint64
		want  int
	}{
		{0, 100},
		{4 << 20, 100},          // a small policy: Go's own pace
		{heapRoom, 100},         //
		{2 * heapRoom, 50},      // never more than the room
		{48 << 20, 33},          // a list of a million names
		{1 << 30, minGCPercent}, // and never all the time
	} {
		if got := gcPercent(test.alive); got != test.want {
			t.Errorf("%d bytes alive: %d, want %d", test.alive, got, test.want)
		}
	}
}
