package relay

import (
	"errors"
	"os"
)

// mover works for one way of a flow, on a goroutine of its own. It is taken
// from a pool: what it needs to wait on a descriptor is bound once.
type mover struct {
	relay    *Relay
	flow     *Flow
	way      *way
	src, dst *end

	descriptors descriptorCalls // of ends that are bare
	pending     chan readResult // a Read of a stream that has been left waiting

	// What has been fetched and not been written: piece, which is in a buffer,
	// or held bytes in the pipe. Buffer and pipe are taken when there is
	// something to fetch, and given back when there is nothing more.
	piece []byte
	block *block
	slab  *slab
	sip   *sip
	pipe  *pipe
	held  int

	bulk bool // a lot is expected: the last fetch filled what it had
}

// ending says how an operation of a mover, or the mover's work, ended.
type ending uint8

const (
	going       ending = iota // it has not
	late                      // the greeting takes too long
	parked                    // the way is parked
	stopped                   // the flow was ended by something else
	left                      // the client has left before it was greeted
	refused                   // Greet refused
	eof                       // the source has nothing more to send
	readFailed                // the source is gone
	writeFailed               // the destination is gone
)

func newMover(r *Relay) *mover {
	m := &mover{relay: r}
	m.descriptors.bind(m)
	return m
}

// mover gives a way of a flow somebody who works for it.
func (r *Relay) mover(f *Flow, from Side) *mover {
	m := r.movers.Get().(*mover)
	m.flow, m.way, m.src, m.dst = f, &f.ways[from], &f.ends[from], &f.ends[from.other()]
	return m
}

// run works until the way is parked, or over.
func (m *mover) run() {
	r, f, w := m.relay, m.flow, m.way
	how := m.carry()
	m.abandon()
	m.release()
	m.flow, m.way, m.src, m.dst, m.bulk = nil, nil, nil, nil, false
	r.movers.Put(m)
	if how != parked {
		f.leave(w, how)
	}
	r.running.Done()
}

// carry moves what the source sends to the destination.
func (m *mover) carry() ending {
	w := m.way
	if w.fresh {
		early := w.rest
		w.fresh, w.rest = false, nil
		if how := m.greet(early, Arrived); how != going {
			return how
		}
	}
	for {
		if how := m.deliver(); how != going {
			return how
		}
		if w.ended {
			return eof
		}
		how := m.fetch()
		if how == parked {
			return parked // the way is somebody else's now
		}
		if w.greeting {
			how = m.greetWith(how)
		}
		if how != going {
			return how
		}
	}
}

// greetWith passes on to the handler what has been fetched, and how.
func (m *mover) greetWith(how ending) ending {
	switch how {
	case going:
		piece := m.piece
		m.piece = nil
		return m.greet(piece, Arrived)
	case late:
		return m.greet(nil, Late)
	case eof:
		m.way.ended = true
		return m.greet(nil, AtEnd)
	default:
		return how
	}
}

func (m *mover) greet(piece []byte, occasion Occasion) ending {
	w := m.way
	w.due.Store(0)
	g := m.flow.handler.Greet(piece, occasion)
	switch g.Then {
	case Carry:
		w.greeting, w.rest = false, g.Forward
		return m.pay(len(g.Forward))
	case Refuse:
		return refused
	}
	if occasion == AtEnd {
		return left
	}
	if g.Within > 0 {
		w.due.Store(int64(m.relay.now() + g.Within))
	}
	return going
}

// deliver writes all that there is to write.
func (m *mover) deliver() ending {
	for {
		var n int
		var err error
		w := m.way
		switch {
		case len(w.rest) > 0:
			n, err = m.write(w.rest)
			if w.rest = w.rest[n:]; len(w.rest) == 0 {
				w.rest = nil
			}
		case m.held > 0:
			n, err = m.drain()
			m.held -= n
		case len(m.piece) > 0:
			n, err = m.write(m.piece)
			m.piece = m.piece[n:]
		default:
			return going
		}
		if n > 0 {
			m.moved(n)
		}
		if err == nil {
			continue
		}
		how := writeFailed
		if errors.Is(err, os.ErrDeadlineExceeded) {
			how = m.interrupted(true)
		}
		if how != going {
			return how
		}
	}
}

// moved says that n bytes have been written.
func (m *mover) moved(n int) {
	if now := m.relay.clock.Load(); m.way.moved.Load() != now {
		m.way.moved.Store(now)
	}
	m.flow.handler.Moved(m.way.up(), int64(n))
}

// pay waits until the pacer has granted n bytes.
func (m *mover) pay(n int) ending {
	if m.flow.pace == nil {
		return going
	}
	for n > 0 {
		granted := m.flow.pace.Take(m.way.up(), n, m.flow.over)
		if granted <= 0 {
			return stopped
		}
		n -= granted
	}
	return going
}

// interrupted finds out why a wait on a descriptor has ended with nothing: the
// sweeper wants the greeting to be reminded or the way to park, or the flow is
// over.
func (m *mover) interrupted(writing bool) ending {
	f, w := m.flow, m.way
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return stopped
	}
	if !w.readNudged && !w.writeNudged {
		// A deadline that is not ours: who set it wants this end to fail.
		if writing {
			return writeFailed
		}
		return readFailed
	}
	m.calm()
	if !writing && w.reminded(m.relay.now()) {
		w.due.Store(0)
		return late
	}
	if !m.relay.quiet(w) || w.due.Load() != 0 {
		return going
	}
	if writing && !m.keep() {
		return writeFailed
	}
	if !f.park(w, writing) {
		w.parks.Store(false)
		return going
	}
	return parked
}

// release gives back what the mover holds. What is still in it is lost.
func (m *mover) release() {
	m.piece = nil
	if m.block != nil {
		m.relay.blocks.put(m.block)
		m.block = nil
	}
	if m.slab != nil {
		m.relay.slabs.put(m.slab)
		m.slab = nil
	}
	if m.sip != nil {
		m.relay.sips.put(m.sip)
		m.sip = nil
	}
	if m.pipe != nil {
		m.relay.pipes.put(m.pipe, m.held == 0)
		m.pipe, m.held = nil, 0
	}
}
