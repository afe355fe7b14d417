package policy

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestStepMap asks around every step of maps whose steps are spread in all the
// ways that the index tells apart.
func TestStepMap(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	sets := map[string][]uint32{"none": nil, "one": {42}, "ends": {1, math.MaxUint32}}
	for i := range 32 {
		sets["powers"] = append(sets["powers"], 1<<i)
	}
	for range 5000 {
		sets["even"] = append(sets["even"], r.Uint32())
		sets["corner"] = append(sets["corner"], 10<<24+r.Uint32N(1<<16))
		sets["nested"] = append(sets["nested"], r.Uint32()>>r.IntN(32))
	}
	for i := range uint32(5000) {
		sets["dense"] = append(sets["dense"], math.MaxUint32-i)
	}
	sets["corner"] = append(sets["corner"], 1, 1<<31)
	for name, keys := range sets {
		keys = append(keys, 0)
		slices.Sort(keys)
		keys = slices.Compact(keys)
		t.Run(name, func(t *testing.T) {
			var steps []step
			for i, key := range keys {
				steps = append(steps, step{key, uint32(i)})
			}
			m := newStepMap(steps)
			for _, key := range keys {
				for _, k := range []uint32{key - 1, key, key + 1} {
					want, found := slices.BinarySearch(keys, k)
					if !found {
						want--
					}
					if got := m.value(k); got != uint32(want) {
						t.Fatalf("value(%d) = %d, want %d", k, got, want)
					}
				}
			}
		})
	}
}
