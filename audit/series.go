package audit

import (
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

// series is one kind of decision: its counter, and how it is sampled.
type series struct {
	count prometheus.Counter // nil where the kind is only sampled
	sampler
}

// seriesTable finds series by key without lock or allocation. Prometheus has
// such a table in CounterVec; it hashes label strings under a lock and is ten
// times slower.
//
// Readers use an immutable map. A key that is not in it is looked up, or made,
// in a second and complete map under a lock; when that has happened as often
// as the map is large, the complete map becomes the readers' one. So each key
// is copied a bounded number of times, however many there are.
type seriesTable struct {
	make func(seriesKey) *series

	settled atomic.Pointer[map[seriesKey]*series]

	mu     sync.Mutex
	all    map[seriesKey]*series // nil: nothing beyond settled
	missed int
}

func newSeriesTable(mk func(seriesKey) *series) *seriesTable {
	t := &seriesTable{make: mk}
	t.settled.Store(&map[seriesKey]*series{})
	return t
}

// of is the series of a key, made where it is new.
func (t *seriesTable) of(k seriesKey) *series {
	if s, ok := (*t.settled.Load())[k]; ok {
		return s
	}
	return t.ofUnsettled(k)
}

func (t *seriesTable) ofUnsettled(k seriesKey) *series {
	t.mu.Lock()
	defer t.mu.Unlock()
	settled := *t.settled.Load()
	if s, ok := settled[k]; ok {
		return s
	}
	if t.all == nil {
		t.all = make(map[seriesKey]*series, 2*len(settled)+1)
		for key, s := range settled {
			t.all[key] = s
		}
	}
	s, ok := t.all[k]
	if !ok {
		s = t.make(k)
		t.all[k] = s
	}
	if t.missed++; t.missed >= len(t.all) {
		all := t.all
		t.settled.Store(&all)
		t.all, t.missed = nil, 0
	}
	return s
}
