package ratelimit

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

const second, milli = int64(time.Second), int64(time.Millisecond)

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

func TestBurstThenRate(t *testing.T) {
	l := New(Config{Rate: 10, Burst: 5, Slip: 3})
	for _, step := range []struct {
		at   int64
		want string // one letter a query
	}{
		{0, "AAAAASDDSDDS"},          // the burst, then one in three slips
		{99 * milli, "DDS"},          // the next is earned a tenth of a second after the burst
		{100 * milli, "AD"},          // and is the only one
		{300 * milli, "AAD"},         // two were earned since
		{10 * second, "AAAAASDDS"},   // a silence earns the burst and no more, and forgets the slips
		{10*second + milli, "DDSDD"}, // refusals cost nothing
		{10*second + 100*milli, "A"}, // so this one is in time
	} {
		got := ""
		for range step.want {
			switch l.Allow(addr("192.0.2.1"), step.at) {
			case Allow:
				got += "A"
			case Slip:
				got += "S"
			case Drop:
				got += "D"
			}
		}
		if got != step.want {
			t.Errorf("at %v: %s, want %s", time.Duration(step.at), got, step.want)
		}
	}
}

func TestWhoIsOneClient(t *testing.T) {
	for _, c := range []struct {
		one, other string
		same       bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"::c000:201", "192.0.2.1", false},
		{"fe80::1%eth0", "fe80::2%eth0", false},
		{"fe80::1%eth0", "fe80::1%eth0", true},
		{"fe80::1", "::1", false},
	} {
		l := New(Config{Rate: 1, Burst: 1})
		if d := l.Allow(addr(c.one), second); d != Allow {
			t.Fatalf("%s: the first query: %v", c.one, d)
		}
		if d := l.Allow(addr(c.other), second); (d != Allow) != c.same {
			t.Errorf("%s after %s: %v", c.other, c.one, d)
		}
	}
}

func TestNoRateIsNoLimit(t *testing.T) {
	var l *Limiter = New(Config{Burst: 1, MaxClients: 1})
	for range 1000 {
		if l.Allow(addr("192.0.2.1"), 0) != Allow {
			t.Fatal("a limiter without a rate limits")
		}
	}
}

// TestNeverMoreThanAllowed asks at random moments and looks at every window.
func TestNeverMoreThanAllowed(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		rate, burst := 1+random.IntN(2000), 1+random.IntN(50)
		l := New(Config{Rate: rate, Burst: burst})
		granted := map[int][]int64{}
		now := random.Int64N(second)
		for range 4000 {
			now += random.Int64N(2*second/int64(rate) + 1)
			if random.IntN(200) == 0 {
				now += random.Int64N(second)
			}
			who := random.IntN(4)
			if l.Allow(netip.AddrFrom4([4]byte{192, 0, 2, byte(who)}), now) == Allow {
				granted[who] = append(granted[who], now)
			}
		}
		for who, times := range granted {
			for i := range times {
				for j := i; j < len(times); j++ {
					most := float64(burst) + float64(rate)*float64(times[j]-times[i])/float64(second)
					if n := j - i + 1; float64(n) > most+1e-6 {
						t.Fatalf("seed %d, client %d: %d granted in %v, want at most %.2f", seed, who, n, time.Duration(times[j]-times[i]), most)
					}
				}
			}
		}
	}
}

// TestNeverLessThanAllowed: who keeps to the rate is never refused, whatever
// others do.
func TestNeverLessThanAllowed(t *testing.T) {
	for _, rate := range []int{1, 3, 7, 100, 999, 30_000, maxRate} {
		l := New(Config{Rate: rate, Burst: 1})
		cost := (second + int64(rate) - 1) / int64(rate)
		for i := range int64(1000) {
			now := i * cost
			if d := l.Allow(addr("192.0.2.1"), now); d != Allow {
				t.Fatalf("rate %d, query %d: %v", rate, i, d)
			}
			for range 3 {
				l.Allow(addr("192.0.2.2"), now)
			}
		}
	}
}

