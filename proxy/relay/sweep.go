package relay

import "time"

// sweepState is the sweeper's own.
type sweepState struct {
	flows    []*Flow       // those that it looks at
	rounds   time.Duration // when it has last looked at all flows
	trimming time.Duration // when it has at the pipes
}

const (
	longestRound = 10 * time.Second // between looks at all flows
	trimEvery    = 5 * time.Second  // looks at the pipes
	patience     = time.Second      // with a destination, before pipe and buffer are taken back
)

// sweep moves the clock on and looks after what takes too long. It is called by
// one goroutine.
func (r *Relay) sweep() {
	now := r.now()
	r.clock.Store(int64(now))
	s := &r.sweeps
	for _, f := range r.list(&r.watched) {
		f.tend(now)
	}
	if r.config.Idle > 0 && now-s.rounds >= min(r.config.Idle/16, longestRound) {
		s.rounds = now
		for _, f := range r.list(&r.flows) {
			f.expire(now)
		}
	}
	clear(s.flows)
	if now-s.trimming >= trimEvery {
		s.trimming = now
		r.pipes.trim()
	}
}

// list copies a roll, until the next call.
func (r *Relay) list(l *roll) []*Flow {
	clear(r.sweeps.flows)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweeps.flows = append(r.sweeps.flows[:0], l.flows...)
	return r.sweeps.flows
}

// tend reminds a greeting whose time is up, and takes pipes and buffers from
// ways whose destination takes nothing. It is done with the flow once there is
// neither to wait for.
func (f *Flow) tend(now time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.watched || f.stopped {
		return
	}
	more := false
	if up := &f.ways[Client]; up.due != 0 {
		if more = now < up.due || up.state != wayParked; !more {
			up.due, up.late = 0, true
			f.launch(up)
		}
	}
	for i := range f.ways {
		w := &f.ways[i]
		if w.state != wayParked || w.load == nil {
			continue
		}
		if now-time.Duration(w.moved.Load()) < patience {
			more = true
			continue
		}
		f.lighten(w)
	}
	if !more {
		f.unwatch()
	}
}

// lighten puts what a parked way holds into memory of its size. From now on the
// flow hears of a client that is gone, from whom nobody reads, perhaps for long.
// An upstream may be gone and have said all that it wanted to say.
func (f *Flow) lighten(w *way) {
	if w.up() {
		f.guard()
	}
	kept := make([]byte, len(w.load.piece)+w.load.held)
	if w.load.held == 0 {
		copy(kept, w.load.piece)
	} else if !w.load.pipe.empty(kept) {
		return // it stays where it is
	} else {
		w.load.held = 0
	}
	w.rest = kept
	f.relay.unload(w.load)
	w.load = nil
}

// expire ends a flow that has been idle for too long. Movements are stamped
// with the sweep before them, so that they may be a tick younger than they look.
func (f *Flow) expire(now time.Duration) {
	last := max(f.ways[Client].moved.Load(), f.ways[Upstream].moved.Load())
	if now-time.Duration(last) >= f.relay.config.Idle+f.relay.tick {
		f.stop(Outcome{Cause: CauseIdle})
	}
}
