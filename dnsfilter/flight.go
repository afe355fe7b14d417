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
// of a new one, which it then is itself: whoever waits has a goroutine at hand,
// and a fresh one for each would spend its time growing its stack. It returns
// early when ctx ends where the flight is another's.
func (f *flights) do(ctx context.Context, key string) (*entry, error) {
	fl, first, err := f.join(key)
	if err != nil {
		return nil, err
	}
	if first {
		f.run(fl, key)
	}
	return fl.land(ctx)
}

// share is do for whoever must be free to leave before the end: the flight then
// has a goroutine of its own.
func (f *flights) share(ctx context.Context, key string) (*entry, error) {
	fl, err := f.start(key)
	if err != nil {
		return nil, err
	}
	return fl.land(ctx)
}

// start begins a flight for a packed key in a goroutine of its own, unless one
// is under way.
func (f *flights) start(key string) (*flight, error) {
	fl, first, err := f.join(key)
	if first {
		go f.run(fl, key)
	}
	return fl, err
}

// join returns the flight for a packed key. The first to ask has to run it.
func (f *flights) join(key string) (fl *flight, first bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl := f.byKey[key]; fl != nil {
		return fl, false, nil
	}
	if f.closed {
		return nil, false, errClosed
	}
	if len(f.byKey) >= f.limit {
		return nil, false, errBusy
	}
	fl = &flight{done: make(chan struct{})}
	f.byKey[key] = fl
	f.running.Add(1)
	return fl, true, nil
}

// land waits for a flight's end, or for ctx's.
func (fl *flight) land(ctx context.Context) (*entry, error) {
	select {
	case <-fl.done:
		return fl.entry, fl.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (f *flights) run(fl *flight, key string) {
	defer f.running.Done()
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
