package relay

import "time"

// sweepState is the sweeper's own.
type sweepState struct {
	flows    []*Flow       // those of this sweep
	rounds   time.Duration // when the parked flows were last looked at
	trimming time.Duration // when the pipes were
}

const (
	longestRound = 10 * time.Second // between looks at the parked flows
	trimEvery    = 5 * time.Second  // looks at the pipes
)

// sweep moves the clock on and looks after what takes too long. It is called by
// one goroutine.
func (r *Relay) sweep() {
	now := r.now()
	r.clock.Store(int64(now))
	s := &r.sweeps
	for _, f := range r.list(&r.active) {
		f.sweep(now)
	}
	if r.config.Idle > 0 && now-s.rounds >= min(r.config.Idle/16, longestRound) {
		s.rounds = now
		for _, f := range r.list(&r.parked) {
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

// sweep looks after a flow that has a way that is not parked.
func (f *Flow) sweep(now time.Duration) {
	if f.expire(now) {
		return
	}
	for i := range f.ways {
		w := &f.ways[i]
		if !f.ends[i].bare() {
			continue
		}
		if w.reminded(now) || w.due.Load() == 0 && w.parks.Load() && f.relay.quiet(w) {
			f.nudge(w)
		}
	}
}

// expire ends a flow that has been idle for too long. Movements are stamped
// with the sweep before them, so that they may be a tick younger than they look.
func (f *Flow) expire(now time.Duration) bool {
	limit := f.relay.config.Idle
	last := max(f.ways[Client].moved.Load(), f.ways[Upstream].moved.Load())
	if limit <= 0 || now-time.Duration(last) < limit+f.relay.tick {
		return false
	}
	f.stop(Outcome{Cause: CauseIdle})
	return true
}

// quiet reports whether nothing has moved on a way for as long as it takes to
// be parked.
func (r *Relay) quiet(w *way) bool {
	return w.parks.Load() && r.clock.Load()-w.moved.Load() >= int64(r.config.Quiet)
}

// reminded reports whether the greeting should have gone on by now.
func (w *way) reminded(now time.Duration) bool {
	due := w.due.Load()
	return due != 0 && now >= time.Duration(due)
}

// nudge makes the mover of a way look up from its wait.
func (f *Flow) nudge(w *way) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.stopped || w.state != wayMoving:
	case w.stalled.Load():
		if !w.writeNudged {
			w.writeNudged = f.ends[w.from.other()].interruptWrite()
		}
	case !w.readNudged:
		w.readNudged = f.ends[w.from].interruptRead()
	}
}

// calm undoes nudge. The flow's lock is held.
func (m *mover) calm() {
	w := m.way
	if w.readNudged {
		w.readNudged = false
		_ = m.src.tcp.SetReadDeadline(time.Time{})
	}
	if w.writeNudged {
		w.writeNudged = false
		_ = m.dst.tcp.SetWriteDeadline(time.Time{})
	}
}
