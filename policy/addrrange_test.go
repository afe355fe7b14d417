package policy

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

func TestRanges(t *testing.T) {
	table := buildPrefixTable(mustPrefixes(
		"10.0.0.0/8", "10.1.0.0/16", "11.0.0.0/8", "255.255.255.255/32",
		"2001:db8::/32", "2001:db8:0:1::5/128", "2001:db9::/32", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
	), func(chain []int32) uint32 { return uint32(len(chain)) })
	got := table.ranges(func(class uint32) bool { return class == 1 })
	var want []AddrRange
	for _, pair := range [][2]string{
		{"10.0.0.0", "10.0.255.255"}, {"10.2.0.0", "11.255.255.255"}, {"255.255.255.255", "255.255.255.255"},
		{"2001:db8::", "2001:db8:0:1::4"}, {"2001:db8:0:1::6", "2001:db9:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	} {
		want = append(want, AddrRange{netip.MustParseAddr(pair[0]), netip.MustParseAddr(pair[1])})
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if all := table.ranges(func(uint32) bool { return true }); len(all) != 2 {
		t.Errorf("every class: %v, want one range of each family", all)
	}
}

// TestRangesAgreeWithLookup: whatever the prefixes, an address is in a range
// where lookup gives a class that is wanted, and nowhere else.
func TestRangesAgreeWithLookup(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	for range 200 {
		bases := randomBases(r)
		var prefixes []netip.Prefix
		for range r.IntN(60) {
			prefixes = append(prefixes, randomPrefix(r, bases))
		}
		table := buildPrefixTable(prefixes, newChainNames().class)
		wanted := map[uint32]bool{}
		want := func(class uint32) bool {
			if _, known := wanted[class]; !known {
				wanted[class] = r.IntN(2) == 0
			}
			return wanted[class]
		}
		ranges := table.ranges(want)
		for i, one := range ranges {
			if one.First.Compare(one.Last) > 0 || one.First.BitLen() != one.Last.BitLen() {
				t.Fatalf("range %v to %v", one.First, one.Last)
			}
			if i > 0 && one.First.BitLen() == ranges[i-1].First.BitLen() && ranges[i-1].Last.Next().Compare(one.First) >= 0 {
				t.Fatalf("range %v touches %v", ranges[i-1], one)
			}
		}
		for _, a := range probes(r, prefixes, bases) {
			plain := a.Unmap().WithZone("")
			in := slices.ContainsFunc(ranges, func(one AddrRange) bool {
				return one.First.BitLen() == plain.BitLen() && one.First.Compare(plain) <= 0 && plain.Compare(one.Last) <= 0
			})
			if in != want(table.lookup(a)) {
				t.Fatalf("%v is in a range: %v, and its class is wanted: %v; among %v", a, in, !in, prefixes)
			}
		}
	}
}
