package relay

import (
	"sync"
	"sync/atomic"
	"time"
)

// Flow is one tunnel that a Relay carries. Its methods are safe for concurrent
// use.
type Flow struct {
	relay   *Relay
	parking *parking
	handler Handler
	pace    Pacer
	over    chan struct{} // closed once the flow is to end; nil without a pacer

	// The relay's lock guards these.
	place      int // on the roll of all
	watchPlace int // on the roll of those that are watched

	mu      sync.Mutex
	ends    [2]end // by Side
	ways    [2]way // by the Side that they come from
	left    int8   // ways that are not over, and ends that are being closed
	stopped bool   // nobody but finish touches the ends any more
	natural bool   // it has stopped by itself
	reached bool   // outcome holds the side that came to its end first
	watched bool   // the sweeper looks after it
	outcome Outcome
	ticket  ticket // in the parking
}

// way is one direction of a flow.
type way struct {
	from  Side
	moved atomic.Int64 // when something last has, by the relay's clock

	// The flow's lock guards these.
	state   wayState
	writing bool          // in Write, which may wait
	late    bool          // Greet is to be called with Late
	due     time.Duration // when that is to be; 0: never

	// These belong to the mover, and under the flow's lock to whoever has it
	// while the way is parked.
	fresh    bool   // Greet has not been called
	greeting bool   // Greet has not let it go on
	ended    bool   // its source has ended, and something is still to be written
	copies   bool   // its source cannot be spliced
	bulk     bool   // a lot is expected
	credit   int    // granted by the pacer, and not fetched
	rest     []byte // to be written before anything is fetched
	load     *cargo // the same, where the destination takes no more for now
}

type wayState uint8

const (
	wayMoving wayState = iota // a mover works for it
	wayParked                 // it waits for an event
	wayOver
)

func (w *way) up() bool { return w.from == Client }

func newFlow(r *Relay, ends Ends, early []byte, handler Handler) *Flow {
	f := &Flow{relay: r, handler: handler, pace: ends.Pace, left: 2}
	f.parking = r.parkings[r.next.Add(1)%uint32(len(r.parkings))]
	if f.pace != nil {
		f.over = make(chan struct{})
	}
	f.ends[Client], f.ends[Upstream] = newEnd(ends.Client), newEnd(ends.Upstream)
	now := r.clock.Load()
	for side := range f.ways {
		f.ways[side].from = Side(side)
		f.ways[side].moved.Store(now)
	}
	up := &f.ways[Client]
	up.fresh, up.greeting, up.rest = true, true, early
	return f
}

// begin sets both ways going. The way down of a TCP connection has nothing to
// do yet but to wait.
func (f *Flow) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	down := &f.ways[Upstream]
	if f.stopped || !f.park(down, false) {
		f.launch(down)
	}
	f.launch(&f.ways[Client])
}

// End ends the flow: both its ends are closed, and Handler.Ended follows, on
// another goroutine. It does not wait, and may be called again.
func (f *Flow) End() { f.stop(Outcome{Cause: CauseEnded}) }

func (f *Flow) stop(outcome Outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.abort(outcome)
}

// abort ends the flow, unless something else has. The lock is held.
func (f *Flow) abort(outcome Outcome) {
	if f.halt(outcome) && f.left == 0 {
		// On another goroutine: the caller may hold locks that the handler wants.
		f.relay.running.Go(f.finish)
	}
}

// halt ends the flow, and reports whether nothing else had. The lock is held;
// where nothing is left, finish must follow.
func (f *Flow) halt(outcome Outcome) bool {
	if f.stopped {
		return false
	}
	f.stopped, f.outcome = true, outcome
	if f.over != nil {
		close(f.over)
	}
	for i := range f.ways {
		if w := &f.ways[i]; w.state == wayParked {
			f.quit(w)
		}
	}
	// Nobody may find the flow by an event of a descriptor that is closed.
	f.parking.forget(f)
	f.closeEnd(Upstream)
	if outcome.Cause != CauseRefused {
		f.closeEnd(Client)
		return true
	}
	f.parking.remove(&f.ends[Client])
	// Something may be on its way down to a client who does not read. One who
	// cannot be interrupted cannot be given back.
	if f.ways[Upstream].writing && !f.ends[Client].interruptWrite() {
		f.closeEnd(Client)
	}
	return true
}

