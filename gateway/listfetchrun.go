package gateway

import (
	"context"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/policy"
)

// followedList is a list that has a goroutine of its own.
type followedList struct {
	source policy.ListSource
	cancel context.CancelFunc
	done   chan struct{}
	again  chan struct{} // it is wanted anew
}

// run keeps every list that is wanted fresh until ctx ends, and returns when
// nothing is under way any more.
func (f *listFetcher) run(ctx context.Context) {
	if err := f.deps.store.sweep(f.wants(), f.deps.now()); err != nil {
		f.deps.log.Warn("old copies of lists not cleared away", zap.Error(err))
	}
	followed := map[string]*followedList{}
	var following sync.WaitGroup
	defer following.Wait()
	f.reconcile(ctx, followed, &following, f.limits.dueAtStart)
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
			f.reconcile(ctx, followed, &following, f.limits.due)
		}
	}
}

func (f *listFetcher) wants() map[string]policy.ListSource {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.wanted)
}

// reconcile ends what nobody wants any more, begins what is new, and lets the
// others know that they are still wanted. due is when a list that is there is
// fetched first.
func (f *listFetcher) reconcile(ctx context.Context, followed map[string]*followedList, following *sync.WaitGroup, due func(refresh, age time.Duration) time.Duration) {
	wanted := f.wants()
	names := map[string]bool{}
	for _, source := range wanted {
		names[source.Name] = true
	}
	for key, l := range followed {
		if source, ok := wanted[key]; ok && source == l.source {
			select {
			case l.again <- struct{}{}:
			default:
			}
			continue
		}
		l.cancel()
		<-l.done // two must never write to one key
		delete(followed, key)
		if !names[l.source.Name] {
			f.deps.metrics.drop(l.source.Name)
		}
	}
	for key, source := range wanted {
		if followed[key] != nil {
			continue
		}
		its, cancel := context.WithCancel(ctx)
		l := &followedList{source: source, cancel: cancel, done: make(chan struct{}), again: make(chan struct{}, 1)}
		followed[key] = l
		f.deps.metrics.follow(source.Name)
		first := f.first(source, key, due)
		following.Go(func() {
			defer close(l.done)
			f.follow(its, l, key, first)
		})
	}
}

// first is how long a list can wait for its first fetch.
func (f *listFetcher) first(source policy.ListSource, key string, due func(refresh, age time.Duration) time.Duration) time.Duration {
	state, _ := f.state(key)
	if state.absent {
		return 0
	}
	return due(f.limits.refresh(source), f.deps.now().Sub(state.checked))
}

// follow fetches one list again and again until ctx ends.
func (f *listFetcher) follow(ctx context.Context, l *followedList, key string, first time.Duration) {
	defer l.cancel()
	timer := time.NewTimer(first)
	defer timer.Stop()
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.again:
			if wait, soon := f.soon(key); soon {
				timer.Reset(wait)
			}
			continue
		case <-timer.C:
		}
		if f.settled(l.source, key) {
			continue // until it is wanted anew
		}
		err := f.fetchInTurn(ctx, l.source, key, failures)
		if ctx.Err() != nil {
			return
		}
		failures++
		if err == nil {
			failures = 0
		}
		wait := f.limits.wait(f.limits.refresh(l.source), failures, err, f.deps.random)
		f.plan(l.source, key, err, wait)
		timer.Reset(wait)
	}
}

// settled reports whether a list can never change: its content is pinned, and
// it is there.
func (f *listFetcher) settled(source policy.ListSource, key string) bool {
	state, _ := f.state(key)
	return source.SHA256 != "" && !state.absent
}

// soon is how long a list that is missing or in trouble can wait, now that it
// is wanted anew; false for one that is well.
func (f *listFetcher) soon(key string) (wait time.Duration, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.states[key]
	if s == nil {
		return 0, false
	}
	if !s.absent {
		_, err := f.deps.store.record(key)
		s.absent = err != nil // somebody took it away
	}
	if !s.absent && s.trouble == "" {
		return 0, false
	}
	if s.tried.IsZero() {
		return 0, true
	}
	return max(0, f.limits.pause-f.deps.now().Sub(s.tried)), true
}

// fetchInTurn is fetch, with no more of them at a time than may be. Whoever
// read in the log that a list failed, failures times, also reads that it is
// well again, though nothing in it may have changed.
func (f *listFetcher) fetchInTurn(ctx context.Context, source policy.ListSource, key string, failures int) error {
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	result, err := f.fetch(ctx, source, key)
	if err == nil {
		level, message := zap.InfoLevel, "list fetched"
		fields := []zap.Field{zap.String("list", source.Name), zap.String("url", shownURL(source.URL)), zap.String("result", result)}
		switch {
		case failures > 0:
			message, fields = "list fetched again", append(fields, zap.Int("failures", failures))
		case result == fetchUnchanged:
			level = zap.DebugLevel
		}
		f.deps.log.Log(level, message, fields...)
	}
	return err
}

// plan notes when a list is fetched next, and logs why the last fetch failed.
func (f *listFetcher) plan(source policy.ListSource, key string, err error, wait time.Duration) {
	f.mu.Lock()
	state := f.states[key]
	absent := state != nil && state.absent
	if state != nil {
		state.next = f.deps.now().Add(wait)
	}
	f.mu.Unlock()
	if err == nil {
		return
	}
	message := "list not fetched: its last good copy keeps deciding"
	if absent {
		message = "list not fetched, and there is no copy of it"
	}
	f.deps.log.Warn(message, zap.String("list", source.Name), zap.String("url", shownURL(source.URL)),
		zap.String("result", fetchResult(err)), zap.Error(err), zap.Duration("again_in", wait.Round(time.Second)))
}
