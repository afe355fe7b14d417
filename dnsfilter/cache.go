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
}

type cacheShard struct {
	mu     sync.RWMutex
	nodes  map[string]*cacheNode
	newest *cacheNode
	oldest *cacheNode
	hand   *cacheNode // where the next eviction starts looking; nil: at the oldest
	bytes  int64
	budget int64
	_      [40]byte // keeps neighbours' locks off one cache line
}

type cacheNode struct {
	key          string
	entry        *entry
	cost         int64
	used         atomic.Bool
	newer, older *cacheNode
}

const (
	maxShards     = 64
	minShardBytes = 256 << 10
	nodeOverhead  = 336 // node, entry, map slot and allocator rounding; measured, not computed
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
		c.shards[i].nodes = make(map[string]*cacheNode)
		c.shards[i].budget = budget / count
	}
	return c
}

func (c *cache) shard(key []byte) *cacheShard {
	return &c.shards[maphash.Bytes(c.seed, key)&uint64(len(c.shards)-1)]
}

// get returns what is held for key, fresh or not; nil for nothing. It does not
// allocate and keeps no hold of key.
func (c *cache) get(key []byte) *entry {
	if len(c.shards) == 0 {
		return nil
	}
	s := c.shard(key)
	s.mu.RLock()
	node := s.nodes[string(key)]
	s.mu.RUnlock()
	if node == nil {
		return nil
	}
	if !node.used.Load() { // a plain store would bounce the line between cores
		node.used.Store(true)
	}
	return node.entry
}

// put keeps e as the answer to key, in place of an older one, and returns how
// many entries had to leave for it. What has no lifetime is not kept, nor what
// is larger than a shard's budget.
func (c *cache) put(key string, e *entry) (evicted int) {
	if len(c.shards) == 0 || e.lifetime <= 0 {
		return 0
	}
	node := &cacheNode{key: key, entry: e, cost: e.cost() + int64(len(key)) + nodeOverhead}
	s := c.shard([]byte(key))
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.nodes[key]; old != nil {
		node.used.Store(old.used.Load()) // a renewed name has not lost its standing
		s.remove(old)
	}
	if node.cost > s.budget {
		return 0
	}
	for s.bytes+node.cost > s.budget {
		s.evict()
		evicted++
	}
	s.add(node)
	return evicted
}

func (s *cacheShard) add(node *cacheNode) {
	node.older = s.newest
	if s.newest != nil {
		s.newest.newer = node
	} else {
		s.oldest = node
	}
	s.newest = node
	s.nodes[node.key] = node
	s.bytes += node.cost
}

func (s *cacheShard) remove(node *cacheNode) {
	if s.hand == node {
		s.hand = node.newer
	}
	if node.newer != nil {
		node.newer.older = node.older
	} else {
		s.newest = node.older
	}
	if node.older != nil {
		node.older.newer = node.newer
	} else {
		s.oldest = node.newer
	}
	node.newer, node.older = nil, nil
	delete(s.nodes, node.key)
	s.bytes -= node.cost
}

// evict throws out one entry; the shard must hold one.
func (s *cacheShard) evict() {
	node := s.hand
	if node == nil {
		node = s.oldest
	}
	for node.used.Load() {
		node.used.Store(false)
		if node = node.newer; node == nil {
			node = s.oldest
		}
	}
	s.hand = node.newer
	s.remove(node)
}

// clear forgets everything.
func (c *cache) clear() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.nodes = make(map[string]*cacheNode)
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
		for node := s.oldest; node != nil; {
			next := node.newer
			if node.entry.age(now) > node.entry.lifetime+stale {
				s.remove(node)
				gone++
			}
			node = next
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
		entries += len(s.nodes)
		bytes += s.bytes
		s.mu.RUnlock()
	}
	return entries, bytes
}
