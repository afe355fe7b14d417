package ingress

import (
	"context"
	"time"
)

// slots bounds how many queries are under way at a time, over all connections
// of all listeners. Queries that a Desk answers take none.
type slots chan struct{}

func newSlots(n int) slots { return make(slots, n) }

// streamPatience is how long a query in a stream may take to arrive: it is one
// packet or two.
const streamPatience = 2 * time.Second

// tryTake takes a slot if one is free; give must follow.
func (s slots) tryTake() bool {
	select {
	case s <- struct{}{}:
		return true
	default:
		return false
	}
}

// take waits for a slot, but not longer than patience nor beyond ctx.
func (s slots) take(ctx context.Context, patience time.Duration) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case s <- struct{}{}:
		return true
	case <-timer.C:
		return false
	case <-ctx.Done():
		return false
	}
}

func (s slots) give() { <-s }
