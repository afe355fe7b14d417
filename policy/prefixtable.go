package policy

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"
	"slices"
)

// prefixTable maps addresses to classes. The prefixes cut each family's
// address space into intervals that no prefix boundary crosses; every address
// of an interval lies in the same prefixes, so an interval needs one number.
// Immutable, safe for concurrent use.
type prefixTable struct {
	v4      stepMap
	v6      stepMap // by the first 32 bits; values with deeperRef set refer to deeper
	deeper  []deeperCut
	outside uint32 // class of what is no address
}

// deeperCut tells how the addresses that begin with the same 32, 64 or 96 bits
// are cut further, by the next 32 bits. IPv6 networks of one company share
// their first bits and few are longer than /64, so that most addresses are
// found in the second such map.
type deeperCut struct {
	word  uint32  // the last 32 of the bits shared
	next  stepMap // by the next 32 bits
	after uint32  // class of the addresses behind these, up to the next step
}

// deeperRef marks a value as an index of deeper. Classes stay below it.
const deeperRef = 1 << 31

// wide is an address as a number. IPv4 uses the low 32 bits.
type wide struct{ hi, lo uint64 }

const addrWords = 4 // words of 32 bits in a wide

func (a wide) compare(b wide) int {
	if a.hi != b.hi {
		return cmp.Compare(a.hi, b.hi)
	}
	return cmp.Compare(a.lo, b.lo)
}

// span is a prefix as an interval: from first to last, both inclusive.
type span struct {
	first, last wide
	index       int32
	bits        int16
}

// compare puts wider spans before those inside them, and equal ones in the
// order given.
func (s span) compare(other span) int {
	if by := s.first.compare(other.first); by != 0 {
		return by
	}
	if s.bits != other.bits {
		return cmp.Compare(s.bits, other.bits)
	}
	return cmp.Compare(s.index, other.index)
}

// cut is the start of an interval, which runs to the next cut.
type cut struct {
	at    wide
	class uint32
}

// buildPrefixTable cuts the address space at the boundaries of prefixes.
// class names the class of an interval by the indexes of all prefixes that
// contain it, the shortest first, equal ones in the order given; it is called
// first with an empty chain (no prefix at all), then once for each distinct
// chain, must not keep the slice, and must stay below 1<<31. Prefixes of IPv4-mapped addresses count
// as IPv4; what is not a valid prefix is left out.
func buildPrefixTable(prefixes []netip.Prefix, class func(chain []int32) uint32) *prefixTable {
	v4, v6 := spansOf(prefixes)
	t := &prefixTable{outside: class(nil)}
	t.v4 = t.steps(cutsOf(v4, wide{lo: math.MaxUint32}, t.outside, class), addrWords-1, t.outside)
	t.v6 = t.steps(cutsOf(v6, wide{math.MaxUint64, math.MaxUint64}, t.outside, class), 0, t.outside)
	return t
}

// lookup is the class of the interval that holds an address; IPv4-mapped
// addresses are looked up as IPv4, zones do not count, and what is no address
// has the class of the empty chain. It allocates nothing.
func (t *prefixTable) lookup(a netip.Addr) uint32 {
	switch {
	case a.Is4() || a.Is4In6():
		b := a.As4()
		return t.v4.value(binary.BigEndian.Uint32(b[:]))
	case a.IsValid():
		b := a.As16()
		return t.lookup6(wide{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])})
	default:
		return t.outside
	}
}

func (t *prefixTable) lookup6(a wide) uint32 {
	m := &t.v6
	for i := 0; ; i++ {
		word := a.word(i)
		class := m.value(word)
		if class&deeperRef == 0 {
			return class
		}
		d := &t.deeper[class&^deeperRef]
		if d.word != word {
			return d.after
		}
		m = &d.next
	}
}

// spansOf turns prefixes into intervals of their family.
func spansOf(prefixes []netip.Prefix) (v4, v6 []span) {
	for i, p := range prefixes {
		if !p.IsValid() {
			continue
		}
		a, length := p.Addr(), p.Bits()
		if a.Is4In6() && length >= 96 {
			a, length = a.Unmap(), length-96
		}
		if a.Is4() {
			b := a.As4()
			host := uint64(math.MaxUint32) >> length
			first := uint64(binary.BigEndian.Uint32(b[:])) &^ host
			v4 = append(v4, span{wide{lo: first}, wide{lo: first | host}, int32(i), int16(length)})
			continue
		}
		b := a.As16()
		host := wide{math.MaxUint64 >> min(length, 64), math.MaxUint64 >> max(length-64, 0)}
		first := wide{binary.BigEndian.Uint64(b[:8]) &^ host.hi, binary.BigEndian.Uint64(b[8:]) &^ host.lo}
		v6 = append(v6, span{first, wide{first.hi | host.hi, first.lo | host.lo}, int32(i), int16(length)})
	}
	return v4, v6
}

// openSpan is a span that the sweep is inside of.
type openSpan struct {
	last   wide
	class  uint32
	judged bool // class is known: the chain up to here has been named
}

// sweep walks intervals from the lowest address up. Prefixes nest or are
// apart, so the ones that contain the present address are a stack.
type sweep struct {
	open  []openSpan
	chain []int32 // indexes of the open spans
	class func([]int32) uint32
	none  uint32
	cuts  []cut
}

