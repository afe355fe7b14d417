package policy

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
)

// nameTable maps canonical DNS names to numbers. It is one flat hash table
// with open addressing over one arena of names, free of pointers, so that
// millions of names cost a few tens of bytes each, nothing for the garbage
// collector to look at, and two cache lines to find.
//
// Most questions are about names that are not there: a walk over a name asks
// once a label. A presence filter of one byte a name answers nearly all of
// those from cache, without touching the table.
//
// The arena must stay under 4 GiB, which maxListData sees to for lists.
//
// Fill it with insert or entry, then call trim. From then on it is immutable
// and safe for concurrent use.
type nameTable struct {
	filter []uint64 // a hash picks a word, and three bits of it
	slots  []uint64 // tag<<32 | offset of the record in the arena; 0 is free
	arena  []byte   // records: value (4 bytes), length (1 or 2), name
	count  int
}

const (
	recordValue    = 4         // bytes of value ahead of the length
	longName       = 0x80      // lengths from here on take two bytes
	maxTableName   = 1<<14 - 1 // a DNS name with every byte escaped is far shorter
	filterBits     = 6         // bits of hash that pick one of 64 bits
	namesPerFilter = 8         // names a filter word holds: 8 bits a name
	arenaReserve   = 1         // the first byte is unused, so that offset 0 means free
	slotsPerName   = 1.45      // load factor 0.69: short probe chains, no waste
	minSlots       = 8
)

// newNameTable makes a table with room for capacity names. More may be put in:
// it grows, at the price of a rebuild.
func newNameTable(capacity int) *nameTable {
	t := &nameTable{arena: make([]byte, arenaReserve)}
	t.resize(capacity)
	return t
}

// reserve makes room in the arena for names of so many bytes in all.
func (t *nameTable) reserve(names, nameBytes int) {
	grown := make([]byte, len(t.arena), len(t.arena)+nameBytes+names*(recordValue+1))
	copy(grown, t.arena)
	t.arena = grown
}

// insert sets the value of a name. The hash is that of the name.
func (t *nameTable) insert(hash uint64, name string, value uint32) {
	if at, ok := t.entry(hash, []byte(name)); ok {
		t.setValue(at, value)
	}
}

// entry returns the record of a name, making one with value 0 where there is
// none. ok is false for a name that is longer than any DNS name can be, which
// is not kept: no question is ever about it.
func (t *nameTable) entry(hash uint64, name []byte) (at uint32, ok bool) {
	if len(name) > maxTableName {
		return 0, false
	}
	if t.full() {
		t.resize(2 * t.count)
	}
	i, found := t.search(hash, name)
	if found {
		return uint32(t.slots[i]), true
	}
	at = t.appendRecord(name)
	t.slots[i] = hash<<32 | uint64(at)
	t.addToFilter(hash)
	t.count++
	return at, true
}

// find looks up a name by its hash. It allocates nothing.
func (t *nameTable) find(hash uint64, name string) (value uint32, ok bool) {
	if !t.mayHold(hash) {
		return 0, false
	}
	return t.findKept(hash, []byte(name))
}

// findKept is find behind the filter.
func (t *nameTable) findKept(hash uint64, name []byte) (value uint32, ok bool) {
	i, found := t.search(hash, name)
	if !found {
		return 0, false
	}
	return t.value(uint32(t.slots[i])), true
}

// mayHold asks the filter. It says no for about 97 of 100 names that the table
// does not hold, and for none that it does.
func (t *nameTable) mayHold(hash uint64) bool {
	word, _ := bits.Mul64(hash, uint64(len(t.filter)))
	mask := filterMask(hash)
	return t.filter[word]&mask == mask
}

// holdsAbove reports whether the table holds a name that name is under.
func (t *nameTable) holdsAbove(name []byte) bool {
	var hash uint64
	end := len(name)
	for i := end - 1; i >= 0; i-- {
		if name[i] != '.' {
			continue
		}
		hash = extend(hash, name[i+1:end])
		end = i
		if t.mayHold(hash) {
			if _, found := t.search(hash, name[i+1:]); found {
				return true
			}
		}
	}
	return false
}

// search returns the slot of a name, or the free slot where it belongs.
func (t *nameTable) search(hash uint64, name []byte) (i uint64, found bool) {
	tag := hash << 32
	for i = t.home(hash); t.slots[i] != 0; i = t.after(i) {
		slot := t.slots[i]
		if slot&^math.MaxUint32 == tag && bytes.Equal(t.nameAt(uint32(slot)), name) {
			return i, true
		}
	}
	return i, false
}

// value is the number of the record at.
func (t *nameTable) value(at uint32) uint32 {
	return binary.LittleEndian.Uint32(t.arena[at:])
}

// setValue changes the number of the record at.
func (t *nameTable) setValue(at, value uint32) {
	binary.LittleEndian.PutUint32(t.arena[at:], value)
}

// nameAt is the name of the record at, in the arena itself.
func (t *nameTable) nameAt(at uint32) []byte {
	start := int(at) + recordValue + 1
	length := int(t.arena[start-1])
	if length >= longName {
		length = length&^longName | int(t.arena[start])<<7
		start++
	}
	return t.arena[start : start+length]
}

