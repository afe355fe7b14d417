package main

import (
	"runtime"
	"runtime/debug"
)

// heapRoom is how much the heap may grow above what is alive before the
// collector runs. Go's default lets it double, which a policy with a million
// names would pay with 50 MB that nothing uses.
const heapRoom = 16 << 20

// minGCPercent keeps the collector from running all the time where what is
// alive is large: the big tables hold few pointers, so that a run is cheap,
// but it is not free.
const minGCPercent = 20

// settleMemory gives back what compiling needed and deciding does not, and
// sets the collector's pace by what is alive. An administrator who sets GOGC,
// which gogc holds, keeps the pace that they chose. It stops the world for a
// moment, so it runs after a policy is in force, never before.
func settleMemory(gogc string) {
	debug.FreeOSMemory()
	if gogc != "" {
		return
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	debug.SetGCPercent(gcPercent(stats.HeapAlloc))
}

// gcPercent is the pace that leaves heapRoom above a live heap.
func gcPercent(alive uint64) int {
	if alive == 0 {
		return 100
	}
	return int(max(minGCPercent, min(100, heapRoom*100/alive)))
}
