package audit

import (
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sallyport/sallyport/policy"
)

// seriesKey names one kind of decision. All of it comes from policy and
// catalogue, never from the network, so that the number of kinds is bounded by
// what an admin has written.
type seriesKey struct {
	door   policy.Door
	action policy.Action
	app    string // "" where none matched
	rule   string
	group  string // "" where none
}

// labels are the key as label values; Prometheus takes UTF-8 only.
func (k seriesKey) labels() (door, action, app, rule, group string) {
	app, group = k.app, k.group
	if app == "" {
		app = policy.NoApp
	}
	if group == "" {
		group = policy.NoGroup
	}
	clean := func(s string) string { return strings.ToValidUTF8(s, "\ufffd") }
	return k.door.String(), k.action.String(), clean(app), clean(k.rule), clean(group)
}

// hash mixes every byte of the key, eight at a time. The compiler's own hash of
// such a struct takes as long as all else that Record does. Keys are an admin's
// and not an attacker's, so it needs no secret.
func (k *seriesKey) hash() uint64 {
	h := uint64(k.door)<<8 | uint64(k.action)
	h = hashString(h, k.app)
	h = hashString(h, k.rule)
	return hashString(h, k.group)
}

func hashString(h uint64, s string) uint64 {
	const odd = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio
	h ^= uint64(len(s)) << 32
	for ; len(s) >= 8; s = s[8:] {
		h = (h ^ (uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56)) * odd
		h ^= h >> 32
	}
	var last uint64
	for i := range len(s) {
		last = last<<8 | uint64(s[i])
	}
	h = (h ^ last) * odd
	return h ^ h>>32
}

// series is one kind of decision: its counter, and how it is sampled.
type series struct {
	key   seriesKey
	count prometheus.Counter // nil where the kind is only sampled
	sampler
}

// seriesTable finds series by key without lock or allocation. Prometheus has
// such a table in CounterVec; it hashes label strings under a lock and is
// several times slower.
//
// Readers use an immutable index. A key that is not in it is looked up, or
// made, in a complete map under a lock; when that has happened as often as the
// map is large, the index is built anew. So each key is indexed a bounded
// number of times, however many there are.
type seriesTable struct {
	make  func(seriesKey) *series
	index atomic.Pointer[seriesIndex]

	mu     sync.Mutex
	all    map[seriesKey]*series
	missed int
}

// seriesIndex is a hash table with linear probing, a power of two in size and
// at most a quarter full.
type seriesIndex []*series

func newSeriesTable(mk func(seriesKey) *series) *seriesTable {
	t := &seriesTable{make: mk, all: map[seriesKey]*series{}}
	t.index.Store(&seriesIndex{nil})
	return t
}

// of is the series of a key, made where it is new.
func (t *seriesTable) of(k seriesKey) *series {
	if s := t.index.Load().find(&k); s != nil {
		return s
	}
	return t.ofUnindexed(k)
}

func (x seriesIndex) find(k *seriesKey) *series {
	mask := uint64(len(x) - 1)
	for i := k.hash() & mask; ; i = (i + 1) & mask {
		s := x[i]
		if s == nil || s.key == *k {
			return s
		}
	}
}

func (t *seriesTable) ofUnindexed(k seriesKey) *series {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.all[k]
	if !ok {
		s = t.make(k)
		s.key = k
		t.all[k] = s
	}
	if t.missed++; t.missed >= len(t.all) {
		t.index.Store(newSeriesIndex(t.all))
		t.missed = 0
	}
	return s
}

func newSeriesIndex(all map[seriesKey]*series) *seriesIndex {
	x := make(seriesIndex, 4<<bits.Len(uint(len(all))))
	mask := uint64(len(x) - 1)
	for k, s := range all {
		i := k.hash() & mask
		for x[i] != nil {
			i = (i + 1) & mask
		}
		x[i] = s
	}
	return &x
}
