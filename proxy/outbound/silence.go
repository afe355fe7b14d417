package outbound

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// Bounds of what is remembered.
const (
	silenceTime = 30 * time.Second // for how long
	silenceSets = 256
	silenceWays = 4
)

// silence remembers for a while which addresses did not answer, in memory of a
// fixed size: where a set is full, the one that would be forgotten first makes
// room. It says in which order to try addresses, and nothing else. Safe for
// concurrent use.
type silence struct {
	seed maphash.Seed

	mu   sync.Mutex
	any  time.Time // after which nothing is remembered
	sets [silenceSets][silenceWays]silentOne
}

// silentOne is one address, and when it will be forgotten.
type silentOne struct {
	at    netip.AddrPort
	until time.Time
}

func newSilence() *silence { return &silence{seed: maphash.MakeSeed()} }

func (s *silence) set(at netip.AddrPort) *[silenceWays]silentOne {
	return &s.sets[maphash.Comparable(s.seed, at)%silenceSets]
}

// add remembers that an address did not answer.
func (s *silence) add(at netip.AddrPort) {
	until := time.Now().Add(silenceTime)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.any = until
	set := s.set(at)
	place := &set[0]
	for i := range set {
		if set[i].at == at {
			place = &set[i]
			break
		}
		if set[i].until.Before(place.until) {
			place = &set[i]
		}
	}
	*place = silentOne{at, until}
}

// remove forgets an address, which has answered.
func (s *silence) remove(at netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := s.set(at)
	for i := range set {
		if set[i].at == at {
			set[i] = silentOne{}
		}
	}
}

// putLast moves the addresses that are remembered behind the others. Among each
// other both keep their order.
func (s *silence) putLast(list []netip.AddrPort) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !now.Before(s.any) {
		return
	}
	var last []netip.AddrPort
	kept := list[:0]
	for _, at := range list {
		if s.holds(at, now) {
			last = append(last, at)
		} else {
			kept = append(kept, at)
		}
	}
	copy(list[len(kept):], last)
}

// holds reports whether an address is remembered. s.mu is held.
func (s *silence) holds(at netip.AddrPort, now time.Time) bool {
	for _, one := range s.set(at) {
		if one.at == at && now.Before(one.until) {
			return true
		}
	}
	return false
}
