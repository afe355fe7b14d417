package main

import (
	"sync/atomic"
	"time"
)

// clock is the time as the gateway is told it: it stands still between scenes.
// Safe for concurrent use.
type clock struct{ now atomic.Pointer[time.Time] }

func newClock(at time.Time) *clock {
	c := &clock{}
	c.set(at)
	return c
}

func (c *clock) set(at time.Time) { c.now.Store(&at) }

func (c *clock) time() time.Time { return *c.now.Load() }
