package outbound

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestOrder(t *testing.T) {
	d := newDialer(t, Config{}, Dependencies{})
	for _, test := range []struct{ in, want []netip.Addr }{
		{addresses("1.1.1.1"), addresses("1.1.1.1")},
		{addresses("::ffff:1.1.1.1"), addresses("1.1.1.1")},
		{addresses("1.1.1.1", "1.1.1.2", "::2", "::3"), addresses("1.1.1.1", "::2", "1.1.1.2", "::3")},
		{addresses("::2", "::3", "::4", "1.1.1.1"), addresses("::2", "1.1.1.1", "::3", "::4")},
		{addresses("::2", "::ffff:1.1.1.1", "::3"), addresses("::2", "1.1.1.1", "::3")},
		{addresses("1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4", "1.0.0.5", "1.0.0.6", "1.0.0.7", "1.0.0.8", "1.0.0.9"),
			addresses("1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4", "1.0.0.5", "1.0.0.6", "1.0.0.7", "1.0.0.8")},
	} {
		var got []netip.Addr
		for _, at := range d.order(test.in, 443) {
			if at.Port() != 443 {
				t.Errorf("port %d", at.Port())
			}
			got = append(got, at.Addr())
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("order(%v) = %v, want %v", test.in, got, test.want)
		}
	}
}

// Whoever did not answer comes last, and is tried all the same; after a while,
// or once it has answered, it has its place again.
func TestOrderPutsTheSilentLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDialer(t, Config{}, Dependencies{})
		all := addresses("1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4")
		check := func(want ...string) {
			t.Helper()
			var got []netip.Addr
			for _, at := range d.order(all, 443) {
				got = append(got, at.Addr())
			}
			if !slices.Equal(got, addresses(want...)) {
				t.Errorf("order is %v, want %v", got, want)
			}
		}
		d.silent.add(netip.MustParseAddrPort("1.0.0.3:443"))
		d.silent.add(netip.MustParseAddrPort("1.0.0.1:443"))
		d.silent.add(netip.MustParseAddrPort("1.0.0.2:80")) // another port is another server
		check("1.0.0.2", "1.0.0.4", "1.0.0.1", "1.0.0.3")
		d.silent.remove(netip.MustParseAddrPort("1.0.0.3:443"))
		check("1.0.0.2", "1.0.0.3", "1.0.0.4", "1.0.0.1")
		time.Sleep(silenceTime)
		check("1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4")
	})
}

func TestSilenceIsBounded(t *testing.T) {
	s := newSilence()
	last := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 255, 255, 255}), 443)
	for i := range 100_000 {
		s.add(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 443))
	}
	s.add(last)
	s.add(last) // takes no second place
	held := 0
	for i := range s.sets {
		for _, one := range s.sets[i] {
			if one.at == last {
				held++
			}
		}
	}
	if held != 1 {
		t.Errorf("the last address is held %d times, want once", held)
	}
}
