package pac

import (
	"math/bits"

	"github.com/sallyport/sallyport/policy"
)

// checksums stand for names that a client must not read. A checksum is so short
// that about one name in 64 to 128 has one of those in the table: whoever tries
// names until one fits has found as good as nothing. What fits by chance goes to
// the proxy, which lets it through.
type checksums struct {
	mask   uint32           // of the bits that count
	labels int              // the fewest labels of a name that is looked for
	table  map[uint32]uint8 // checksum -> bits of the names that have it
}

// spareBits is how many more bits a checksum has than are needed to number the
// names.
const spareBits = 8

// checksumsOf are those of what names says. What they except is left in: were
// an exception found by chance, it would open what is to be kept closed.
func checksumsOf(names []policy.NamedName) *checksums {
	c := &checksums{labels: 2, table: map[uint32]uint8{}}
	count := 0
	for _, n := range names {
		if n.Itself || n.Under {
			count++
		}
	}
	if count == 0 {
		return c
	}
	c.mask = 1<<(bits.Len(uint(count))+spareBits) - 1
	for _, n := range names {
		if !n.Itself && !n.Under {
			continue
		}
		c.table[checksum(n.Name)&c.mask] |= flags(n.Itself, n.Under)
		if !hasDot(n.Name) {
			// Otherwise a top-level domain that fits by chance would send very
			// much to the proxy.
			c.labels = 1
		}
	}
	return c
}

func hasDot(name string) bool {
	for i := range len(name) {
		if name[i] == '.' {
			return true
		}
	}
	return false
}

// checksum is Jenkins' one-at-a-time hash, which needs no multiplication that old
// engines would do in floating point. It is taken from the last byte to the
// first, so that a script has those of all names above one in a single pass. It
// is no secret and keeps none: that is for its shortness to do.
func checksum(name string) uint32 {
	var sum uint32
	for i := len(name) - 1; i >= 0; i-- {
		sum += uint32(name[i])
		sum += sum << 10
		sum ^= sum >> 6
	}
	sum += sum << 3
	sum ^= sum >> 11
	return sum + sum<<15
}
