package gateway

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestEdges lets hours pass in a bubble where time is free, and wants tunnels
// re-decided on each edge, within the second, and at no other time.
func TestEdges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		edgesAhead := []time.Duration{300 * time.Millisecond, time.Minute, time.Minute + time.Second, 3 * time.Hour}
		nextEdge := func(after time.Time) time.Time {
			for _, e := range edgesAhead {
				if at := start.Add(e); at.After(after) {
					return at
				}
			}
			return time.Time{}
		}
		var rechecked []time.Duration
		e := newEdges(time.Now, nextEdge, func(string) { rechecked = append(rechecked, time.Since(start)) })
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { e.run(ctx) })
		time.Sleep(6 * time.Hour)
		cancel()
		running.Wait()
		if !slices.Equal(rechecked, edgesAhead) {
			t.Errorf("re-decided after %v, want %v", rechecked, edgesAhead)
		}
	})
}

// TestEdgesWake brings a policy with an edge while none lay ahead.
func TestEdgesWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var edge time.Time
		nextEdge := func(after time.Time) time.Time {
			mu.Lock()
			defer mu.Unlock()
			if edge.After(after) {
				return edge
			}
			return time.Time{}
		}
		var rechecked []time.Time
		e := newEdges(time.Now, nextEdge, func(string) { rechecked = append(rechecked, time.Now()) })
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { e.run(ctx) })
		synctest.Wait()

		mu.Lock()
		edge = time.Now().Add(200 * time.Millisecond)
		mu.Unlock()
		e.wake()
		e.wake() // a second one must not block
		time.Sleep(time.Hour)
		cancel()
		running.Wait()
		if len(rechecked) != 1 || !rechecked[0].Equal(edge) {
			t.Errorf("re-decided at %v, want %v", rechecked, edge)
		}
	})
}

// TestEdgesFollowTheClock sets the wall clock: forward over an edge, and back.
func TestEdgesFollowTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var set time.Duration
		now := func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Round(0).Add(set)
		}
		adjust := func(d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			set += d
		}
		edge := now().Add(10 * time.Hour)
		nextEdge := func(after time.Time) time.Time {
			if edge.After(after) {
				return edge
			}
			return time.Time{}
		}
		count := 0
		e := newEdges(now, nextEdge, func(string) { count++ })
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { e.run(ctx) })
		for _, step := range []struct {
			by   time.Duration
			wait time.Duration
			want int
		}{
			{0, time.Minute, 0},
			{11 * time.Hour, edgePoll, 1},  // over the edge
			{-5 * time.Hour, idlePoll, 2},  // and back behind it
			{0, 2 * time.Hour, 2},          // quiet until
			{0, 2*time.Hour + edgePoll, 3}, // it passes in its own time
		} {
			adjust(step.by)
			time.Sleep(step.wait)
			synctest.Wait()
			if count != step.want {
				t.Errorf("after %v and %v: re-decided %d times, want %d", step.by, step.wait, count, step.want)
			}
		}
		cancel()
		running.Wait()
	})
}
