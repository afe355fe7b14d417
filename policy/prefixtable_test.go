package policy

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// chainNames gives each distinct chain a class and remembers which.
type chainNames struct {
	classes map[string]uint32
	chains  [][]int32
	calls   int
}

func (c *chainNames) class(chain []int32) uint32 {
	c.calls++
	key := fmt.Sprint(chain)
	if class, ok := c.classes[key]; ok {
		return class
	}
	class := uint32(len(c.chains))
	c.classes[key] = class
	c.chains = append(c.chains, slices.Clone(chain))
	return class
}

func newChainNames() *chainNames { return &chainNames{classes: map[string]uint32{}} }

// scan is the chain of an address by the plainest of means.
func scan(prefixes []netip.Prefix, a netip.Addr) []int32 {
	var chain []int32
	for i, p := range prefixes {
		if p.IsValid() && unmapPrefix(p).Contains(a.Unmap().WithZone("")) {
			chain = append(chain, int32(i))
		}
	}
	slices.SortStableFunc(chain, func(x, y int32) int {
		return unmapPrefix(prefixes[x]).Bits() - unmapPrefix(prefixes[y]).Bits()
	})
	return chain
}

func unmapPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

func mustPrefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

func TestPrefixTable(t *testing.T) {
	prefixes := mustPrefixes(
		"10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "10.1.0.0/16", "0.0.0.0/0", "255.255.255.255/32",
		"fd00::/8", "fd00:0:0:1::/64", "fd00:0:0:1::5/128", "fd00:0:0:1::4/127", "::/0", "::1/128",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", "::ffff:192.0.2.0/120", "192.0.2.7/24",
	)
	prefixes = append(prefixes, netip.Prefix{})
	for _, tc := range []struct {
		addr string
		want []int32
	}{
		{"9.255.255.255", []int32{4}},
		{"10.0.0.0", []int32{4, 0}},
		{"10.1.0.0", []int32{4, 0, 1, 3}},
		{"10.1.2.2", []int32{4, 0, 1, 3}},
		{"10.1.2.3", []int32{4, 0, 1, 3, 2}},
		{"10.1.2.4", []int32{4, 0, 1, 3}},
		{"10.1.255.255", []int32{4, 0, 1, 3}},
		{"10.2.0.0", []int32{4, 0}},
		{"11.0.0.0", []int32{4}},
		{"0.0.0.0", []int32{4}},
		{"255.255.255.254", []int32{4}},
		{"255.255.255.255", []int32{4, 5}},
		{"::ffff:10.1.2.3", []int32{4, 0, 1, 3, 2}},
		{"192.0.2.1", []int32{4, 13, 14}},
		{"::", []int32{10}},
		{"::1", []int32{10, 11}},
		{"::2", []int32{10}},
		{"fd00::", []int32{10, 6}},
		{"fd00:0:0:1::3", []int32{10, 6, 7}},
		{"fd00:0:0:1::4", []int32{10, 6, 7, 9}},
		{"fd00:0:0:1::5", []int32{10, 6, 7, 9, 8}},
		{"fd00:0:0:1::5%eth0", []int32{10, 6, 7, 9, 8}},
		{"fd00:0:0:1::6", []int32{10, 6, 7}},
		{"fd00:0:0:2::", []int32{10, 6}},
		{"fe00::", []int32{10}},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", []int32{10}},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", []int32{10, 12}},
	} {
		names := newChainNames()
		table := buildPrefixTable(prefixes, names.class)
		if got := names.chains[table.lookup(netip.MustParseAddr(tc.addr))]; !slices.Equal(got, tc.want) {
			t.Errorf("%s: chain %v, want %v", tc.addr, got, tc.want)
		}
	}
}

func TestPrefixTableOutsideEverything(t *testing.T) {
	for _, prefixes := range [][]netip.Prefix{nil, {{}}, mustPrefixes("10.0.0.0/8")} {
		names := newChainNames()
		table := buildPrefixTable(prefixes, names.class)
		for _, a := range []netip.Addr{{}, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")} {
			if chain := names.chains[table.lookup(a)]; len(chain) != 0 {
				t.Errorf("%v among %v: chain %v, want none", a, prefixes, chain)
			}
		}
	}
}

// TestPrefixTableNamesEachChainOnce: class is the costly part of a build.
func TestPrefixTableNamesEachChainOnce(t *testing.T) {
	names := newChainNames()
	buildPrefixTable(mustPrefixes("10.0.0.0/8", "10.0.0.0/24", "10.0.2.0/24", "10.0.4.0/24", "2001:db8::/32"), names.class)
	if names.calls != 6 || len(names.chains) != 6 {
		t.Errorf("class was called %d times for %d chains, want 6 for 6", names.calls, len(names.chains))
	}
}

// TestPrefixTableMergesEqualNeighbours: intervals of one class are one.
func TestPrefixTableMergesEqualNeighbours(t *testing.T) {
	var prefixes []netip.Prefix
	for i := range 256 {
		prefixes = append(prefixes, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i)}), 16))
	}
	table := buildPrefixTable(prefixes, func(chain []int32) uint32 { return uint32(min(len(chain), 1)) })
	if got := len(table.v4.steps) - bucketSteps; got != 3 {
		t.Errorf("%d intervals, want 3: below, 10.0.0.0/8, above", got)
	}
}

