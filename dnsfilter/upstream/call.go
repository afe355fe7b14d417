package upstream

import (
	"context"
	"sync"
	"time"
)

// call is one query under way. Whoever asks owns it, lends it to a socket or
// connection, and has it back once that delivered it or let it go: so it can
// be used again, buffers, timer and all.
type call struct {
	query Query
	id    uint16
	name  []byte // as it is sent
	sent  []byte // the packet, framed where the transport frames

	resent bool // more than one packet is under way

	response []byte // set before done, as is err
	err      error
	done     chan struct{} // one value for each delivery

	timer *time.Timer
	dice  dice
}

// calls are kept for the next query. A sync.Pool is no state of the program's:
// it may forget all of them at any time.
type calls struct{ free sync.Pool }

func (p *calls) borrow(q Query) *call {
	c, _ := p.free.Get().(*call)
	if c == nil {
		c = &call{done: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
		c.timer.Stop()
	}
	c.query, c.err, c.resent = q, nil, false
	return c
}

// maxKeptResponse is how large a buffer is kept with an idle call.
const maxKeptResponse = 4096

func (p *calls) giveBack(c *call) {
	if cap(c.response) > maxKeptResponse {
		c.response = nil
	}
	c.query = Query{}
	p.free.Put(c)
}

// deliver hands the call back to whoever asks.
func (c *call) deliver(response []byte, err error) {
	c.response, c.err = append(c.response[:0], response...), err
	c.done <- struct{}{}
}

// wait returns true once the call is delivered, and false when its time is over
// or ctx ends: then it must be taken back.
func (c *call) wait(ctx context.Context, deadline time.Time) bool {
	c.timer.Reset(time.Until(deadline))
	defer c.timer.Stop()
	select {
	case <-c.done:
		return true
	case <-c.timer.C:
		return false
	case <-ctx.Done():
		return false
	}
}

// why is the reason for which wait returned false.
func why(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return context.DeadlineExceeded
}

// waiting are the calls on one socket or connection, by id. An id that was
// given up stays taken, so that its late answer is known for one and is given
// to nobody else. Guarded by its owner's lock.
type waiting struct {
	byID map[uint16]*call // nil: given up
	live int
}

// add gives c an id that nobody else has here. It fails where that is hard.
func (w *waiting) add(c *call) bool {
	if w.byID == nil {
		w.byID = make(map[uint16]*call)
	}
	const tries = 16
	for range tries {
		id := c.dice.uint16()
		if _, taken := w.byID[id]; taken {
			continue
		}
		c.id = id
		w.byID[id] = c
		w.live++
		return true
	}
	return false
}

// remove ends the wait of the call with id.
func (w *waiting) remove(id uint16) {
	delete(w.byID, id)
	w.live--
}

// giveUp takes c back. False: it was delivered already.
func (w *waiting) giveUp(c *call) bool {
	if w.byID[c.id] != c {
		return false
	}
	w.byID[c.id] = nil
	w.live--
	return true
}

// deliverAll hands every call back with err.
func (w *waiting) deliverAll(err error) {
	for _, c := range w.byID {
		if c != nil {
			c.deliver(nil, err)
		}
	}
	w.byID, w.live = nil, 0
}

// givenUp is how many ids are taken by late answers.
func (w *waiting) givenUp() int { return len(w.byID) - w.live }
