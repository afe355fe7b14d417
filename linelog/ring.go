package linelog

import (
	"math/bits"
	"runtime"
	"sync/atomic"
)

const (
	minPlaces = 8
	closedBit = uint64(1) << 63 // in ring.tail
	headEvery = 64              // entries after which freed places are announced
	cacheLine = 64
)

// What the reader is doing, for writers to know whether to wake it.
const (
	readerAwake  uint32 = iota
	readerRests         // for a moment, so that entries gather; wakes by itself
	readerSleeps        // until it is woken
)

// ring is a bounded queue with many writers and one reader. A writer claims a
// place, fills the entry in it, and publishes it; it never waits. A place is
// taken by advancing tail, which is also where the ring is closed: one atomic
// word, so that every entry is either seen by the reader or known to be lost.
type ring[R any] struct {
	places  []slot[R]
	reset   func(*R)
	mask    uint64
	quarter uint64 // wake a resting reader each time so many were written
	spare   uint64 // places that only entries that must be written may take
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

// slot is one place of the ring. It holds the entry of turn n when published
// is n+1.
type slot[R any] struct {
	published atomic.Uint64
	entry     R
}

func newRing[R any](size int, prepare, reset func(*R)) *ring[R] {
	size = max(size, minPlaces)
	n := uint64(1) << bits.Len64(uint64(size-1))
	places := make([]slot[R], n)
	if prepare != nil {
		for i := range places {
			prepare(&places[i].entry)
		}
	}
	if reset == nil {
		reset = func(r *R) { *r = *new(R) }
	}
	return &ring[R]{
		places:  places,
		reset:   reset,
		mask:    n - 1,
		quarter: n/4 - 1,
		spare:   n / 8,
		tell:    min(headEvery, n/8),
		wake:    make(chan struct{}, 1),
	}
}

// claim gives the caller a place to fill; ok is false where the ring is full
// or closed. Entries that must be written may use the last eighth of it.
func (q *ring[R]) claim(must bool) (r *R, turn uint64, ok bool) {
	room := q.mask + 1
	if !must {
		room -= q.spare
	}
	for {
		tail := q.tail.Load()
		// A stale head only makes the ring look fuller than it is. A tail
		// with closedBit is far beyond any head, and so looks full too.
		if tail-q.head.Load() >= room {
			return nil, 0, false
		}
		if q.tail.CompareAndSwap(tail, tail+1) {
			return &q.places[tail&q.mask].entry, tail, true
		}
	}
}

// publish hands a filled place to the reader.
func (q *ring[R]) publish(turn uint64) {
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

func (q *ring[R]) rouse() {
	if q.state.Swap(readerAwake) == readerAwake {
		return
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// close lets no more entries in.
func (q *ring[R]) close() { q.tail.Or(closedBit) }

// waiting is how many entries are in the ring, as far as writers know.
func (q *ring[R]) waiting() int {
	tail := q.tail.Load() &^ closedBit
	return max(0, int(tail-q.head.Load())) // head may pass a tail of a moment ago
}

// full reports whether entries are being turned away, be it only those that need
// not be written.
func (q *ring[R]) full() bool { return uint64(q.waiting()) >= q.mask+1-q.spare }

// next is the oldest entry, nil where there is none. For the reader only, and
// followed by free.
func (q *ring[R]) next() *R {
	p := &q.places[q.read&q.mask]
	if p.published.Load() != q.read+1 {
		return nil
	}
	return &p.entry
}

// free gives the place of the last next back. What was in it is let go of: an
// idle ring must not keep what entries of yesterday led to.
func (q *ring[R]) free() {
	q.reset(&q.places[q.read&q.mask].entry)
	q.read++
	if q.read%q.tell == 0 {
		q.head.Store(q.read)
	}
}

// idle says what the reader is about to do. It reports false where an entry
// has come meanwhile and the reader must not wait.
func (q *ring[R]) idle(state uint32) bool {
	q.head.Store(q.read)
	q.state.Store(state)
	if q.next() != nil {
		q.state.Store(readerAwake)
		return false
	}
	return true
}

// resume says that the reader is back.
func (q *ring[R]) resume() { q.state.Store(readerAwake) }

// drained reports whether the ring is closed and every entry in it was read.
// Where a writer is between claim and publish it lets that writer run.
func (q *ring[R]) drained() bool {
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
