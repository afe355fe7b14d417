package audit

import (
	"fmt"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
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
	if settled := len(*table.settled.Load()); settled != kinds {
		t.Errorf("%d of %d series can be found without a lock after all that use", settled, kinds)
	}
}
