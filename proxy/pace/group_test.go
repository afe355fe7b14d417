package pace

import (
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// site is a group with clients that move as much as they can.
type site struct {
	*Group
	over  chan struct{}
	tasks sync.WaitGroup
}

func newSite(rate int64) *site { return &site{Group: New(rate), over: make(chan struct{})} }

func (s *site) close() {
	close(s.over)
	s.tasks.Wait()
}

func address(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}) }

// busy has a client move all it can through tunnels, piece by piece, and counts.
func (s *site) busy(addr netip.Addr, up bool, tunnels, piece int) *atomic.Int64 {
	moved := new(atomic.Int64)
	for range tunnels {
		share := s.Join(addr)
		s.tasks.Go(func() {
			defer share.Leave()
			for {
				granted := share.Take(up, piece, s.over)
				if granted == 0 {
					return
				}
				moved.Add(int64(granted))
			}
		})
	}
	return moved
}

// within reports whether a number is what it should be, give or take a part.
func within(got, want, part float64) bool { return math.Abs(got-want) <= want*part }

// Whoever has many tunnels, or takes large pieces, gets what others get; and the
// rate is kept, both ways apart.
func TestShares(t *testing.T) {
	type demand struct{ tunnels, piece int }
	for name, c := range map[string]struct {
		rate    int64
		demands []demand
	}{
		"one":              {1_000_000, []demand{{1, 1 << 20}}},
		"tunnels":          {5_000_000, []demand{{100, 1 << 20}, {1, 1 << 20}, {10, 1 << 20}}},
		"pieces":           {5_000_000, []demand{{1, 1 << 20}, {1, 2 << 10}, {3, 20_000}}},
		"hundred tunnels":  {20_000_000, []demand{{100, 1 << 20}, {1, 16 << 10}}},
		"many":             {1_000_000, []demand{{9, 9000}, {1, 9000}, {1, 9000}, {2, 90000}, {1, 9000}, {30, 4000}, {1, 5000}, {1, 7000}}},
		"slow":             {20_000, []demand{{20, 1 << 20}, {1, 1 << 20}}},
		"a gigabit":        {125_000_000, []demand{{20, 1 << 20}, {1, 1 << 20}, {2, 1 << 20}}},
		"too much for all": {1_250_000_000, []demand{{20, 4 << 20}, {20, 4 << 20}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seconds := 20.0
				if c.rate > 10_000_000 {
					seconds = 3 // it takes as many steps
				}
				s := newSite(c.rate)
				var counts [2][]*atomic.Int64
				for i, d := range c.demands {
					counts[0] = append(counts[0], s.busy(address(i), false, d.tunnels, d.piece))
					counts[1] = append(counts[1], s.busy(address(i), true, d.tunnels, d.piece))
				}
				time.Sleep(time.Duration(seconds * float64(time.Second)))
				synctest.Wait()
				for way, moved := range counts {
					total := 0.0
					for i, n := range moved {
						got, want := float64(n.Load()), float64(c.rate)*seconds/float64(len(moved))
						total += got
						if !within(got, want, 0.05) {
							t.Errorf("way %d: client %d moved %.0f, want %.0f", way, i, got, want)
						}
					}
					if most := float64(c.rate)*(seconds+hold.Seconds()) + 3*float64(s.lanes[way].quantum); total > most {
						t.Errorf("way %d: %.0f moved in all, more than %.0f", way, total, most)
					}
				}
				s.close()
				if len(s.clients) != 0 {
					t.Errorf("%d clients are left", len(s.clients))
				}
			})
		})
	}
}

// Who asks for little is served almost at once, however many want more.
func TestModestClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(1_000_000) // of which fifty-one have 19,600 each
		for i := range 50 {
			s.busy(address(i), false, 4, 1<<20)
		}
		time.Sleep(5 * time.Second)
		share := s.Join(address(99))
		var longest time.Duration
		for range 100 {
			began := time.Now()
			for left := 1000; left > 0; {
				left -= share.Take(false, left, s.over)
			}
			longest = max(longest, time.Since(began))
			time.Sleep(100 * time.Millisecond) // 10,000 a second
		}
		if longest > 20*time.Millisecond { // of which a quantum is 5
			t.Errorf("a kilobyte took %v", longest)
		}
		share.Leave()
		s.close()
	})
}

// What one does not want is the others', and nobody saves up.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(1_000_000)
		first := s.busy(address(1), true, 1, 1<<20)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if alone := float64(first.Load()); !within(alone, 10_000_000, 0.05) {
			t.Errorf("alone it moved %.0f", alone)
		}
		second := s.busy(address(2), true, 1, 1<<20)
		before := first.Load()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for who, got := range []float64{float64(first.Load() - before), float64(second.Load())} {
			if !within(got, 5_000_000, 0.05) {
				t.Errorf("client %d moved %.0f of a half", who, got)
			}
		}
		s.close()
	})
}

// A tunnel that ends while it waits is forgotten, and its turn is the next one's.
func TestOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(1000)
		share, other := g.Join(address(1)), g.Join(address(1))
		for g.lanes[0].tokens > 0 {
			share.Take(false, 1<<20, nil)
		}
		over := make(chan struct{})
		var ended atomic.Int32
		for _, s := range []*Share{share, other} {
			go func() {
				if n := s.Take(false, 100, over); n != 0 {
					t.Errorf("%d granted", n)
				}
				ended.Add(1)
			}()
		}
		synctest.Wait()
		if ended.Load() != 0 {
			t.Fatal("nobody waited")
		}
		close(over)
		synctest.Wait()
		if ended.Load() != 2 || g.lanes[0].turns.Len() != 0 {
			t.Fatalf("%d have ended, and %d clients wait", ended.Load(), g.lanes[0].turns.Len())
		}
		if n := share.Take(false, 100, nil); n != 100 {
			t.Errorf("%d granted afterwards", n)
		}
		if n := share.Take(true, 100, nil); n != 100 { // the other way there was no wait
			t.Errorf("%d granted the other way", n)
		}
		share.Leave()
		other.Leave()
	})
}

// All of it at once, for the race detector: what was granted is within the rate.
func TestTogether(t *testing.T) {
	const rate = 50_000_000
	s := newSite(rate)
	began := time.Now()
	var moved []*atomic.Int64
	for i := range 8 {
		moved = append(moved, s.busy(address(i%5), false, 3, 30_000))
	}
	for range 200 { // tunnels that come, wait for a moment and go
		share, over := s.Join(address(7)), make(chan struct{})
		go close(over)
		moved[0].Add(int64(share.Take(false, 10_000, over)))
		share.Leave()
	}
	s.close()
	took, total := time.Since(began), int64(0)
	for _, n := range moved {
		total += n.Load()
	}
	if most := rate*(took+hold).Seconds() + 3*mostQuantum; total == 0 || float64(total) > most {
		t.Errorf("%d moved in %v, want at most %.0f", total, took, most)
	}
	if len(s.clients) != 0 || s.lanes[0].turns.Len() != 0 {
		t.Errorf("%d clients are left, and %d wait", len(s.clients), s.lanes[0].turns.Len())
	}
}

func TestTakeAllocatesNothing(t *testing.T) {
	share := New(1 << 50).Join(address(1))
	if n := testing.AllocsPerRun(1000, func() { share.Take(true, 1000, nil) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
