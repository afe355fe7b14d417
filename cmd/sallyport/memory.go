package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// heapRoom is how much the heap may grow above what is alive before the
// collector runs. Go's default lets it double, which a policy with a million
// names would pay with 50 MB that nothing uses.
const heapRoom = 16 << 20

// minGCPercent keeps the collector from running all the time where what is
// alive is large: the big tables hold few pointers, so that a run is cheap,
// but it is not free.
const minGCPercent = 20

// paceEvery is how often the pace is looked at: the cache of names fills up
// within seconds where there is much to keep.
const paceEvery = 2 * time.Second

// liveHeap is what the last run of the collector found alive, in bytes.
const liveHeap = "/gc/heap/live:bytes"

// memoryPace sets the collector's pace by what is alive. An administrator who
// sets GOGC keeps the pace that they chose. Safe for concurrent use.
type memoryPace struct {
	fixed   bool // by GOGC
	mu      sync.Mutex
	percent int
}

// settle gives back what compiling a policy needed and deciding does not. It
// stops the world for a moment, so it runs after a policy is in force, never
// before.
func (p *memoryPace) settle() {
	debug.FreeOSMemory()
	p.adjust()
}

// follow adjusts the pace until ctx ends.
func (p *memoryPace) follow(ctx context.Context) {
	ticker := time.NewTicker(paceEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			p.adjust()
		}
	}
}

// adjust sets the pace where it has become another: each time costs a short
// stop of the world.
func (p *memoryPace) adjust() {
	if p.fixed {
		return
	}
	sample := []metrics.Sample{{Name: liveHeap}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	percent := gcPercent(sample[0].Value.Uint64())
	if difference := percent - p.percent; difference > paceStep || difference < -paceStep {
		debug.SetGCPercent(percent)
		p.percent = percent
	}
}

// paceStep is the least change of the pace that is worth a stop.
const paceStep = 4

// gcPercent is the pace that leaves heapRoom above a live heap.
func gcPercent(alive uint64) int {
	if alive == 0 {
		return 100
	}
	return int(max(minGCPercent, min(100, heapRoom*100/alive)))
}
