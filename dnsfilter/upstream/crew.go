package upstream

import "sync"

// crew is every goroutine of a Pool, and every Ask under way, so that Close can
// wait for them. Safe for concurrent use.
type crew struct {
	alarm *alarm

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

// start runs work in a goroutine of its own, as guard does; false: it does not,
// the crew is dismissed.
func (c *crew) start(work func(), failed func(error)) bool {
	if !c.enter() {
		return false
	}
	go func() {
		defer c.leave()
		c.guard(work, failed)
	}()
	return true
}

// guard runs work. Where it ends in a panic, failed is told an error instead,
// and has to let those go on who wait for what work would have done.
func (c *crew) guard(work func(), failed func(error)) {
	var err error
	func() {
		defer c.alarm.catch(&err)
		work()
	}()
	if err != nil {
		failed(err)
	}
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
