package authority

import "time"

// bucket lets things happen at a rate, and some at once after a silence. Not
// safe for concurrent use.
type bucket struct {
	rate  float64 // a second
	burst float64
	level float64
	at    time.Time // when level was true; zero: never, and the bucket is full
}

// take reports whether one more may happen now, and counts it if so. A clock
// that goes back fills nothing.
func (b *bucket) take(now time.Time) bool {
	if b.at.IsZero() {
		b.level, b.at = b.burst, now
	}
	if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.level = min(b.burst, b.level+passed*b.rate)
		b.at = now
	}
	if b.level < 1 {
		return false
	}
	b.level--
	return true
}
