package firewall

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/policy"
)

// kind is addresses of which the policy says the same, so that it is asked of one
// of them. A list may name tens of thousands of networks, and they are all one kind.
type kind struct {
	example netip.Addr
	spans   []policy.AddrRange // sorted
}

// kinds puts spans together by class, in the order of their first address.
func kinds(spans []policy.AddrRange, class func(netip.Addr) uint32) []kind {
	var all []kind
	at := map[uint32]int{}
	for _, span := range spans {
		c := class(span.First)
		i, known := at[c]
		if !known {
			i = len(all)
			at[c] = i
			all = append(all, kind{example: span.First})
		}
		all[i].spans = append(all[i].spans, span)
	}
	return all
}

// spansOf are the addresses of some kinds together, those that touch one another as
// one range.
func spansOf(all []kind, chosen []int) []policy.AddrRange {
	var spans []policy.AddrRange
	for _, i := range chosen {
		spans = append(spans, all[i].spans...)
	}
	slices.SortFunc(spans, func(a, b policy.AddrRange) int { return a.First.Compare(b.First) })
	return joined(spans)
}

// keyOf tells choices of kinds apart.
func keyOf(chosen []int) string {
	var key strings.Builder
	for _, i := range chosen {
		key.WriteString(strconv.Itoa(i))
		key.WriteByte(' ')
	}
	return key.String()
}
