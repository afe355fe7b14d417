package upstream

import "crypto/rand"

// dice hands out bytes that cannot be guessed. It asks the system for many at
// once: ids, ports and letter case take only a few a query. Not safe for
// concurrent use; the zero dice is ready.
type dice struct {
	bytes [256]byte
	left  int
}

func (d *dice) uint8() uint8 {
	if d.left == 0 {
		_, _ = rand.Read(d.bytes[:]) // never fails
		d.left = len(d.bytes)
	}
	d.left--
	return d.bytes[d.left]
}

func (d *dice) uint16() uint16 { return uint16(d.uint8())<<8 | uint16(d.uint8()) }

// scramble appends a lower-case name with letters in upper case at random, each
// with even odds. An answer repeats them; who forges one without having seen
// the question must guess them as well (draft-vixie-dnsext-dns0x20).
func (d *dice) scramble(to []byte, lower string) []byte {
	bits, left := uint8(0), 0
	for i := range len(lower) {
		c := lower[i]
		if 'a' <= c && c <= 'z' {
			if left == 0 {
				bits, left = d.uint8(), 8
			}
			c -= bits & 1 << 5
			bits >>= 1
			left--
		}
		to = append(to, c)
	}
	return to
}
