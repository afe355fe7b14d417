package ratelimit

import (
	"math/bits"
	"sync"
)

const (
	ways    = 14 // places in a set: with lock and counters, four cache lines
	planned = 8  // clients a set is made for, so that chance overfills one in sixty
	minSets = 64 // 16 KiB: even a small table has place for some hundred busy networks
)

// table maps numbers to buckets in a fixed number of places. A number belongs
// to one set and may be at any place of it.
type table struct {
	allowance allowance
	sets      []set
}

type set struct {
	mu   sync.Mutex
	keys [ways]uint64
	full [ways]int64 // when the bucket is full again; what lies back is a bucket nobody needs
	over [ways]uint8
	_    [10]byte // to 256 bytes
}

func newTable(clients int, a allowance) table {
	return table{allowance: a, sets: make([]set, max((clients+planned-1)/planned, minSets))}
}

func (t *table) set(key uint64) *set {
	i, _ := bits.Mul64(key, uint64(len(t.sets)))
	return &t.sets[i]
}

// take takes a query from the bucket of key. Not known is a key that has no
// place, in a set where every bucket is still in use.
func (t *table) take(key uint64, now int64) (d Decision, known bool) {
	s := t.set(key)
	s.mu.Lock()
	i := s.find(key, now)
	if i >= 0 {
		d = t.allowance.take(&s.full[i], &s.over[i], now)
	}
	s.mu.Unlock()
	return d, i >= 0
}

// takeAny is take for a table behind which there is none: a key without a
// place shares another's bucket.
func (t *table) takeAny(key uint64, now int64) Decision {
	s := t.set(key)
	s.mu.Lock()
	i := s.find(key, now)
	if i < 0 {
		i = int(key % ways)
	}
	d := t.allowance.take(&s.full[i], &s.over[i], now)
	s.mu.Unlock()
	return d
}

// find gives the place of key, which it gets if one is free; else -1. A place
// that was never used is a full bucket like any other.
func (s *set) find(key uint64, now int64) int {
	for i := range s.keys {
		if s.keys[i] == key {
			return i
		}
	}
	for i := range s.full {
		if s.full[i] <= now {
			s.keys[i], s.over[i] = key, 0
			return i
		}
	}
	return -1
}
