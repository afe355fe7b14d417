package upstream

import "sync"

// crew is every goroutine of a Pool, and every Ask under way, so that Close can
// wait for them. Safe for concurrent use.
type crew struct {
	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

// enter counts the caller in; false once the crew is dismissed.
func (c *crew) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.running.Add(1)
	return true
}

func (c *crew) leave() { c.running.Done() }

// start runs work in a goroutine of its own; false: it does not, the crew is
// dismissed.
func (c *crew) start(work func()) bool {
	if !c.enter() {
		return false
	}
	go func() {
		defer c.leave()
		work()
	}()
	return true
}

// dismiss lets nobody else in; it reports whether that is new.
func (c *crew) dismiss() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.closed
	c.closed = true
	return !was
}

func (c *crew) wait() { c.running.Wait() }
