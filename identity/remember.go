package identity

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	rememberShards = 64 // power of two
	evictionSample = 8  // entries looked at to make room for one
)

// remembered maps client addresses to the users last seen from them, for a
// time, in bounded memory. A nil *remembered is empty and stays so.
type remembered struct {
	lifetime time.Duration
	limit    int // per shard
	seed     uint64
	count    atomic.Int64
	shards   [rememberShards]rememberShard
}

type rememberShard struct {
	mu     sync.RWMutex
	byAddr map[netip.Addr]sighting
	_      [32]byte // a cache line each, so that readers of neighbours do not disturb one another
}

type sighting struct {
	user  string
	until time.Duration
}

func newRemembered(lifetime time.Duration, limit int) *remembered {
	m := &remembered{
		lifetime: lifetime,
		limit:    (limit + rememberShards - 1) / rememberShards,
		seed:     rand.Uint64() | 1,
	}
	for i := range m.shards {
		m.shards[i].byAddr = map[netip.Addr]sighting{}
	}
	return m
}

// at is who was last seen at addr, which may be too long ago to count.
func (m *remembered) at(addr netip.Addr) (sighting, bool) {
	if m == nil || m.count.Load() == 0 {
		return sighting{}, false
	}
	s := m.shard(addr)
	s.mu.RLock()
	seen, ok := s.byAddr[addr]
	s.mu.RUnlock()
	return seen, ok
}

// put notes that user is at addr now, in place of whoever was there before.
func (m *remembered) put(addr netip.Addr, user string, now time.Duration) {
	// A kept-alive client signs every request. Most of them change nothing
	// worth a write lock.
	if seen, ok := m.at(addr); ok && seen.user == user && seen.until-now > m.lifetime-m.lifetime/16 {
		return
	}
	s := m.shard(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.byAddr[addr]; !ok {
		if len(s.byAddr) >= m.limit {
			m.count.Add(-evictSoonest(s.byAddr, func(v sighting) time.Duration { return v.until }))
		}
		m.count.Add(1)
	}
	s.byAddr[addr] = sighting{user: user, until: now + m.lifetime}
}

// forget removes addr if user is who is remembered there.
func (m *remembered) forget(addr netip.Addr, user string) {
	s := m.shard(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byAddr[addr].user == user {
		delete(s.byAddr, addr)
		m.count.Add(-1)
	}
}

// keep forgets every user for whom wanted is false.
func (m *remembered) keep(wanted func(user string) bool) {
	if m == nil {
		return
	}
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		for addr, seen := range s.byAddr {
			if !wanted(seen.user) {
				delete(s.byAddr, addr)
				m.count.Add(-1)
			}
		}
		s.mu.Unlock()
	}
}

func (m *remembered) shard(addr netip.Addr) *rememberShard {
	b := addr.As16()
	hi, lo := bits.Mul64(binary.BigEndian.Uint64(b[:8])^binary.BigEndian.Uint64(b[8:])^m.seed, m.seed)
	return &m.shards[(hi^lo)%rememberShards]
}

// evictSoonest makes room in a full map: of a few entries, which map iteration
// picks at random, it deletes the one that ends first. It returns how many it
// deleted.
func evictSoonest[K comparable, V any](m map[K]V, until func(V) time.Duration) int64 {
	var victim K
	var soonest time.Duration
	looked := 0
	for k, v := range m {
		if u := until(v); looked == 0 || u < soonest {
			victim, soonest = k, u
		}
		if looked++; looked == evictionSample {
			break
		}
	}
	if looked == 0 {
		return 0
	}
	delete(m, victim)
	return 1
}
