package pac

import (
	"encoding/hex"
	"net/netip"
	"slices"

	"github.com/sallyport/sallyport/policy"
)

// Addresses stand in a script as text: 4 or 6, then the address in hexadecimal
// digits. Such texts sort as the addresses do, and need no arithmetic that old
// engines get wrong.

func addressText(a netip.Addr) string {
	if a.Is4() {
		b := a.As4()
		return "4" + hex.EncodeToString(b[:])
	}
	b := a.As16()
	return "6" + hex.EncodeToString(b[:])
}

// rangeOf is the addresses of a prefix.
func rangeOf(p netip.Prefix) policy.AddrRange {
	first := p.Masked().Addr()
	b := first.AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(b) // as long as the first, so it is one
	return policy.AddrRange{First: first, Last: last}
}

// joined are the ranges sorted, and those that overlap or touch made one.
func joined(ranges []policy.AddrRange) []policy.AddrRange {
	ranges = slices.Clone(ranges)
	slices.SortFunc(ranges, func(a, b policy.AddrRange) int { return a.First.Compare(b.First) })
	var all []policy.AddrRange
	for _, r := range ranges {
		if n := len(all); n > 0 && all[n-1].First.BitLen() == r.First.BitLen() {
			open := &all[n-1]
			if next := open.Last.Next(); !next.IsValid() || r.First.Compare(next) <= 0 {
				if r.Last.Compare(open.Last) > 0 {
					open.Last = r.Last
				}
				continue
			}
		}
		all = append(all, r)
	}
	return all
}

// without are the addresses of from that are in none of out. Both must be
// sorted and apart.
func without(from, out []policy.AddrRange) []policy.AddrRange {
	var left []policy.AddrRange
	for _, r := range from {
		rest := true
		for _, o := range out {
			if o.First.BitLen() != r.First.BitLen() || o.Last.Compare(r.First) < 0 || o.First.Compare(r.Last) > 0 {
				continue
			}
			if o.First.Compare(r.First) > 0 {
				left = append(left, policy.AddrRange{First: r.First, Last: o.First.Prev()})
			}
			if o.Last.Compare(r.Last) >= 0 {
				rest = false
				break
			}
			r.First = o.Last.Next()
		}
		if rest {
			left = append(left, r)
		}
	}
	return left
}
