package ratelimit

import (
	"net/netip"
	"slices"
)

// ranges are networks in order and without overlap, so that the only one which
// can contain an address is found by halving.
type ranges []netip.Prefix

func newRanges(prefixes []netip.Prefix) ranges {
	sorted := make([]netip.Prefix, 0, len(prefixes))
	for _, p := range prefixes {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		sorted = append(sorted, p.Masked())
	}
	// The larger of two that begin alike comes first and takes the other in.
	slices.SortFunc(sorted, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	var r ranges
	for _, p := range sorted {
		if len(r) == 0 || !r[len(r)-1].Contains(p.Addr()) {
			r = append(r, p)
		}
	}
	return r
}

// contain reports whether one of the networks has addr, which is unmapped.
func (r ranges) contain(addr netip.Addr) bool {
	if len(r) == 0 {
		return false
	}
	addr = addr.WithZone("") // a prefix contains no address with a zone
	i, found := slices.BinarySearchFunc(r, addr, func(p netip.Prefix, a netip.Addr) int { return p.Addr().Compare(a) })
	return found || i > 0 && r[i-1].Contains(addr)
}
