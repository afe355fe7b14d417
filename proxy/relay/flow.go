package relay

import (
	"sync"
	"sync/atomic"
)

// Flow is one tunnel that a Relay carries. Its methods are safe for concurrent
// use.
type Flow struct {
	relay   *Relay
	handler Handler
	pace    Pacer
	over    chan struct{} // closed once the flow is to end; nil without a pacer
	place   int           // on a roll of the relay, whose lock guards it

	mu      sync.Mutex
	ends    [2]end // by Side
	ways    [2]way // by the Side that they come from
	left    int8   // ways that are not over, and ends that are being closed
	stopped bool   // nobody but finish touches the ends any more
	resting bool   // on the relay's roll of parked flows
	reached bool   // outcome holds the side that came to its end first
	outcome Outcome
	ticket  ticket // in the parking
}

// way is one direction of a flow.
type way struct {
	from  Side
	moved atomic.Int64 // when something last has, by the relay's clock
	due   atomic.Int64 // when Greet is to be called again; 0: only with news

	parks   atomic.Bool // it can be parked
	stalled atomic.Bool // it waits for its destination, rather than its source

	// The flow's lock guards these.
	state       wayState
	readNudged  bool // its source has a deadline that has passed
	writeNudged bool // its destination has
	writing     bool // in Write of a stream

	// These belong to the mover, and to nobody while there is none.
	fresh    bool   // Greet has not been called
	greeting bool   // Greet has not let it go on
	ended    bool   // its source has ended, and rest is still to be written
	copies   bool   // its source cannot be spliced
	rest     []byte // to be written before anything is read
	credit   int    // granted by the pacer, and not fetched
}

type wayState uint8

const (
	wayMoving wayState = iota // a mover works for it
	wayParked
	wayOver
)

func (w *way) up() bool { return w.from == Client }

func newFlow(r *Relay, ends Ends, early []byte, handler Handler) *Flow {
	f := &Flow{relay: r, handler: handler, pace: ends.Pace, left: 2}
	if f.pace != nil {
		f.over = make(chan struct{})
	}
	f.ends[Client], f.ends[Upstream] = newEnd(ends.Client), newEnd(ends.Upstream)
	now := r.clock.Load()
	for side := range f.ways {
		w := &f.ways[side]
		w.from = Side(side)
		w.moved.Store(now)
		w.parks.Store(r.config.Quiet > 0 && f.ends[side].bare())
	}
	up := &f.ways[Client]
	up.fresh, up.greeting, up.rest = true, true, early
	return f
}

// begin sets both ways going.
func (f *Flow) begin() {
	f.relay.running.Add(2)
	go f.relay.mover(f, Client).run()
	go f.relay.mover(f, Upstream).run()
}

// End ends the flow: both its ends are closed, and Handler.Ended follows, on
// another goroutine. It does not wait, and may be called again.
func (f *Flow) End() { f.stop(Outcome{Cause: CauseEnded}) }

func (f *Flow) stop(outcome Outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
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
		if f.ways[i].state == wayParked {
			f.ways[i].state = wayOver
			f.left--
		}
	}
	// Nobody may find the flow by an event of a descriptor that is closed.
	f.relay.parking.forget(f)
	f.closeEnd(Upstream)
	if outcome.Cause != CauseRefused {
		f.closeEnd(Client)
		return true
	}
	// Something may be on its way down to a client who does not read. One who
	// cannot be interrupted cannot be given back.
	down := &f.ways[Upstream]
	waits := down.writing || f.ends[Client].bare() && down.state == wayMoving
	if waits && !f.ends[Client].interruptWrite() {
		f.closeEnd(Client)
	}
	return true
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

// leave is how a way says that it is over. A side that has merely nothing more
// to send leaves the other way open (half-close); one that is gone ends both.
func (f *Flow) leave(w *way, how ending) {
	from, to := w.from, w.from.other()
	passedOn := true
	if how == eof && f.ended(from) && !f.ends[to].bare() {
		passedOn = f.ends[to].closeWrite() // this may take a while
	}
	f.mu.Lock()
	w.state = wayOver
	f.left--
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
	last := f.left == 0
	if !last {
		f.rest()
	}
	f.mu.Unlock()
	if last {
		f.finish()
	}
}

// ended notes that a side has nothing more to send, and reports whether there
// is anybody left to whom that makes a difference.
func (f *Flow) ended(side Side) bool {
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

// rest puts the flow among the parked ones, if nothing in it moves. The lock
// is held.
func (f *Flow) rest() {
	if f.resting || f.stopped || f.ways[Client].state == wayMoving || f.ways[Upstream].state == wayMoving {
		return
	}
	f.resting = true
	f.relay.mu.Lock()
	defer f.relay.mu.Unlock()
	f.relay.active.remove(f)
	f.relay.parked.add(f)
}

// resume sets a parked way going. The lock is held.
func (f *Flow) resume(w *way) {
	w.state = wayMoving
	w.moved.Store(f.relay.clock.Load())
	if f.resting {
		f.resting = false
		f.relay.mu.Lock()
		f.relay.parked.remove(f)
		f.relay.active.add(f)
		f.relay.mu.Unlock()
	}
	f.relay.running.Add(1)
	go f.relay.mover(f, w.from).run()
}

// finish clears up behind a flow of which nothing is left. Nobody else touches
// it any more, but for a call of End, and an event that comes too late.
func (f *Flow) finish() {
	f.mu.Lock()
	natural := !f.stopped
	f.stopped = true
	outcome := f.outcome
	f.mu.Unlock()
	if natural {
		f.relay.parking.forget(f)
		_ = f.ends[Upstream].stream.Close()
		_ = f.ends[Client].stream.Close()
	}
	if outcome.Cause == CauseRefused {
		f.ends[Client].calm()
	}
	f.relay.mu.Lock()
	if f.resting {
		f.relay.parked.remove(f)
	} else {
		f.relay.active.remove(f)
	}
	f.relay.mu.Unlock()
	f.handler.Ended(outcome)
	f.relay.running.Done()
}
