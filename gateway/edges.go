package gateway

import (
	"context"
	"time"
)

// edgePoll is how often the clock is looked at while a schedule edge lies
// ahead, and idlePoll while none does. A timer alone would miss an edge when
// the wall clock is set, or when the machine sleeps.
const (
	edgePoll = time.Second
	idlePoll = 30 * time.Second
)

// edges re-decides open tunnels whenever a schedule makes a verdict change: a
// ban that begins, an exception that ends. Queries and new connections need no
// help, since each decision looks at the time itself.
type edges struct {
	now      func() time.Time
	nextEdge func(after time.Time) time.Time // of the policy in force; zero: none
	recheck  func(reason string)
	woken    chan struct{} // a new policy is in force; capacity 1
}

func newEdges(now func() time.Time, nextEdge func(time.Time) time.Time, recheck func(string)) *edges {
	return &edges{now: now, nextEdge: nextEdge, recheck: recheck, woken: make(chan struct{}, 1)}
}

// wake makes run look for the next edge again. It never blocks.
func (e *edges) wake() {
	select {
	case e.woken <- struct{}{}:
	default:
	}
}

// run returns when ctx ends.
func (e *edges) run(ctx context.Context) {
	last := e.now()
	timer := time.NewTimer(e.pause(last))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.woken:
		case <-timer.C:
		}
		now := e.now()
		if e.passed(last, now) {
			e.recheck("schedule")
		}
		last = now
		timer.Reset(e.pause(now))
	}
}

// passed reports whether an edge lies in (last, now]. A clock that was set back
// may have passed any edge, in the other direction.
func (e *edges) passed(last, now time.Time) bool {
	if now.Before(last) {
		return true
	}
	edge := e.nextEdge(last)
	return !edge.IsZero() && !edge.After(now)
}

// pause is how long to sleep: to the edge, but not so long that a clock that
// is set would go unnoticed.
func (e *edges) pause(now time.Time) time.Duration {
	edge := e.nextEdge(now)
	if edge.IsZero() {
		return idlePoll
	}
	// An edge is an instant at which things have changed already: wake on it,
	// and not so early that the clock still reads less.
	return max(time.Millisecond, min(edgePoll, edge.Sub(now)))
}
