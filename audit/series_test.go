package audit

import (
	"fmt"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sallyport/sallyport/policy"
)

func TestSeriesTable(t *testing.T) {
	var mu sync.Mutex
	made := map[seriesKey]int{}
	table := newSeriesTable(func(k seriesKey) *series {
		mu.Lock()
		defer mu.Unlock()
		made[k]++
		return &series{count: prometheus.NewCounter(prometheus.CounterOpts{Name: "x"})}
	})
	const kinds, rounds, goroutines = 500, 20, 4
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range rounds {
				for i := range kinds {
					table.of(seriesKey{rule: fmt.Sprint(i)}).count.Inc()
				}
			}
		})
	}
	wg.Wait()
	for i := range kinds {
		k := seriesKey{rule: fmt.Sprint(i)}
		if made[k] != 1 {
			t.Errorf("series %d was made %d times", i, made[k])
		}
		if n := count(table.of(k).count); n != rounds*goroutines {
			t.Errorf("series %d counts %d, want %d", i, n, rounds*goroutines)
		}
	}
	indexed := 0
	for _, s := range *table.index.Load() {
		if s != nil {
			indexed++
		}
	}
	if indexed != kinds {
		t.Errorf("%d of %d series can be found without a lock after all that use", indexed, kinds)
	}
}

// Keys that differ in one place only must not fall together, or the index
// would be a list.
func TestSeriesHashSpreads(t *testing.T) {
	seen := map[uint64]seriesKey{}
	add := func(k seriesKey) {
		h := k.hash()
		if other, ok := seen[h]; ok {
			t.Errorf("%v and %v have one hash", other, k)
		}
		seen[h] = k
	}
	for i := range 1000 {
		add(seriesKey{rule: fmt.Sprintf("site-%04d-block-conferencing", i), app: "zoom", group: "employees"})
		add(seriesKey{rule: "memo", app: fmt.Sprint("a", i), group: "employees"})
		add(seriesKey{rule: "memo", app: "zoom", group: fmt.Sprint("department ", i)})
	}
	add(seriesKey{rule: "ab", app: "c"})
	add(seriesKey{rule: "a", app: "bc"})
	add(seriesKey{rule: "\x00"})
	add(seriesKey{rule: "\x00\x00"})
	for _, d := range policy.Doors() {
		for a := range 3 {
			add(seriesKey{door: d, action: policy.Action(a)})
		}
	}
}
