package proxy

import (
	"sync"
	"sync/atomic"
	"time"
)

// idleWatch notices that nothing has happened for a while. One timer a
// connection and one atomic store a movement: no deadline is set on the data
// path. Use newIdleWatch; safe for concurrent use.
type idleWatch struct {
	limit   time.Duration
	began   time.Time
	last    atomic.Int64 // of the last movement, nanoseconds after began
	expired func()

	mu       sync.Mutex
	timer    *time.Timer
	stopped  bool
	expiring chan struct{} // closed when expired has returned; nil: it was not called
}

// newIdleWatch starts a watch that calls expired once, on its own goroutine,
// when limit has passed without a touch. stop must be called, and not by
// expired.
func newIdleWatch(limit time.Duration, expired func()) *idleWatch {
	w := &idleWatch{limit: limit, began: time.Now(), expired: expired}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(limit, w.check)
	return w
}

// touch says that something has just moved.
func (w *idleWatch) touch() { w.last.Store(int64(time.Since(w.began))) }

func (w *idleWatch) check() {
	w.mu.Lock()
	if w.stopped {
		w.mu.Unlock()
		return
	}
	quiet := time.Since(w.began) - time.Duration(w.last.Load())
	if quiet < w.limit {
		w.timer.Reset(w.limit - quiet)
		w.mu.Unlock()
		return
	}
	w.stopped = true
	w.expiring = make(chan struct{})
	defer close(w.expiring)
	w.mu.Unlock()
	w.expired()
}

// stop ends the watch. An expired call that is under way has returned when it
// does: what that would cut belongs to somebody else from then on.
func (w *idleWatch) stop() {
	w.mu.Lock()
	w.stopped = true
	w.timer.Stop()
	expiring := w.expiring
	w.mu.Unlock()
	if expiring != nil {
		<-expiring
	}
}