// TestFullTable gives every bucket of a small table away and then looks at
// what is left for others.
func TestFullTable(t *testing.T) {
	const rate, burst = 1, 10
	l := New(Config{Rate: rate, Burst: burst, MaxClients: 1})
	random := rand.New(rand.NewPCG(1, 2))
	flood := func() netip.Addr {
		n := random.Uint32()
		return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
	}
	for range 50_000 {
		l.Allow(flood(), second)
	}
	if newcomer := addr("198.18.0.1"); l.Allow(newcomer, second) != Allow || hasBucket(l, newcomer) {
		t.Fatal("50,000 clients have their own bucket in the smallest table")
	}

	// A client from another network still gets in.
	for i := range 50 {
		if d := l.Allow(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), second); d != Allow {
			t.Errorf("newcomer %d: %v", i, d)
		}
	}
	// A neighbourhood that shares may do more than a client, but not any amount.
	allowed := 0
	for i := range 100_000 {
		if l.Allow(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), second) == Allow {
			allowed++
		}
	}
	// Some of its addresses may have found places of their own before the
	// table was full: none did if it was.
	if most := burst * regionShare; allowed > most || allowed < burst {
		t.Errorf("a /24 of strangers got %d queries at once, want %d to %d", allowed, burst, most)
	}
	// Buckets that are full again make room.
	later := second + (burst+1)*second
	for i := range 20 {
		late := netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})
		if l.Allow(late, later); !hasBucket(l, late) {
			t.Errorf("%v shares a bucket although all buckets are full again", late)
		}
	}
}

// hasBucket reports whether a client has a bucket of its own.
func hasBucket(l *Limiter, a netip.Addr) bool {
	key := l.keys.of(a, client)
	return slices.Contains(l.levels[client].set(key).keys[:], key)
}

// TestTenMillionAddresses: memory is what it was.
func TestTenMillionAddresses(t *testing.T) {
	l := New(Config{Rate: 1, Burst: 2, MaxClients: 4096})
	places := 0
	for i := range l.levels {
		places += len(l.levels[i].sets) * ways
	}
	count := 10_000_000
	if raced {
		count = 500_000
	}
	random := rand.NewPCG(3, 4)
	now := second
	if n := testing.AllocsPerRun(1, func() {
		for range count / 2 { // AllocsPerRun runs twice
			var b [16]byte
			a, c := random.Uint64(), random.Uint64()
			for i := range 8 {
				b[i], b[8+i] = byte(a>>(8*i)), byte(c>>(8*i))
			}
			now += 100
			l.Allow(netip.AddrFrom16(b), now)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	after := 0
	for i := range l.levels {
		after += len(l.levels[i].sets) * ways
	}
	if after != places {
		t.Errorf("%d places, were %d", after, places)
	}
}

func TestSetSize(t *testing.T) {
	if size := unsafe.Sizeof(set{}); size != 256 {
		t.Errorf("a set has %d bytes: two of them share a cache line", size)
	}
}

func TestExempt(t *testing.T) {
	l := New(Config{Rate: 1, Burst: 1, Exempt: []netip.Prefix{
		netip.MustParsePrefix("192.0.2.128/25"),
		netip.MustParsePrefix("192.0.2.130/32"), // inside another
		netip.MustParsePrefix("10.0.0.1/8"),     // not masked
		netip.MustParsePrefix("::ffff:203.0.113.0/120"),
		netip.MustParsePrefix("2001:db8:1::/48"),
		netip.MustParsePrefix("fe80::/10"),
	}})
	for _, c := range []struct {
		addr   string
		exempt bool
	}{
		{"192.0.2.127", false}, {"192.0.2.128", true}, {"192.0.2.131", true}, {"192.0.2.255", true}, {"192.0.3.0", false},
		{"9.255.255.255", false}, {"10.0.0.0", true}, {"10.255.255.255", true}, {"11.0.0.0", false},
		{"203.0.113.9", true}, {"::ffff:203.0.113.9", true}, {"203.0.114.0", false},
		{"2001:db8:1:ffff::", true}, {"2001:db8:2::", false}, {"fe80::1%eth0", true},
	} {
		l.Allow(addr(c.addr), second)
		if got := l.Allow(addr(c.addr), second) == Allow; got != c.exempt {
			t.Errorf("%s: exempt is %v", c.addr, got)
		}
	}
}

// TestClockGoesBack: a clock that was set back does not lock a client out.
func TestClockGoesBack(t *testing.T) {
	l := New(Config{Rate: 10, Burst: 10})
	for range 100 {
		l.Allow(addr("192.0.2.1"), 3600*second)
	}
	l.Allow(addr("192.0.2.1"), second)
	if d := l.Allow(addr("192.0.2.1"), 3*second); d != Allow {
		t.Errorf("two seconds after the clock was set back an hour: %v", d)
	}
}

// TestTogether: many at once get together what one may have.
func TestTogether(t *testing.T) {
	const burst = 1000
	l := New(Config{Rate: 1, Burst: burst})
	var allowed [4]atomic.Int64
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 4 * burst {
				who := (i + worker) % len(allowed)
				if l.Allow(netip.AddrFrom4([4]byte{192, 0, 2, byte(who)}), second) == Allow {
					allowed[who].Add(1)
				}
			}
		})
	}
	all.Wait()
	for who := range allowed {
		if n := allowed[who].Load(); n != burst {
			t.Errorf("client %d got %d queries, want %d", who, n, burst)
		}
	}
}