// each calls visit for every record, in the order of insertion. It tells
// nothing that cannot be asked of the record itself.
func (t *nameTable) each(visit func(at uint32, name []byte)) {
	for at := uint32(arenaReserve); int(at) < len(t.arena); {
		name := t.nameAt(at)
		visit(at, name)
		at += uint32(recordValue + lengthBytes(len(name)) + len(name))
	}
}

// trim gives back the room that growth and guesses left over. Call it once,
// when every name is in.
func (t *nameTable) trim() {
	if spare := cap(t.arena) - len(t.arena); spare > len(t.arena)/16 {
		exact := make([]byte, len(t.arena))
		copy(exact, t.arena)
		t.arena = exact
	}
	if want := slotsFor(t.count); len(t.slots) > want+want/8 {
		t.resize(t.count)
	}
}

// home is the slot at which the search for a hash starts: the hash scaled to
// the number of slots, which need not be a power of two.
func (t *nameTable) home(hash uint64) uint64 {
	i, _ := bits.Mul64(hash, uint64(len(t.slots)))
	return i
}

// after is the slot behind i.
func (t *nameTable) after(i uint64) uint64 {
	if i++; i == uint64(len(t.slots)) {
		return 0
	}
	return i
}

// full reports whether one more name would crowd the slots.
func (t *nameTable) full() bool { return slotsFor(t.count+1) > len(t.slots) }

// resize makes slots and filter for capacity names and puts every name of the
// arena into them.
func (t *nameTable) resize(capacity int) {
	t.slots = make([]uint64, slotsFor(capacity))
	t.filter = make([]uint64, capacity/namesPerFilter+1)
	t.each(func(at uint32, name []byte) {
		hash := hashOf(name)
		i := t.home(hash)
		for t.slots[i] != 0 {
			i = t.after(i)
		}
		t.slots[i] = hash<<32 | uint64(at)
		t.addToFilter(hash)
	})
}

func (t *nameTable) addToFilter(hash uint64) {
	word, _ := bits.Mul64(hash, uint64(len(t.filter)))
	t.filter[word] |= filterMask(hash)
}

// appendRecord writes a record with value 0.
func (t *nameTable) appendRecord(name []byte) uint32 {
	at := uint32(len(t.arena))
	t.arena = append(t.arena, 0, 0, 0, 0)
	if len(name) < longName {
		t.arena = append(t.arena, byte(len(name)))
	} else {
		t.arena = append(t.arena, byte(len(name))|longName, byte(len(name)>>7))
	}
	t.arena = append(t.arena, name...)
	return at
}

func lengthBytes(length int) int {
	if length < longName {
		return 1
	}
	return 2
}

func slotsFor(names int) int { return max(minSlots, int(float64(names)*slotsPerName)+1) }

// filterMask picks three of the 64 bits of a filter word. It uses the low
// bits of the hash; the word and the home slot come from the high ones.
func filterMask(hash uint64) uint64 {
	return 1<<(hash&63) | 1<<(hash>>filterBits&63) | 1<<(hash>>(2*filterBits)&63)
}

// Odd constants with their ones spread out; the digits of pi and e.
const (
	hashMixA = 0x243f6a8885a308d3
	hashMixB = 0xb7e151628aed2a6b
)

// extendHash is the hash of label + "." + rest, where h is the hash of rest
// (0 where there is none). One walk over a name from the right so gives the
// hash of every suffix of it for the price of one.
//
// The hash is fixed, not seeded: what a crafted flood of collisions could
// slow down is a list that an admin chose to load, and every find compares
// bytes, so that no collision ever changes an answer.
func extendHash(h uint64, label string) uint64 { return extend(h, []byte(label)) }

// hashName is the hash of a whole canonical name: what extendHash gives label
// by label.
func hashName(name string) uint64 { return hashOf([]byte(name)) }

func hashOf(name []byte) uint64 {
	var h uint64
	end := len(name)
	for i := end - 1; i >= 0; i-- {
		if name[i] == '.' {
			h = extend(h, name[i+1:end])
			end = i
		}
	}
	return extend(h, name[:end])
}

// extend folds a label into a hash with one wide multiplication per 16 bytes.
func extend(h uint64, label []byte) uint64 {
	n := len(label)
	var a, b uint64
	for len(label) > 16 {
		h = mix(binary.LittleEndian.Uint64(label)^hashMixA, binary.LittleEndian.Uint64(label[8:])^h)
		label = label[16:]
	}
	switch m := len(label); {
	case m >= 8:
		a, b = binary.LittleEndian.Uint64(label), binary.LittleEndian.Uint64(label[m-8:])
	case m >= 4:
		a, b = uint64(binary.LittleEndian.Uint32(label)), uint64(binary.LittleEndian.Uint32(label[m-4:]))
	case m > 0:
		a = uint64(label[0])<<16 | uint64(label[m>>1])<<8 | uint64(label[m-1])
	}
	return mix(a^hashMixA^uint64(n)<<56, b^h^hashMixB)
}

func mix(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}