// quit says that a way is over. What it still held is lost. The lock is held.
func (f *Flow) quit(w *way) {
	w.state = wayOver
	f.left--
	if w.load != nil {
		f.relay.unload(w.load)
		w.load = nil
	}
	w.rest = nil
}

// closeEnd closes one end. A TCP connection closes at once; the end of another
// stream may have to say good-bye. The lock is held.
func (f *Flow) closeEnd(side Side) {
	e := &f.ends[side]
	if e.bare() {
		_ = e.stream.Close()
		return
	}
	f.left++
	f.relay.running.Go(func() {
		_ = e.stream.Close()
		f.mu.Lock()
		f.left--
		last := f.left == 0
		f.mu.Unlock()
		if last {
			f.finish()
		}
	})
}

// leave is how a way says that it is over, and reports whether the flow is, so
// that finish must follow. A side that has merely nothing more to send leaves
// the other way open (half-close); one that is gone ends both.
func (f *Flow) leave(w *way, how ending) bool {
	from, to := w.from, w.from.other()
	passedOn := true
	if how == eof && f.reachedEnd(from) && !f.ends[to].bare() {
		passedOn = f.ends[to].closeWrite() // this may take a while
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.quit(w)
	switch {
	case f.stopped:
	case how == eof && !passedOn:
		f.halt(Outcome{Cause: CauseClosed, Side: from})
	case how == eof:
		if f.left > 0 && f.ends[to].bare() {
			f.ends[to].closeWrite()
		}
	case how == writeFailed:
		// What the destination said before it left is still on its way in the
		// other direction, which then ends by itself.
		f.reach(to)
	case how == readFailed:
		f.halt(Outcome{Cause: CauseBroken, Side: from})
	case how == left:
		f.halt(Outcome{Cause: CauseClosed, Side: from})
	case how == refused:
		f.halt(Outcome{Cause: CauseRefused})
	default: // the pacer lets nothing go on
		f.halt(Outcome{Cause: CauseEnded})
	}
	if f.left == 0 && !f.stopped {
		f.stopped, f.natural = true, true
		f.parking.forget(f)
	}
	return f.left == 0
}

// reachedEnd notes that a side has nothing more to send, and reports whether
// there is anybody left to whom that makes a difference.
func (f *Flow) reachedEnd(side Side) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reach(side)
	return f.left == 2 && !f.stopped
}

// reach notes that a side came to its end. The first one is remembered.
func (f *Flow) reach(side Side) {
	if !f.reached && !f.stopped {
		f.reached, f.outcome = true, Outcome{Cause: CauseClosed, Side: side}
	}
}

// launch gives a way a mover, on a goroutine of its own. The lock is held.
func (f *Flow) launch(w *way) {
	w.state = wayMoving
	f.relay.launch(f.relay.mover(f, w))
}

// watch has the sweeper look after the flow. The lock is held.
func (f *Flow) watch() {
	if f.watched || f.stopped {
		return
	}
	f.watched = true
	f.relay.mu.Lock()
	defer f.relay.mu.Unlock()
	f.relay.watched.add(f)
}

// unwatch undoes watch. The lock is held.
func (f *Flow) unwatch() {
	f.watched = false
	f.relay.mu.Lock()
	defer f.relay.mu.Unlock()
	f.relay.watched.remove(f)
}

// finish clears up behind a flow of which nothing is left, and tells the
// handler. Nobody else touches it any more, but for a call of End, and an event
// that comes too late.
func (f *Flow) finish() {
	f.mu.Lock()
	if f.watched {
		f.unwatch()
	}
	outcome := f.outcome
	f.mu.Unlock()
	if f.natural {
		_ = f.ends[Upstream].stream.Close()
		_ = f.ends[Client].stream.Close()
	}
	if outcome.Cause == CauseRefused {
		f.ends[Client].calm()
	}
	f.relay.mu.Lock()
	f.relay.flows.remove(f)
	f.relay.mu.Unlock()
	f.handler.Ended(outcome)
	f.relay.running.Done()
}
