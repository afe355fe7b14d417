package dnsfilter

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
)

// flights sees to it that one question is asked upstream once at a time,
// however many clients ask it: they share the answer. It spares upstreams, and
// it denies an attacker the many open queries for one name that make guessing
// a reply likely (RFC 5452 §5). A flight belongs to the door, not to the client that
// started it, and lands even if that client has gone.
type flights struct {
	ctx     context.Context // ends all flights
	fetch   func(context.Context, string) (*entry, error)
	panicky func(value any, stack []byte)
	limit   int

	mu      sync.Mutex
	byKey   map[string]*flight
	closed  bool
	running sync.WaitGroup
}

type flight struct {
	done  chan struct{} // closed once entry and err are set
	entry *entry
	err   error
}

// do returns what fetch says to a packed key, of a flight that is under way or
// of a new one. It returns early when ctx ends; the flight goes on.
func (f *flights) do(ctx context.Context, key string) (*entry, error) {
	fl, err := f.join(key)
	if err != nil {
		return nil, err
	}
	select {
	case <-fl.done:
		return fl.entry, fl.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// join returns the flight for a packed key, which it starts where there is
// none.
func (f *flights) join(key string) (*flight, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl := f.byKey[key]; fl != nil {
		return fl, nil
	}
	if f.closed {
		return nil, errClosed
	}
	if len(f.byKey) >= f.limit {
		return nil, errBusy
	}
	fl := &flight{done: make(chan struct{})}
	f.byKey[key] = fl
	f.running.Go(func() { f.run(fl, key) })
	return fl, nil
}

func (f *flights) run(fl *flight, key string) {
	defer func() {
		if value := recover(); value != nil {
			f.panicky(value, debug.Stack())
			fl.entry, fl.err = nil, fmt.Errorf("look up: panic: %v", value)
		}
		f.mu.Lock()
		delete(f.byKey, key)
		f.mu.Unlock()
		close(fl.done)
	}()
	fl.entry, fl.err = f.fetch(f.ctx, key)
}

// close lets no new flight start and waits for those under way, which end with
// the context.
func (f *flights) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.running.Wait()
}
