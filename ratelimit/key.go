package ratelimit

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
)

// level is how closely clients are told apart: each is a byte coarser than the
// one before.
type level uint8

const (
	client        level = iota // an IPv4 address, an IPv6 /64
	neighbourhood              // /24, /56
	region                     // /16, /48
	levelCount
)

// keys turns networks into numbers. The seeds are random, so that nobody can
// choose addresses that fall into the same part of a table, and the numbers
// are wide enough to stand for the networks: that two of a million share one
// has a chance of 1 in 37 million.
type keys struct {
	four, six [levelCount]maphash.Seed
	link      maphash.Seed
}

func newKeys() keys {
	k := keys{link: maphash.MakeSeed()}
	for l := range levelCount {
		k.four[l], k.six[l] = maphash.MakeSeed(), maphash.MakeSeed()
	}
	return k
}

// of gives the number of addr's network. The address is unmapped.
func (k *keys) of(addr netip.Addr, l level) uint64 {
	if addr.Is4() {
		four := addr.As4()
		return maphash.Comparable(k.four[l], uint64(binary.BigEndian.Uint32(four[:])>>(8*l)))
	}
	sixteen := addr.As16()
	network := binary.BigEndian.Uint64(sixteen[:8])
	if l == client && network>>54 == 0xfe80>>6 {
		// All of a link shares fe80::/64, and there the other half tells
		// clients apart.
		return maphash.Comparable(k.link, binary.BigEndian.Uint64(sixteen[8:]))
	}
	return maphash.Comparable(k.six[l], network>>(8*l))
}
