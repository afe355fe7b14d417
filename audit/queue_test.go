package audit

import (
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestQueueIsShown holds the file up: what waits is shown, and never more than
// may wait, until the file takes it.
func TestQueueIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := blocking{make(chan struct{})}
		registry := prometheus.NewPedanticRegistry()
		l := open(t, Config{Queue: 16}, Dependencies{Stdout: out, Registerer: registry})
		gauge := func(c prometheus.Collector) float64 { return testutil.ToFloat64(c) }
		if limit := gauge(l.metrics.places); limit != 16 {
			t.Errorf("limit %v, want 16", limit)
		}
		if n := gauge(l.metrics.queue); n != 0 {
			t.Errorf("%v wait in an empty queue", n)
		}
		l.Record(blocked()) // the writer takes it and is held
		synctest.Wait()
		for range 100 {
			l.Record(blocked())
		}
		if n := gauge(l.metrics.queue); n != 16 {
			t.Errorf("%v wait in a full queue of 16", n)
		}
		close(out.release)
		synctest.Wait()
		if n := gauge(l.metrics.queue); n != 0 {
			t.Errorf("%v wait where nothing holds them up", n)
		}
	})
}