func TestPrefixTableAgainstScan(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 300 {
		bases := randomBases(r)
		var prefixes []netip.Prefix
		for range r.IntN(120) {
			prefixes = append(prefixes, randomPrefix(r, bases))
		}
		names := newChainNames()
		table := buildPrefixTable(prefixes, names.class)
		for _, a := range probes(r, prefixes, bases) {
			if got, want := names.chains[table.lookup(a)], scan(prefixes, a); !slices.Equal(got, want) {
				t.Fatalf("round %d: %v among %v: chain %v, want %v", round, a, prefixes, got, want)
			}
		}
	}
}

// randomBases are addresses around which a round's prefixes crowd, so that
// they nest and touch.
func randomBases(r *rand.Rand) []netip.Addr {
	bases := []netip.Addr{
		netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("255.255.255.255"),
		netip.MustParseAddr("::"), netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
	}
	for range 3 {
		var b [16]byte
		binary.BigEndian.PutUint64(b[:8], r.Uint64())
		binary.BigEndian.PutUint64(b[8:], r.Uint64())
		bases = append(bases, netip.AddrFrom16(b), netip.AddrFrom4([4]byte(b[:4])),
			netip.AddrFrom16([16]byte{10: 0xff, 11: 0xff, 12: b[0], 13: b[1], 14: b[2], 15: b[3]}))
	}
	return bases
}

func randomPrefix(r *rand.Rand, bases []netip.Addr) netip.Prefix {
	a := flip(r, bases[r.IntN(len(bases))])
	length := r.IntN(a.BitLen() + 1)
	if a.Is4In6() {
		length = 96 + r.IntN(33)
	}
	return netip.PrefixFrom(a, length)
}

// flip changes one of the low bits of an address, now and then.
func flip(r *rand.Rand, a netip.Addr) netip.Addr {
	b := a.AsSlice()
	if bit := r.IntN(40); bit/8 < len(b) && (!a.Is4In6() || bit < 32) {
		b[len(b)-1-bit/8] ^= 1 << (bit % 8)
	}
	flipped, _ := netip.AddrFromSlice(b)
	return flipped
}

// probes are the addresses just inside and just outside every prefix, and some
// near the bases.
func probes(r *rand.Rand, prefixes []netip.Prefix, bases []netip.Addr) []netip.Addr {
	var all []netip.Addr
	for _, p := range prefixes {
		first := unmapPrefix(p).Masked().Addr()
		all = append(all, first, first.Prev(), lastOf(p), lastOf(p).Next())
	}
	for range 50 {
		all = append(all, flip(r, bases[r.IntN(len(bases))]))
	}
	return slices.DeleteFunc(all, func(a netip.Addr) bool { return !a.IsValid() })
}

func lastOf(p netip.Prefix) netip.Addr {
	p = unmapPrefix(p)
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}

func TestPrefixTableLookupAllocatesNothing(t *testing.T) {
	table := buildPrefixTable(mustPrefixes("10.0.0.0/8", "2001:db8::/32", "2001:db8::1/128"), newChainNames().class)
	addrs := []netip.Addr{netip.MustParseAddr("10.1.1.1"), netip.MustParseAddr("::ffff:10.1.1.1"), netip.MustParseAddr("2001:db8::1")}
	allocs := testing.AllocsPerRun(100, func() {
		for _, a := range addrs {
			table.lookup(a)
		}
	})
	if allocs != 0 {
		t.Errorf("lookup allocates %v times, want 0", allocs)
	}
}

// clientNetworks are the networks of a large company: /28s of 10.0.0.0/8, or
// /64s of one /32 and one unique local /48.
func clientNetworks(n int, v6 bool) []netip.Prefix {
	r := rand.New(rand.NewPCG(5, 6))
	var all []netip.Prefix
	for range n {
		if !v6 {
			b := [4]byte{10}
			v := r.Uint32N(1<<24) &^ 15
			b[1], b[2], b[3] = byte(v>>16), byte(v>>8), byte(v)
			all = append(all, netip.PrefixFrom(netip.AddrFrom4(b), 28))
			continue
		}
		var b [16]byte
		hi := uint64(0x20010db8)<<32 | uint64(r.Uint32())
		if r.IntN(4) == 0 {
			hi = 0xfd00_0028_0001<<16 | uint64(r.Uint32N(1<<16))
		}
		binary.BigEndian.PutUint64(b[:8], hi)
		all = append(all, netip.PrefixFrom(netip.AddrFrom16(b), 64))
	}
	return all
}

func BenchmarkPrefixTable(b *testing.B) {
	for _, family := range []string{"v4", "v6"} {
		prefixes := clientNetworks(100_000, family == "v6")
		class := func(chain []int32) uint32 {
			if len(chain) == 0 {
				return 0
			}
			return uint32(chain[len(chain)-1]) + 1
		}
		b.Run("build_100k_"+family, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				buildPrefixTable(prefixes, class)
			}
		})
		table := buildPrefixTable(prefixes, class)
		r := rand.New(rand.NewPCG(7, 8))
		var addrs []netip.Addr
		for range 1 << 16 {
			addrs = append(addrs, flip(r, prefixes[r.IntN(len(prefixes))].Addr()))
		}
		b.Run("lookup_100k_"+family, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				table.lookup(addrs[i&(1<<16-1)])
				i++
			}
		})
	}
}
