package policy

import (
	"math"
	"math/bits"
	"slices"
)

// stepMap is a function of a 32-bit number that changes value at a few steps:
// the lookup structure under prefixTable. It is a radix index that adapts to
// where the steps are: a node spreads the span from its first to its last step over
// a table of equal buckets, and a bucket that still holds many steps is a node
// of its own. Steps that crowd into one corner of the space, as the subnets of
// one company do, cost a level more and no long search.
//
// A step keeps its value beside its key, so that a lookup among 100,000 steps
// leaves the near cache once or twice.
type stepMap struct {
	steps []step     // the first is at 0 and in no node; padded at the end
	nodes []stepNode // none where one bucket holds all steps
	slots []uint32   // index of the step that holds where a bucket begins, or a node's number
}

// step sets the value from a key on, until the next step.
type step struct {
	key   uint32
	value uint32
}

// stepNode covers the keys from first to last.
type stepNode struct {
	first, last uint32
	before, end uint32 // indexes of the steps that hold below first, and from last on
	table       uint32 // its first slot, less first>>shift
	shift       uint8
}

const (
	bucketSteps = 8       // steps that a bucket may hold before it becomes a node
	slotIsNode  = 1 << 31 // marks a slot as a reference to a node
	minFanBits  = 4       // a node's table is worth about 2^4 slots always,
	maxFanBits  = 16      // and has about 2^16 at most
)

// newStepMap indexes steps, which must be sorted by distinct keys and begin at
// key 0. It keeps the slice.
func newStepMap(steps []step) stepMap {
	m := stepMap{steps: steps}
	if len(steps)-1 > bucketSteps {
		m.addNode(1, len(steps))
	}
	m.pad()
	return m
}

// pad repeats the last value at the greatest key, so that every bucket can be
// read in full width.
func (m *stepMap) pad() {
	last := m.steps[len(m.steps)-1].value
	m.steps = slices.Grow(m.steps, bucketSteps)
	for range bucketSteps {
		m.steps = append(m.steps, step{math.MaxUint32, last})
	}
}

// value is the value at k.
func (m *stepMap) value(k uint32) uint32 {
	if len(m.nodes) == 0 {
		return m.within(0, k)
	}
	n := &m.nodes[0]
	for {
		if k < n.first {
			return m.steps[n.before].value
		}
		if k >= n.last {
			return m.steps[n.end].value
		}
		slot := m.slots[n.table+k>>(n.shift&31)]
		if slot&slotIsNode == 0 {
			return m.within(slot, k)
		}
		n = &m.nodes[slot&^slotIsNode]
	}
}

// within is the value at k, which lies in the bucket behind the step from: as
// many steps on as have keys up to k. The steps that follow a short bucket are
// all beyond k, so the same number is looked at always, and no branch is there
// to be mispredicted.
func (m *stepMap) within(from, k uint32) uint32 {
	bucket := (*[bucketSteps]step)(m.steps[from+1:])
	var beyond uint64
	for i := range bucket {
		_, less := bits.Sub64(uint64(k), uint64(bucket[i].key), 0)
		beyond += less
	}
	return m.steps[from+bucketSteps-uint32(beyond)].value
}

// addNode makes a node of the steps from lo up to hi and returns its number.
// Each level at least halves the span, so it ends.
func (m *stepMap) addNode(lo, hi int) uint32 {
	first, last := m.steps[lo].key, m.steps[hi-1].key
	shift := m.shiftFor(lo, hi)
	base := first >> shift
	table := len(m.slots)
	m.slots = append(m.slots, make([]uint32, int(last>>shift-base)+1)...)
	number := uint32(len(m.nodes))
	m.nodes = append(m.nodes, stepNode{
		first: first, last: last,
		before: uint32(lo - 1), end: uint32(hi - 1),
		table: uint32(table) - base,
		shift: uint8(shift),
	})
	from := lo
	for bucket := base; from < hi; bucket++ {
		to := from
		for to < hi && m.steps[to].key>>shift == bucket {
			to++
		}
		slot := uint32(from - 1)
		if to-from > bucketSteps {
			slot = m.addNode(from, to) | slotIsNode
		}
		m.slots[table+int(bucket-base)] = slot
		from = to
	}
	return number
}

// shiftFor picks the width of a node's buckets: two to four steps a bucket
// where the steps are spread evenly, wider where most of the table would be
// empty.
func (m *stepMap) shiftFor(lo, hi int) int {
	steps := m.steps[lo:hi]
	span := bits.Len32(steps[len(steps)-1].key - steps[0].key)
	fan := min(max(bits.Len(uint(len(steps)))-2, 1), maxFanBits, span)
	for ; fan > minFanBits; fan -= 2 {
		used := 1
		for i := 1; i < len(steps); i++ {
			if steps[i].key>>(span-fan) != steps[i-1].key>>(span-fan) {
				used++
			}
		}
		if used >= 1<<fan/8 {
			break
		}
	}
	return span - fan
}
