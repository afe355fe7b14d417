package dnsfilter

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// cache holds upstream answers within a budget of bytes. It is divided into
// shards, each with its own lock and its own part of the budget. A full shard
// evicts by SIEVE (Zhang et al., NSDI 2024): a hand goes from the oldest entry
// to the newest, spares once whatever was used since it last came by, and
// throws out the first that was not. A hit therefore moves nothing and needs a
// read lock only, and a flood of names that are asked once leaves before what
// is asked again. The zero cache holds nothing; safe for concurrent use.
type cache struct {
	shards []cacheShard
	seed   maphash.Seed
	epoch  atomic.Uint64 // counts what made all earlier answers worthless
}

type cacheShard struct {
	mu     sync.RWMutex
	table  cacheTable
	newest *entry
	oldest *entry
	hand   *entry // where the next eviction starts looking; nil: at the oldest
	bytes  int64
	budget int64
	_      [32]byte // keeps neighbours' locks off one cache line
}

// place is where an entry stands in its shard. It is the shard's, under its
// lock, but for used.
type place struct {
	key          string // packed
	hash         uint64
	cost         int64
	used         atomic.Bool
	newer, older *entry
}

const (
	maxShards     = 64
	minShardBytes = 256 << 10
	entryOverhead = 350 // entry, slot and allocator rounding; measured, not computed
)

// newCache makes a cache of at most budget bytes; with a budget of 0 it keeps
// nothing.
func newCache(budget int64) *cache {
	c := &cache{seed: maphash.MakeSeed()}
	if budget <= 0 {
		return c
	}
	count := min(max(budget/minShardBytes, 1), maxShards)
	count = 1 << (bits.Len64(uint64(count)) - 1) // a power of two
	c.shards = make([]cacheShard, count)
	for i := range c.shards {
		c.shards[i].budget = budget / count
	}
	return c
}

func (c *cache) shard(hash uint64) *cacheShard {
	return &c.shards[hash>>32&uint64(len(c.shards)-1)]
}

// get returns what is held for key, fresh or not; nil for nothing. It does not
// allocate and keeps no hold of key.
func (c *cache) get(key []byte) *entry {
	if len(c.shards) == 0 {
		return nil
	}
	hash := maphash.Bytes(c.seed, key)
	s := c.shard(hash)
	s.mu.RLock()
	e := s.table.find(hash, key)
	s.mu.RUnlock()
	if e != nil && !e.used.Load() { // a plain store would bounce the line between cores
		e.used.Store(true)
	}
	return e
}

// put keeps e as the answer to key, in place of an older one, and returns how
// many entries had to leave for it. What has no lifetime is not kept, nor what
// is larger than a shard's budget. It finishes e, which nobody else may have
// seen, and which belongs to one key.
func (c *cache) put(key string, e *entry) (evicted int) {
	return c.putSince(c.epoch.Load(), key, e)
}

// putSince is put for an answer that was asked for in an epoch: it is not kept
// where the cache has been cleared meanwhile.
func (c *cache) putSince(epoch uint64, key string, e *entry) (evicted int) {
	if len(c.shards) == 0 || e.lifetime <= 0 {
		return 0
	}
	e.settle(key)
	e.hash = maphash.String(c.seed, key)
	e.cost = e.size() + int64(len(key)) + entryOverhead
	s := c.shard(e.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.table.find(e.hash, []byte(key)); old != nil {
		e.used.Store(old.used.Load()) // a renewed name has not lost its standing
		s.remove(old)
	}
	if e.cost > s.budget || c.epoch.Load() != epoch { // clear counts before it takes this lock
		return 0
	}
	for s.bytes+e.cost > s.budget {
		s.evict()
		evicted++
	}
	s.add(e)
	return evicted
}

func (s *cacheShard) add(e *entry) {
	e.older = s.newest
	if s.newest != nil {
		s.newest.newer = e
	} else {
		s.oldest = e
	}
	s.newest = e
	s.table.insert(e)
	s.bytes += e.cost
}

func (s *cacheShard) remove(e *entry) {
	if s.hand == e {
		s.hand = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		s.newest = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		s.oldest = e.newer
	}
	e.newer, e.older = nil, nil
	s.table.remove(e)
	s.bytes -= e.cost
}

// evict throws out one entry; the shard must hold one.
func (s *cacheShard) evict() {
	e := s.hand
	if e == nil {
		e = s.oldest
	}
	for e.used.Load() {
		e.used.Store(false)
		if e = e.newer; e == nil {
			e = s.oldest
		}
	}
	s.hand = e.newer
	s.remove(e)
}

// clear forgets everything, and what was asked for before it.
func (c *cache) clear() {
	c.epoch.Add(1)
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.table = cacheTable{}
		s.newest, s.oldest, s.hand, s.bytes = nil, nil, nil, 0
		s.mu.Unlock()
	}
}

// sweep takes out what can no longer be served at now, not even stale, and
// returns how many entries that were. Without it a quiet door would hold a
// day's answers for ever.
func (c *cache) sweep(now time.Time, stale time.Duration) (gone int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for e := s.oldest; e != nil; {
			next := e.newer
			if e.age(now) > e.lifetime+e.patience(stale) {
				s.remove(e)
				gone++
			}
			e = next
		}
		s.mu.Unlock()
	}
	return gone
}

// size returns how many entries are held and the memory they are taken to use.
func (c *cache) size() (entries int, bytes int64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		entries += s.table.count
		bytes += s.bytes
		s.mu.RUnlock()
	}
	return entries, bytes
}
