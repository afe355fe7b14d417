package relay

import "time"

// mover works for one way of a flow for as long as there is something to do. It
// waits for nothing but streams that have no descriptor, and pacers: what has
// to wait for a descriptor is parked.
//
// It is taken from a pool.
type mover struct {
	relay    *Relay
	flow     *Flow
	way      *way
	src, dst *end

	alone func() // workAlone, bound once

	calls   calls           // on descriptors
	pending chan readResult // a Read of a stream that has been left waiting
	cargo   cargo           // fetched, and not written

	bulk  bool // a lot is expected: the last fetch filled what it had
	dry   bool // the last fetch has left nothing
	guest bool // it works on the goroutine of a waker, who has more to do
}

// ending says how an operation of a mover, or the mover's work, ended.
type ending uint8

const (
	going       ending = iota // it has not
	late                      // the greeting takes too long
	blocked                   // it would have to wait
	parked                    // the way is parked: it is somebody else's
	elsewhere                 // the work goes on, on another goroutine
	stopped                   // the flow was ended by something else
	left                      // the client has left before it was greeted
	refused                   // Greet refused
	eof                       // the source has nothing more to send
	readFailed                // the source is gone
	writeFailed               // the destination is gone
)

func newMover(r *Relay) *mover {
	m := &mover{relay: r}
	m.calls.bind(m)
	m.alone = m.workAlone
	return m
}

// mover gives a way of a flow somebody who works for it.
func (r *Relay) mover(f *Flow, w *way) *mover {
	m := r.movers.Get().(*mover)
	m.flow, m.way, m.src, m.dst = f, w, &f.ends[w.from], &f.ends[w.from.other()]
	return m
}

// launch lets a mover work on a goroutine of its own.
func (r *Relay) launch(m *mover) {
	r.running.Add(1)
	go m.alone()
}

func (m *mover) workAlone() {
	defer m.relay.running.Done()
	m.work()
}

// work works until the way is parked, or over.
func (m *mover) work() {
	r, f, w, guest := m.relay, m.flow, m.way, m.guest
	how := m.carry()
	if how == elsewhere {
		m.guest = false
		r.launch(m)
		return
	}
	m.abandon()
	r.release(&m.cargo)
	m.flow, m.way, m.src, m.dst, m.bulk, m.dry, m.guest = nil, nil, nil, nil, false, false, false
	r.movers.Put(m)
	if how == parked || !f.leave(w, how) {
		return
	}
	if guest {
		r.running.Go(f.finish)
		return
	}
	f.finish()
}

// carry moves what the source sends to the destination.
func (m *mover) carry() ending {
	if how := m.resume(); how != going {
		return how
	}
	for {
		if how := m.deliver(); how != going {
			return how
		}
		if m.way.ended {
			return eof
		}
		if m.guest && m.bulk {
			return elsewhere
		}
		how := m.fetch()
		if how == parked {
			return parked
		}
		if m.way.greeting {
			how = m.greetWith(how)
		}
		if how != going {
			return how
		}
	}
}

// resume begins, or takes up what was parked.
func (m *mover) resume() ending {
	w := m.way
	m.bulk = w.bulk
	if w.load != nil {
		m.cargo = *w.load
		*w.load = cargo{}
		m.relay.unload(w.load)
		w.load = nil
	}
	switch {
	case w.fresh:
		early := w.rest
		w.fresh, w.rest = false, nil
		return m.greet(early, Arrived)
	case w.late:
		w.late = false
		return m.greet(nil, Late)
	}
	return going
}

// greetWith passes on to the handler what has been fetched, and how.
func (m *mover) greetWith(how ending) ending {
	switch how {
	case going:
		piece := m.cargo.piece
		m.cargo.piece = nil
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
	m.remind(0)
	g := m.flow.handler.Greet(piece, occasion)
	switch g.Then {
	case Carry:
		m.way.greeting, m.way.rest = false, g.Forward
		return m.pay(len(g.Forward))
	case Pass:
		m.way.rest = g.Forward
		return m.pay(len(g.Forward))
	case Refuse:
		return refused
	}
	if occasion == AtEnd {
		return left
	}
	if g.Within > 0 {
		m.remind(m.relay.now() + g.Within)
	}
	return going
}

// remind has the greeting go on at a time, even if nothing has come; 0: never.
func (m *mover) remind(due time.Duration) {
	f := m.flow
	f.mu.Lock()
	defer f.mu.Unlock()
	m.way.due = due
	if due != 0 && m.src.bare() {
		f.watch() // a stream is waited for with a timer
	}
}

// deliver writes all that there is to write.
func (m *mover) deliver() ending {
	for {
		var n int
		how := going
		w, c := m.way, &m.cargo
		switch {
		case len(w.rest) > 0:
			n, how = m.write(w.rest)
			if w.rest = w.rest[n:]; len(w.rest) == 0 {
				w.rest = nil
			}
		case c.held > 0:
			n, how = m.drain()
			c.held -= n
		case len(c.piece) > 0:
			n, how = m.write(c.piece)
			c.piece = c.piece[n:]
		default:
			return going
		}
		if n > 0 {
			m.moved(n)
		}
		if how == blocked {
			how = m.park(true)
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

// park leaves the way to whoever sees the next event: at its destination, while
// it is writing, or at its source.
func (m *mover) park(writing bool) ending {
	f, w := m.flow, m.way
	if !writing {
		m.relay.release(&m.cargo)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return stopped
	}
	w.bulk = m.bulk
	if writing && !m.cargo.empty() {
		w.load = m.relay.loads.get()
		*w.load = m.cargo
		m.cargo = cargo{}
		f.watch()
	}
	switch {
	case f.park(w, writing):
		return parked
	case writing:
		return writeFailed
	default:
		return readFailed
	}
}