// cutsOf returns where the class changes. The first cut is at the lowest
// address; the space ends with the address end.
func cutsOf(spans []span, end wide, none uint32, class func([]int32) uint32) []cut {
	slices.SortFunc(spans, span.compare)
	s := sweep{class: class, none: none, cuts: make([]cut, 0, 2*len(spans)+1)}
	next := wide{}
	for i := range spans {
		sp := &spans[i]
		next = s.closeBefore(next, sp.first)
		if next.compare(sp.first) < 0 {
			s.emit(next)
		}
		next = sp.first
		s.open = append(s.open, openSpan{last: sp.last})
		s.chain = append(s.chain, sp.index)
	}
	for len(s.open) > 0 {
		last := s.open[len(s.open)-1].last
		s.emitUpTo(next, last)
		s.pop()
		if last == end {
			return s.cuts // whatever is open ends here too
		}
		next = last.next()
	}
	s.emit(next)
	return s.cuts
}

// closeBefore pops what ends before first, and returns where the interval that
// is then open begins.
func (s *sweep) closeBefore(next, first wide) wide {
	for len(s.open) > 0 && s.open[len(s.open)-1].last.compare(first) < 0 {
		last := s.open[len(s.open)-1].last
		s.emitUpTo(next, last)
		s.pop()
		next = last.next()
	}
	return next
}

func (s *sweep) pop() {
	s.open = s.open[:len(s.open)-1]
	s.chain = s.chain[:len(s.chain)-1]
}

// emitUpTo emits the interval from next to last, unless spans that ended
// before took all of it.
func (s *sweep) emitUpTo(next, last wide) {
	if next.compare(last) <= 0 {
		s.emit(next)
	}
}

// emit cuts at an address, unless the class stays what it is.
func (s *sweep) emit(at wide) {
	class := s.none
	if n := len(s.open); n > 0 {
		top := &s.open[n-1]
		if !top.judged {
			top.class, top.judged = s.class(s.chain), true
		}
		class = top.class
	}
	if n := len(s.cuts); n > 0 && s.cuts[n-1].class == class {
		return
	}
	s.cuts = append(s.cuts, cut{at, class})
}

func (a wide) next() wide {
	lo, carry := bits.Add64(a.lo, 1, 0)
	return wide{a.hi + carry, lo}
}

// steps turns cuts that agree in every word before depth into a map by the
// word at depth. The class of what lies before the first cut is before.
func (t *prefixTable) steps(cuts []cut, depth int, before uint32) stepMap {
	steps := make([]step, 0, len(cuts)+1)
	if cuts[0].at.word(depth) != 0 {
		steps = append(steps, step{0, before})
	}
	for len(cuts) > 0 {
		word, n := cuts[0].at.word(depth), 1
		for n < len(cuts) && cuts[n].at.word(depth) == word {
			n++
		}
		class := cuts[n-1].class
		if n == 1 && cuts[0].at.zeroBehind(depth) {
			steps = append(steps, step{word, class})
		} else {
			d := deeperCut{word: word, next: t.steps(cuts[:n], depth+1, before), after: class}
			steps = append(steps, step{word, deeperRef | uint32(len(t.deeper))})
			t.deeper = append(t.deeper, d)
		}
		before, cuts = class, cuts[n:]
	}
	return newStepMap(steps)
}

// word is one of the four 32-bit words of an address, the highest first.
func (a wide) word(i int) uint32 {
	half := a.hi
	if i >= 2 {
		half = a.lo
	}
	return uint32(half >> (32 &^ (i << 5) & 63))
}

// zeroBehind reports whether all words behind word i are zero.
func (a wide) zeroBehind(i int) bool {
	for i++; i < addrWords; i++ {
		if a.word(i) != 0 {
			return false
		}
	}
	return true
}

// prefixesWhere returns the addresses of class 1, as the fewest prefixes that
// cover them and nothing else, IPv4 first. Prefixes and class are as for
// buildPrefixTable.
func prefixesWhere(prefixes []netip.Prefix, class func(chain []int32) uint32) []netip.Prefix {
	v4, v6 := spansOf(prefixes)
	none := class(nil)
	var all []netip.Prefix
	for _, family := range []struct {
		spans []span
		end   wide
		bits  int
	}{{v4, wide{lo: math.MaxUint32}, 32}, {v6, wide{math.MaxUint64, math.MaxUint64}, 128}} {
		cuts := cutsOf(family.spans, family.end, none, class)
		for i, c := range cuts {
			if c.class != 1 {
				continue
			}
			last := family.end
			if i+1 < len(cuts) {
				last = cuts[i+1].at.previous()
			}
			all = appendInterval(all, c.at, last, family.bits)
		}
	}
	return slices.Clip(all)
}

// appendInterval appends the fewest prefixes that cover first to last.
func appendInterval(all []netip.Prefix, first, last wide, familyBits int) []netip.Prefix {
	for {
		free := 0 // bits that the next prefix leaves open
		for free < familyBits && first.isMultipleOf(free+1) && first.or(lowBits(free+1)).compare(last) <= 0 {
			free++
		}
		if a := first.addr(familyBits); !a.Is4In6() { // those are looked up as IPv4
			all = append(all, netip.PrefixFrom(a, familyBits-free))
		}
		end := first.or(lowBits(free))
		if end.compare(last) >= 0 {
			return all
		}
		first = end.next()
	}
}

func lowBits(n int) wide {
	return wide{uint64(1)<<max(n-64, 0) - 1, uint64(math.MaxUint64) >> max(64-n, 0)}
}

func (a wide) or(b wide) wide { return wide{a.hi | b.hi, a.lo | b.lo} }

// isMultipleOf reports whether the low n bits are zero.
func (a wide) isMultipleOf(n int) bool {
	low := lowBits(n)
	return a.hi&low.hi == 0 && a.lo&low.lo == 0
}

func (a wide) previous() wide {
	lo, borrow := bits.Sub64(a.lo, 1, 0)
	return wide{a.hi - borrow, lo}
}

func (a wide) addr(familyBits int) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], a.hi)
	binary.BigEndian.PutUint64(b[8:], a.lo)
	if familyBits == 32 {
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return netip.AddrFrom16(b)
}
