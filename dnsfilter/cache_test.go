package dnsfilter

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
)

func cached(size int, stored time.Time, lifetime time.Duration) *entry {
	return &entry{stored: stored, lifetime: lifetime, whole: form{wire: make([]byte, size)}}
}

func keyOf(i int) string {
	return lookupKey{name: fmt.Sprintf("\x08n%07d\x00", i), qtype: dns.TypeA}.packed()
}

// fresh is what a lookup finds in the cache at now.
func fresh(c *cache, key string, now time.Time) *entry {
	l := lookups{cache: c}
	e, _ := l.cached([]byte(key), now)
	return e
}

func TestCacheLifetime(t *testing.T) {
	c, now := newCache(1<<20), newClock().Now()
	c.put(keyOf(1), cached(100, now, time.Minute))
	for _, tt := range []struct {
		at   time.Duration
		want bool
	}{{0, true}, {time.Minute - 1, true}, {time.Minute, false}, {time.Hour, false}, {-time.Second, false}} {
		if got := fresh(c, keyOf(1), now.Add(tt.at)) != nil; got != tt.want {
			t.Errorf("at %v: %v, want %v", tt.at, got, tt.want)
		}
	}
	c.put(keyOf(2), cached(100, now, 0))
	if fresh(c, keyOf(2), now) != nil {
		t.Error("an answer that must not be kept was")
	}
	one := unpackKey(keyOf(1))
	for _, other := range []lookupKey{
		{name: one.name, qtype: dns.TypeAAAA},
		{name: one.name, qtype: dns.TypeA, do: true},
		{name: one.name, qtype: dns.TypeA, cd: true},
	} {
		if fresh(c, other.packed(), now) != nil {
			t.Errorf("%+v found another's answer", other)
		}
	}
}

func TestCacheReplaces(t *testing.T) {
	c, now := newCache(1<<20), newClock().Now()
	for i := range 10 {
		c.put(keyOf(1), cached(100*i+1, now, time.Minute))
	}
	if e := fresh(c, keyOf(1), now); e == nil || len(e.whole.wire) != 901 {
		t.Errorf("got %+v, want the newest", e)
	}
	if entries, bytes := c.size(); entries != 1 || bytes != int64(901+len(keyOf(1))+entryOverhead) {
		t.Errorf("%d entries of %d bytes", entries, bytes)
	}
}

func TestCacheOfNoBytesKeepsNothing(t *testing.T) {
	c, now := newCache(0), newClock().Now()
	c.put(keyOf(1), cached(1, now, time.Minute))
	if fresh(c, keyOf(1), now) != nil {
		t.Error("kept")
	}
}

// Whatever happens, the budget holds, and list, map and bytes agree.
func TestCacheBudget(t *testing.T) {
	const budget = 1 << 20
	c, now := newCache(budget), newClock().Now()
	random := rand.New(rand.NewPCG(1, 2))
	evicted := 0
	for range 20_000 {
		k := keyOf(random.IntN(5000))
		if random.IntN(3) == 0 {
			fresh(c, k, now)
			continue
		}
		size := random.IntN(2000)
		if random.IntN(500) == 0 {
			size = budget // more than a shard can hold
		}
		evicted += c.put(k, cached(size, now, time.Minute))
		if _, bytes := c.size(); bytes > budget {
			t.Fatalf("%d bytes in a cache of %d", bytes, budget)
		}
	}
	if evicted == 0 {
		t.Error("nothing was ever evicted")
	}
	for i := range c.shards {
		s := &c.shards[i]
		count, bytes := 0, int64(0)
		var older *entry
		for n := s.oldest; n != nil; n = n.newer {
			if n.older != older || s.table.find(n.hash, []byte(n.key)) != n {
				t.Fatal("list and map disagree")
			}
			older = n
			count++
			bytes += n.cost
		}
		if older != s.newest || count != s.table.count || bytes != s.bytes {
			t.Errorf("shard %d: %d listed, %d mapped; %d bytes, %d counted", i, count, s.table.count, bytes, s.bytes)
		}
	}
}

// SIEVE keeps what is asked for again while names that are asked once pass by.
func TestCacheSparesWhatIsUsed(t *testing.T) {
	c, now := newCache(minShardBytes), newClock().Now() // one shard
	const popular = 50
	for i := range popular {
		c.put(keyOf(i), cached(200, now, time.Hour))
	}
	for i := range 20_000 {
		c.put(keyOf(1000+i), cached(200, now, time.Hour))
		fresh(c, keyOf(i%popular), now)
	}
	kept := 0
	for i := range popular {
		if fresh(c, keyOf(i), now) != nil {
			kept++
		}
	}
	if kept != popular {
		t.Errorf("%d of %d popular names survived a scan", kept, popular)
	}
}

func TestCacheIsSafeForConcurrentUse(t *testing.T) {
	c, now := newCache(minShardBytes), newClock().Now()
	var done sync.WaitGroup
	for worker := range 4 {
		done.Go(func() {
			for i := range 5000 {
				k := keyOf((i*7 + worker) % 900)
				if fresh(c, k, now) == nil {
					c.put(k, cached(300, now, time.Minute))
				}
				if i%100 == 0 {
					c.size()
				}
			}
		})
	}
	done.Wait()
}

func TestCacheHitDoesNotAllocate(t *testing.T) {
	c, now := newCache(1<<20), newClock().Now()
	c.put(keyOf(1), cached(100, now, time.Minute))
	k := keyOf(1)
	if n := testing.AllocsPerRun(1000, func() {
		if fresh(c, k, now) == nil {
			t.Fatal("missed")
		}
	}); n != 0 {
		t.Errorf("%v allocations a hit", n)
	}
}

// What the cache says it uses is near what it does use.
func TestCacheCountsItsMemory(t *testing.T) {
	const budget = 16 << 20
	now := newClock().Now()
	c := newCache(budget)
	for i := range 20_000 {
		m := query(fmt.Sprintf("host%d.example", i), dns.TypeA).SetReply(query(fmt.Sprintf("host%d.example", i), dns.TypeA))
		r, err := dns.NewRR(m.Question[0].Name + " 60 IN A 192.0.2.1")
		if err != nil {
			t.Fatal(err)
		}
		m.Answer = append(m.Answer, r)
		name, err := dnswire.WireName(m.Question[0].Name)
		if err != nil {
			t.Fatal(err)
		}
		key := lookupKey{name: name, qtype: dns.TypeA}
		e, err := digest(m, key, ordinaryTTLs(), now)
		if err != nil {
			t.Fatal(err)
		}
		c.put(key.packed(), e)
	}
	entries, bytes := c.size()
	with := heapInUse()
	runtime.KeepAlive(c)
	c = nil
	used := with - heapInUse()
	t.Logf("%d entries, %d bytes counted, %d used", entries, bytes, used)
	if used > bytes*3/2 || used < bytes/2 {
		t.Errorf("%d bytes counted, %d used", bytes, used)
	}
}

// heapInUse is what the heap holds, less what earlier tests have left in it:
// pools let go of theirs with the second collection, finalizers with the third.
func heapInUse() int64 {
	var m runtime.MemStats
	for range 4 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
