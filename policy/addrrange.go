package policy

import (
	"math"
	"net/netip"
)

// AddrRange is the addresses of one family from First to Last, both included.
type AddrRange struct{ First, Last netip.Addr }

// ranges are the addresses of the classes that are wanted: sorted, apart from
// one another, IPv4 first. What lookup takes for IPv4 is in the ranges of IPv4
// alone.
func (t *prefixTable) ranges(want func(class uint32) bool) []AddrRange {
	var all []AddrRange
	for _, family := range []struct {
		cuts []cut
		end  wide
		bits int
	}{
		{t.cutsBelow(nil, &t.v4, wide{}, addrWords-1), wide{lo: math.MaxUint32}, 32},
		{t.cutsBelow(nil, &t.v6, wide{}, 0), wide{math.MaxUint64, math.MaxUint64}, 128},
	} {
		open := false
		for i, c := range family.cuts {
			last := family.end
			if i+1 < len(family.cuts) {
				last = family.cuts[i+1].at.previous()
			}
			if !want(c.class) {
				open = false
				continue
			}
			if open {
				all[len(all)-1].Last = last.addr(family.bits)
				continue
			}
			all = append(all, AddrRange{c.at.addr(family.bits), last.addr(family.bits)})
			open = true
		}
	}
	return all
}

// cutsBelow appends where the class changes among the addresses that begin as
// start does, up to the word at depth: the inverse of steps.
func (t *prefixTable) cutsBelow(all []cut, m *stepMap, start wide, depth int) []cut {
	steps := m.steps[:len(m.steps)-bucketSteps] // without the padding
	for i, s := range steps {
		at := start.withWord(depth, s.key)
		if s.value&deeperRef == 0 {
			all = append(all, cut{at, s.value})
			continue
		}
		d := &t.deeper[s.value&^deeperRef]
		all = t.cutsBelow(all, &d.next, at, depth+1)
		if s.key != math.MaxUint32 && (i+1 == len(steps) || steps[i+1].key != s.key+1) {
			all = append(all, cut{start.withWord(depth, s.key+1), d.after})
		}
	}
	return all
}

// withWord is a with one of its four 32-bit words, which must be zero, set.
func (a wide) withWord(i int, word uint32) wide {
	shifted := uint64(word) << (32 &^ (i << 5) & 63)
	if i >= 2 {
		return wide{a.hi, a.lo | shifted}
	}
	return wide{a.hi | shifted, a.lo}
}
