package pac

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/policy"
)

// TestAddressesInTheScript: the script reads an address as it is meant, in
// every form of it, and finds it in the ranges that hold it.
func TestAddressesInTheScript(t *testing.T) {
	rng := rand.New(rand.NewPCG(61, 62))
	var ranges []policy.AddrRange
	var networks []netip.Prefix
	for range 60 {
		p := randomPrefix(rng)
		networks = append(networks, p)
		ranges = append(ranges, rangeOf(p))
	}
	ranges = joined(ranges)
	plan := EverythingPlan(&Settings{DirectNetworks: networks})
	b := newBrowser(t, plan.Script(testProxy(t), hostOf(t, "portal.corp.example")))
	for range 1200 {
		p := networks[rng.IntN(len(networks))]
		r := rangeOf(p)
		var a netip.Addr
		switch rng.IntN(5) {
		case 0:
			a = r.First.Prev()
		case 1:
			a = r.Last.Next()
		case 2:
			a = r.First
		case 3:
			a = r.Last
		default:
			a = randomPrefix(rng).Addr()
		}
		if !a.IsValid() || a.Is4In6() {
			continue
		}
		want := a.IsLoopback() || slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) })
		for _, form := range forms(rng, a) {
			if got := !b.proxied(t, form); got != want {
				t.Fatalf("%s (%v) is in %v: %v, want %v", form, a, networks, got, want)
			}
		}
	}
	for i := 1; i < len(ranges); i++ {
		if addressText(ranges[i-1].Last) >= addressText(ranges[i].First) {
			t.Fatalf("%v comes before %v, and its text does not", ranges[i-1], ranges[i])
		}
	}
}

func randomPrefix(rng *rand.Rand) netip.Prefix {
	if rng.IntN(2) == 0 {
		a := netip.AddrFrom4([4]byte{byte(1 + rng.IntN(3)), byte(rng.IntN(3)), byte(rng.IntN(256)), byte(rng.IntN(256))})
		return netip.PrefixFrom(a, 8+rng.IntN(25)).Masked()
	}
	b := [16]byte{0: 0x2a, 1: byte(rng.IntN(3)), 15: byte(rng.IntN(256))}
	for range rng.IntN(6) {
		b[2+rng.IntN(14)] = byte(rng.IntN(256))
	}
	return netip.PrefixFrom(netip.AddrFrom16(b), 16+rng.IntN(113)).Masked()
}

// forms are ways to write an address that a browser may use.
func forms(rng *rand.Rand, a netip.Addr) []string {
	all := []string{a.String(), a.StringExpanded(), a.String() + "."}
	if a.Is4() {
		mapped := netip.AddrFrom16(a.As16())
		return append(all, "::ffff:"+a.String(), "0:0:0:0:0:ffff:"+a.String(), strings.ToUpper(mapped.StringExpanded()), "["+mapped.String()+"]")
	}
	all[2] = a.String() + "%eth0"
	last4 := a.As16()
	quad := netip.AddrFrom4([4]byte(last4[12:])).String()
	expanded := a.StringExpanded()
	return append(all, "["+a.String()+"]", strings.ToUpper(a.String()), expanded[:len("0000:0000:0000:0000:0000:0000:")]+quad)
}

func TestRangeOfAndJoined(t *testing.T) {
	var ranges []policy.AddrRange
	for _, text := range []string{"10.1.0.0/16", "10.0.0.0/16", "10.2.0.0/15", "10.3.0.0/24", "255.0.0.0/8", "192.0.2.1/32", "192.0.2.3/32", "::/0", "2001:db8::/32"} {
		ranges = append(ranges, rangeOf(netip.MustParsePrefix(text)))
	}
	got := joined(ranges)
	want := []policy.AddrRange{
		spanned("10.0.0.0", "10.3.255.255"), spanned("192.0.2.1", "192.0.2.1"), spanned("192.0.2.3", "192.0.2.3"), spanned("255.0.0.0", "255.255.255.255"),
		spanned("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func spanned(first, last string) policy.AddrRange {
	return policy.AddrRange{First: netip.MustParseAddr(first), Last: netip.MustParseAddr(last)}
}

func TestWithout(t *testing.T) {
	for _, c := range []struct{ from, out, want []policy.AddrRange }{
		{nil, nil, nil},
		{[]policy.AddrRange{spanned("10.0.0.0", "10.255.255.255")}, nil, []policy.AddrRange{spanned("10.0.0.0", "10.255.255.255")}},
		{
			[]policy.AddrRange{spanned("10.0.0.0", "10.255.255.255"), spanned("fc00::", "fdff::")},
			[]policy.AddrRange{spanned("9.0.0.0", "10.0.0.9"), spanned("10.1.0.0", "10.1.0.0"), spanned("10.255.0.0", "11.0.0.0"), spanned("fc00::", "fdff::")},
			[]policy.AddrRange{spanned("10.0.0.10", "10.0.255.255"), spanned("10.1.0.1", "10.254.255.255")},
		},
		{
			[]policy.AddrRange{spanned("10.0.0.0", "10.0.0.255"), spanned("10.9.0.0", "10.9.0.255")},
			[]policy.AddrRange{spanned("10.0.0.0", "10.0.0.255"), spanned("11.0.0.0", "::ffff")},
			[]policy.AddrRange{spanned("10.9.0.0", "10.9.0.255")},
		},
		{
			[]policy.AddrRange{spanned("255.255.255.0", "255.255.255.255")},
			[]policy.AddrRange{spanned("255.255.255.7", "255.255.255.255")},
			[]policy.AddrRange{spanned("255.255.255.0", "255.255.255.6")},
		},
	} {
		if got := without(c.from, c.out); !slices.Equal(got, c.want) {
			t.Errorf("%v without %v:\n got %v\nwant %v", c.from, c.out, got, c.want)
		}
	}
}
