package linelog

import "testing"

// BenchmarkRing is what handing an entry over costs those who log, filling it
// apart: one goroutine is both ends of the ring by turns.
func BenchmarkRing(b *testing.B) {
	type entry struct {
		words [40]uint64
		_     []byte // entries hold pointers, which the collector looks at
	}
	const places = 16_384
	l := &Log[entry]{ring: newRing[entry](places, nil, nil)}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n++; n == places/2 {
			b.StopTimer()
			for l.ring.next() != nil {
				l.ring.free()
			}
			n = 0
			b.StartTimer()
		}
		e, place, ok := l.Claim(false)
		if !ok {
			b.Fatal("the ring is full")
		}
		e.words[0] = uint64(place)
		l.Publish(place)
	}
}
