package audit

import (
	"math/bits"
	"runtime"
	"sync/atomic"
)

const (
	minQueue  = 8
	closedBit = uint64(1) << 63 // in queue.tail
	headEvery = 64              // entries after which freed places are announced
	cacheLine = 64
	nameRoom  = 64 // bytes kept in each place for a host's name: a longer one is allocated once
)

// What the reader is doing, for writers to know whether to wake it.
const (
	readerAwake  uint32 = iota
	readerRests         // for a moment, so that entries gather; wakes by itself
	readerSleeps        // until it is woken
)

// queue is a bounded ring with many writers and one reader. A writer claims a
// place, fills the record in it, and publishes it; it never waits. A place is
// taken by advancing tail, which is also where the queue is closed: one atomic
// word, so that every entry is either seen by the reader or known to be lost.
type queue struct {
	places  []place
	mask    uint64
	quarter uint64 // wake a resting reader each time so many were written
	spare   uint64 // places that only refusals may take
	tell    uint64 // announce freed places each time so many were read
	wake    chan struct{}

	_     [cacheLine]byte
	tail  atomic.Uint64 // places claimed, and closedBit
	_     [cacheLine]byte
	head  atomic.Uint64 // places freed, as far as writers have been told
	read  uint64        // places freed; the reader's own
	_     [cacheLine]byte
	state atomic.Uint32
}

// place is one slot of the ring. It holds the entry of turn n when published
// is n+1.
type place struct {
	published atomic.Uint64
	record    record
}

func newQueue(size int) *queue {
	size = max(size, minQueue)
	n := uint64(1) << bits.Len64(uint64(size-1))
	places := make([]place, n)
	names := make([]byte, n*nameRoom)
	for i := range places {
		from := i * nameRoom
		places[i].record.name = names[from : from : from+nameRoom]
	}
	return &queue{
		places:  places,
		mask:    n - 1,
		quarter: n/4 - 1,
		spare:   n / 8,
		tell:    min(headEvery, n/8),
		wake:    make(chan struct{}, 1),
	}
}

// claim gives the caller a place to fill; ok is false where the queue is full
// or closed. Refusals may use the last eighth of it.
func (q *queue) claim(refusal bool) (r *record, turn uint64, ok bool) {
	room := q.mask + 1
	if !refusal {
		room -= q.spare
	}
	for {
		tail := q.tail.Load()
		// A stale head only makes the queue look fuller than it is. A tail
		// with closedBit is far beyond any head, and so looks full too.
		if tail-q.head.Load() >= room {
			return nil, 0, false
		}
		if q.tail.CompareAndSwap(tail, tail+1) {
			return &q.places[tail&q.mask].record, tail, true
		}
	}
}

// publish hands a filled place to the reader.
func (q *queue) publish(turn uint64) {
	q.places[turn&q.mask].published.Store(turn + 1)
	// Waking a goroutine costs far more than all of the above. A resting
	// reader comes by itself, soon enough unless the ring is filling fast.
	switch q.state.Load() {
	case readerSleeps:
		q.rouse()
	case readerRests:
		if turn&q.quarter == 0 {
			q.rouse()
		}
	}
}

func (q *queue) rouse() {
	if q.state.Swap(readerAwake) == readerAwake {
		return
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// close lets no more entries in.
func (q *queue) close() { q.tail.Or(closedBit) }

// next is the oldest entry, nil where there is none. For the reader only, and
// followed by free.
func (q *queue) next() *record {
	p := &q.places[q.read&q.mask]
	if p.published.Load() != q.read+1 {
		return nil
	}
	return &p.record
}

// free gives the place of the last next back.
func (q *queue) free() {
	// An idle ring must not keep an old policy's tables in memory.
	r := &q.places[q.read&q.mask].record
	*r = record{name: r.name[:0]}
	q.read++
	if q.read%q.tell == 0 {
		q.head.Store(q.read)
	}
}

// idle says what the reader is about to do. It reports false where an entry
// has come meanwhile and the reader must not wait.
func (q *queue) idle(state uint32) bool {
	q.head.Store(q.read)
	q.state.Store(state)
	if q.next() != nil {
		q.state.Store(readerAwake)
		return false
	}
	return true
}

// resume says that the reader is back.
func (q *queue) resume() { q.state.Store(readerAwake) }

// drained reports whether the queue is closed and every entry in it was read.
// Where a writer is between claim and publish it lets that writer run.
func (q *queue) drained() bool {
	tail := q.tail.Load()
	if tail&closedBit == 0 {
		return false
	}
	if tail == q.read|closedBit {
		return true
	}
	runtime.Gosched()
	return false
}
