package ratelimit

import (
	"net/netip"
	"sync/atomic"
)

// Refusal is why a client gets no place.
type Refusal uint8

// The refusals.
const (
	None     Refusal = iota // he has got one
	OwnShare                // places are scarce, and he has his share of them
	NoPlace                 // all are taken, and not by him alone
)

// String is the refusal in plain words.
func (r Refusal) String() string {
	switch r {
	case None:
		return "none"
	case OwnShare:
		return "own share"
	default:
		return "no place"
	}
}

// Inflight shares out places for work that takes long. While half of them are
// free anybody may have as many as he likes; after that nobody gets one who
// has his share, so that a client who asks for random names holds
// half of the places at most, or his share where that is more. It is safe for concurrent
// use, takes no lock, and its memory is fixed.
//
// Clients are counted in two tables of counters at places that depend on their
// address and on chance; the smaller of his two counters is at least what the
// client has, and more only where both are shared with clients who have work
// under way. A wrong count refuses a place early, and never leaves one
// taken.
type Inflight struct {
	keys   keys
	places int64
	share  int64
	taken  atomic.Int64
	rows   [2][]atomic.Int32
}

// NewInflight has places for so many look-ups, of which one client may have
// share once half are taken. What is not positive is taken for 1.
func NewInflight(places, share int) *Inflight {
	places, share = max(places, 1), max(share, 1)
	size := 4 * places // a client's counter is free of others about four times in five
	return &Inflight{
		keys:   newKeys(),
		places: int64(places),
		share:  int64(share),
		rows:   [2][]atomic.Int32{make([]atomic.Int32, size), make([]atomic.Int32, size)},
	}
}

// Begin takes a place for addr, unless there is a Refusal: then nothing was
// taken, and End must not be called.
func (f *Inflight) Begin(addr netip.Addr) Refusal {
	first, second := f.counters(addr)
	taken := f.taken.Add(1)
	has := int64(min(first.Add(1), second.Add(1)))
	switch {
	case has > f.share && taken > f.places/2:
		f.leave(first, second)
		return OwnShare
	case taken > f.places:
		f.leave(first, second)
		return NoPlace
	default:
		return None
	}
}

// End gives back what Begin took.
func (f *Inflight) End(addr netip.Addr) { f.leave(f.counters(addr)) }

func (f *Inflight) leave(first, second *atomic.Int32) {
	first.Add(-1)
	second.Add(-1)
	f.taken.Add(-1)
}

func (f *Inflight) counters(addr netip.Addr) (first, second *atomic.Int32) {
	key := f.keys.of(addr.Unmap(), client)
	size := uint64(len(f.rows[0]))
	high, low := key>>32, key&(1<<32-1)
	return &f.rows[0][(high*size)>>32], &f.rows[1][(low*size)>>32]
}
