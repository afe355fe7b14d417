package upstream

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	minBackoff = time.Second
	maxBackoff = 30 * time.Second

	// downAfter is how many failures in a row say that a resolver is down. Any
	// failure sends it into back-off, but one lost packet is no news.
	downAfter = 3
)

// health is how a resolver fares. Safe for concurrent use; the zero health is
// well.
type health struct {
	sick atomic.Bool // failures > 0, for those who only look

	mu       sync.Mutex
	failures int       // in a row
	retryAt  time.Time // before it, others are asked first
	down     bool      // as reported

	// Smoothed as TCP does it (RFC 6298 §2), in nanoseconds; 0: not known yet.
	rtt, swing atomic.Int64
}

// due reports whether the back-off is over. The next one begins with that: one
// query at a time finds out how a sick resolver is.
func (h *health) due(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failures == 0 || now.Before(h.retryAt) {
		return false
	}
	h.retryAt = now.Add(backoff(h.failures))
	return true
}

// failed notes a failure; it reports whether the resolver is to be called down
// with it.
func (h *health) failed(now time.Time) (news bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures++
	h.retryAt = now.Add(backoff(h.failures))
	h.sick.Store(true)
	news = h.failures >= downAfter && !h.down
	h.down = h.down || news
	return news
}

// calledDown reports whether the last that was reported of it is that it is down.
func (h *health) calledDown() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.down
}

// answered notes that somebody is there; it reports whether the resolver was
// called down before.
func (h *health) answered() (news bool) {
	if !h.sick.Load() {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures = 0
	h.sick.Store(false)
	news, h.down = h.down, false
	return news
}

// took notes how long an answer took. Two at once may lose one of them, which
// does no harm to an average.
func (h *health) took(d time.Duration) {
	sample, rtt := max(int64(d), 1), h.rtt.Load()
	if rtt == 0 {
		h.rtt.Store(sample)
		h.swing.Store(sample / 2)
		return
	}
	off := sample - rtt
	h.rtt.Store(max(rtt+off/8, 1))
	swing := h.swing.Load()
	h.swing.Store(swing + (max(off, -off)-swing)/4)
}

// tookLonger notes that an answer had not come after d, when it was given up. A
// resolver that loses every race must not look quick for ever.
func (h *health) tookLonger(d time.Duration) {
	if int64(d) > h.rtt.Load() {
		h.took(d)
	}
}

// patience is how long an answer may take before it is unusual: nine of ten
// come sooner, where times scatter as they usually do.
func (h *health) patience() time.Duration {
	return time.Duration(h.rtt.Load() + 2*h.swing.Load())
}

func backoff(failures int) time.Duration {
	return min(minBackoff<<min(failures-1, 10), maxBackoff)
}
