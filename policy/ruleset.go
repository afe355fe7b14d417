package policy

import "math/bits"

// ruleSet is an immutable set of rule indexes. Only the words that are not
// zero are kept, and a summary says which ones they are: in a policy of ten
// thousand rules a destination is named by a handful, so that an intersection
// looks at a handful of words instead of a hundred and fifty.
//
// The nil pointer is the empty set.
type ruleSet struct {
	low   uint64   // word 0, kept apart: most policies have no other
	sum   []uint64 // bit w is set when word w of the set is not zero
	rank  []uint32 // rank[s] counts the words kept before those of sum[s]
	words []uint64 // the words that are not zero, in order
}

// summary is word s of the summary.
func (rs *ruleSet) summary(s int) uint64 {
	if rs == nil || s >= len(rs.sum) {
		return 0
	}
	return rs.sum[s]
}

// word is word w of the set: rules 64*w to 64*w+63.
func (rs *ruleSet) word(w int) uint64 {
	if rs == nil {
		return 0
	}
	s := w >> 6
	if s >= len(rs.sum) {
		return 0
	}
	below := uint64(1)<<(w&63) - 1
	if rs.sum[s]>>(w&63)&1 == 0 {
		return 0
	}
	return rs.words[rs.rank[s]+uint32(bits.OnesCount64(rs.sum[s]&below))]
}

// first is word 0 of the set.
func (rs *ruleSet) first() uint64 {
	if rs == nil {
		return 0
	}
	return rs.low
}

// has reports whether rule i is in the set.
func (rs *ruleSet) has(i int) bool {
	if i < 64 {
		return rs.first()>>i&1 == 1
	}
	return rs.word(i>>6)>>(i&63)&1 == 1
}

// ruleBits collects a set before it is packed.
type ruleBits []uint64

// newRuleBits makes room for n rules.
func newRuleBits(n int) ruleBits { return make(ruleBits, (n+63)/64) }

func (b ruleBits) add(i int)      { b[i>>6] |= 1 << (i & 63) }
func (b ruleBits) has(i int) bool { return b[i>>6]>>(i&63)&1 == 1 }

func (b ruleBits) addAll(list []int32) {
	for _, i := range list {
		b.add(int(i))
	}
}

// addSet adds every rule of a packed set.
func (b ruleBits) addSet(rs *ruleSet) {
	if rs == nil {
		return
	}
	for w := range b {
		b[w] |= rs.word(w)
	}
}

// remove takes every rule of o out of b.
func (b ruleBits) remove(o ruleBits) {
	for w := range b {
		b[w] &^= o[w]
	}
}

// pack makes the immutable set; nil for an empty one.
func (b ruleBits) pack() *ruleSet {
	kept := 0
	for _, w := range b {
		if w != 0 {
			kept++
		}
	}
	if kept == 0 {
		return nil
	}
	groups := (len(b) + 63) / 64
	rs := &ruleSet{
		low:   b[0],
		sum:   make([]uint64, groups),
		rank:  make([]uint32, groups),
		words: make([]uint64, 0, kept),
	}
	for w, word := range b {
		if w&63 == 0 {
			rs.rank[w>>6] = uint32(len(rs.words))
		}
		if word == 0 {
			continue
		}
		rs.sum[w>>6] |= 1 << (w & 63)
		rs.words = append(rs.words, word)
	}
	return rs
}

// packRules packs a list of indexes among n rules.
func packRules(list []int32, n int) *ruleSet {
	if len(list) == 0 {
		return nil
	}
	b := newRuleBits(n)
	b.addAll(list)
	return b.pack()
}
