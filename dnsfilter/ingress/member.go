package ingress

import (
	"container/heap"
	"net/netip"
	"sync/atomic"
)

// standing is what the client of a connection is to the door.
type standing uint32

// The standings.
const (
	newcomer  standing = iota // nobody has said yet who it is
	known                     // may ask: by its address, or by what it has proven
	unproven                  // may not ask by its address, and may yet prove who it is
	stranger                  // may not ask: it is told once
	standings int      = iota
)

// gone is the number of queries under way of a member that has been sent away.
const gone = -1

// member is one connection of a crowd.
type member struct {
	transport Transport
	interrupt func() // ends its reading: the crowd has stopped
	cut       func() // closes it; may be called again, and from anywhere

	underWay atomic.Int32 // queries, or gone
	seen     atomic.Int64 // since the crowd's start, when the last query was done with
	standing atomic.Uint32

	// The rest is the crowd's, under its lock.
	key    int64 // what seen was when the heap last looked
	index  int   // in the heap of its standing; -1 once out of it
	client netip.Addr
}

// is reports whether a member has this standing now.
func (m *member) is(s standing) bool { return standing(m.standing.Load()) == s }

// begin marks a query as under way. It reports false when the connection has
// been sent away meanwhile: nothing of it is to be answered.
func (m *member) begin() bool {
	for {
		n := m.underWay.Load()
		if n == gone {
			return false
		}
		if m.underWay.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// end marks a query as done with at now, by the crowd's clock.
func (m *member) end(now int64) {
	m.seen.Store(now)
	m.underWay.Add(-1)
}

// busy reports whether anything is under way.
func (m *member) busy() bool { return m.underWay.Load() > 0 }

// memberHeap has the member with the smallest key first (container/heap).
type memberHeap []*member

func (h memberHeap) Len() int           { return len(h) }
func (h memberHeap) Less(i, j int) bool { return h[i].key < h[j].key }

func (h memberHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *memberHeap) Push(x any) {
	m := x.(*member)
	m.index = len(*h)
	*h = append(*h, m)
}

func (h *memberHeap) Pop() any {
	last := len(*h) - 1
	m := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	m.index = -1
	return m
}

func (h *memberHeap) rekey(m *member, key int64) {
	m.key = key
	heap.Fix(h, m.index)
}

// quietest is the member that has been idle longest, of those with nothing
// under way; nil where there is none. The heap knows when each was last seen as
// of some time ago, which can only be too early: so the first is looked at
// afresh, and put back where it belongs, until the first is what it seems.
func (h *memberHeap) quietest(now int64) *member {
	for len(*h) > 0 {
		m := (*h)[0]
		if m.key >= now {
			return nil // every one of them is busy
		}
		switch seen := m.seen.Load(); {
		case m.busy():
			h.rekey(m, now)
		case seen > m.key:
			h.rekey(m, seen)
		default:
			return m
		}
	}
	return nil
}
