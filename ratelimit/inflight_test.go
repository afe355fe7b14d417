package ratelimit

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
)

// begin takes places until it is refused.
func begin(f *Inflight, a netip.Addr) (got int) {
	for f.Begin(a) == None {
		got++
	}
	return got
}

func TestFlooderLeavesHalf(t *testing.T) {
	f := NewInflight(1000, 10)
	flooder := addr("192.0.2.66")
	if got := begin(f, flooder); got != 500 {
		t.Fatalf("one client took %d of 1000 places, want half", got)
	}
	// Fifty others get their share each, and then all places are taken.
	for i := range 50 {
		if got := begin(f, netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i)})); got != 10 {
			t.Errorf("client %d took %d places, want its share", i, got)
		}
	}
	if f.taken.Load() != 1000 {
		t.Errorf("%d places are taken, want all", f.taken.Load())
	}
	if r := f.Begin(addr("198.51.100.1")); r != NoPlace {
		t.Errorf("when all places are taken: %v", r)
	}
	if r := f.Begin(flooder); r != OwnShare {
		t.Errorf("the flooder, when all places are taken: %v", r)
	}
	// What a flooder gives back goes to others.
	f.End(flooder)
	if r := f.Begin(flooder); r != OwnShare {
		t.Errorf("the flooder, who gave one back: %v", r)
	}
	if f.Begin(addr("198.51.100.1")) != None {
		t.Error("a place that was given back is lost")
	}
}

func TestShareAboveHalf(t *testing.T) {
	f := NewInflight(4, 3)
	if got := begin(f, addr("192.0.2.1")); got != 3 {
		t.Errorf("took %d places, want the share although it is more than half", got)
	}
	if got := begin(NewInflight(0, 0), addr("192.0.2.1")); got != 1 {
		t.Errorf("took %d places of the smallest table, want 1", got)
	}
}

// TestOneNetworkIsOneClient: an IPv6 client cannot be many.
func TestOneNetworkIsOneClient(t *testing.T) {
	f := NewInflight(100, 5)
	begin(f, addr("192.0.2.1"))
	got := 0
	for i := range 100 {
		a := addr6(1).As16()
		a[15] = byte(i)
		if f.Begin(netip.AddrFrom16(a)) == None {
			got++
		}
	}
	if got != 5 {
		t.Errorf("a /64 took %d places, want its share", got)
	}
}

// TestPlacesComeBack: many at once never have more places than there are, and
// when all have ended nothing is left.
func TestPlacesComeBack(t *testing.T) {
	const places = 64
	f := NewInflight(places, 8)
	var held, refused, most atomic.Int64
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			mine := make([]netip.Addr, 0, 32)
			for i := range 20_000 {
				a := netip.AddrFrom4([4]byte{192, 0, 2, byte(i % (worker + 2))})
				if len(mine) < cap(mine) && f.Begin(a) == None {
					mine = append(mine, a)
					now := held.Add(1)
					for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
					}
					continue
				}
				refused.Add(1)
				for _, a := range mine {
					held.Add(-1)
					f.End(a)
				}
				mine = mine[:0]
			}
			for _, a := range mine {
				held.Add(-1)
				f.End(a)
			}
		})
	}
	all.Wait()
	if most.Load() > places || refused.Load() == 0 {
		t.Errorf("at most %d of %d places held, %d times refused", most.Load(), places, refused.Load())
	}
	if f.taken.Load() != 0 {
		t.Errorf("%d places are taken though all ended", f.taken.Load())
	}
	for _, row := range f.rows {
		for i := range row {
			if n := row[i].Load(); n != 0 {
				t.Fatalf("counter %d is left at %d", i, n)
			}
		}
	}
}

func TestInflightNoAllocation(t *testing.T) {
	f, a := NewInflight(16, 1), addr("2001:db8::1")
	if n := testing.AllocsPerRun(1000, func() {
		if f.Begin(a) != None {
			t.Fatal("no place")
		}
		f.End(a)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkInflight(b *testing.B) {
	f, a := NewInflight(2048, 64), addr("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		if f.Begin(a) == None {
			f.End(a)
		}
	}
}