// FuzzAllow holds a limiter to a plain token bucket in a map. Each byte is a
// query: its low bits say who asks, the others how long after the last one.
func FuzzAllow(f *testing.F) {
	f.Add(uint16(10), uint8(3), []byte("aaaaaaaabbbbbbb\xff\xfe\x00\x01\x80zz"))
	f.Add(uint16(1), uint8(1), []byte{0, 0, 0, 255, 0, 255})
	f.Add(uint16(1000), uint8(0), []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, rate uint16, burst uint8, queries []byte) {
		if rate == 0 || burst == 0 || len(queries) > 1000 {
			return
		}
		l := New(Config{Rate: int(rate), Burst: int(burst)})
		cost := (second + int64(rate) - 1) / int64(rate) // nanoseconds a token
		type bucket struct{ tokens, at int64 }           // tokens in nanoseconds
		buckets := map[byte]*bucket{}
		now := int64(0)
		for i, q := range queries {
			who, wait := q&3, int64(q>>2)*cost/16
			now += wait
			b := buckets[who]
			if b == nil {
				b = &bucket{int64(burst) * cost, now}
				buckets[who] = b
			}
			b.tokens = min(b.tokens+now-b.at, int64(burst)*cost)
			b.at = now
			want := b.tokens >= cost
			if want {
				b.tokens -= cost
			}
			if got := l.Allow(netip.AddrFrom4([4]byte{192, 0, 2, who}), now) == Allow; got != want {
				t.Fatalf("query %d of %d at %d: allowed %v, want %v", i, who, now, got, want)
			}
		}
	})
}

func TestNoAllocation(t *testing.T) {
	l := New(Config{Rate: 1, Burst: 1, MaxClients: 1})
	var n uint32
	if got := testing.AllocsPerRun(10_000, func() {
		n++
		l.Allow(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), second)
		l.Allow(addr6(n), second)
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func addr6(n uint32) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), 15: 1})
}

func BenchmarkAllow(b *testing.B) {
	for _, clients := range []int{1, 1000, 50_000} {
		b.Run(fmt.Sprintf("%d clients", clients), func(b *testing.B) {
			l := New(Config{Rate: 1000, Burst: 1000})
			random := rand.New(rand.NewPCG(1, 1))
			addrs := make([]netip.Addr, clients)
			for i := range addrs {
				addrs[i] = addr6(random.Uint32())
			}
			b.ReportAllocs()
			now, i := second, 0
			for b.Loop() {
				now += 1000
				if i++; i == len(addrs) {
					i = 0
				}
				l.Allow(addrs[i], now)
			}
		})
	}
	b.Run("flood", func(b *testing.B) {
		l := New(Config{Rate: 1, Burst: 100})
		random := rand.NewPCG(1, 1)
		b.ReportAllocs()
		for b.Loop() {
			l.Allow(addr6(uint32(random.Uint64())), second)
		}
	})
}
