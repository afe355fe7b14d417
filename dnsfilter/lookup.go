package dnsfilter

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/dnsfilter/upstream"
)

// lookups answers questions with upstream truth: the cache, then one flight to
// what the door knows itself and to the upstreams. It knows nothing of policy.
// Safe for concurrent use.
type lookups struct {
	cache   *cache
	flights *flights
	metrics *metrics
	now     func() time.Time
	stale   time.Duration // how long past its lifetime an answer may still be given; 0: not at all
	ahead   bool          // renew what is asked for before it expires

	recovered atomic.Int64 // when an upstream last came back; Unix nanoseconds
}

var (
	errClosed = errors.New("the DNS door is closed")
	errBusy   = errors.New("too many lookups under way")
)

const (
	staleWait    = 1800 * time.Millisecond // RFC 8767 §5: the client response timer
	staleRecheck = 30 * time.Second        // RFC 8767 §5: the failure recheck timer
	staleTTL     = 30                      // RFC 8767 §5: of a stale answer, in seconds
	failureTTL   = time.Second             // RFC 9520 §3.2: at least this long a failure is remembered
)

// cached returns what is at hand for a packed key: a fresh answer, or a stale
// one whose renewal has just failed. It never waits and does not allocate,
// except to start a renewal.
func (l *lookups) cached(key []byte, now time.Time) (e *entry, stale bool) {
	e = l.cache.get(key)
	if e == nil {
		return nil, false
	}
	age := e.age(now)
	if age < e.lifetime {
		if l.ahead && age > e.lifetime-e.lifetime/renewShare {
			l.renew(key, e)
		}
		return e, false
	}
	if e.err == nil && age < e.lifetime+l.stale && l.rests(e, now) {
		return e, true
	}
	return nil, false
}

// rests reports whether asking for a stale entry's name has failed just now, and
// no upstream has come back since.
func (l *lookups) rests(e *entry, now time.Time) bool {
	retry := e.retryAt.Load()
	return now.UnixNano() < retry && retry-int64(staleRecheck) >= l.recovered.Load()
}

// renewShare: in the last tenth of its life an answer that is asked for is
// renewed, so that nobody has to wait for a name that is in use.
const renewShare = 10

// renew starts a flight for an answer that is about to expire, once.
func (l *lookups) renew(key []byte, e *entry) {
	if e.err != nil || e.lifetime < renewShare*time.Second || !e.renewing.CompareAndSwap(false, true) {
		return
	}
	if _, err := l.flights.start(string(key)); err != nil {
		e.renewing.Store(false) // the next to ask tries again
		return
	}
	l.metrics.prefetches.Inc()
}

// found is how a lookup ended.
type found struct {
	entry *entry
	hit   bool // no upstream had to be asked
	stale bool
	err   error
}

// fly is how an answer is brought that is not at hand: flights.do or
// flights.share.
type fly func(ctx context.Context, packed string) (*entry, error)

// lookup answers key. It waits for upstreams where it must, but no longer than
// staleWait where it has a stale answer to give instead.
func (l *lookups) lookup(ctx context.Context, key lookupKey, fly fly) found {
	packed := key.packed()
	if e, stale := l.cached([]byte(packed), l.now()); e != nil {
		return found{entry: e, hit: true, stale: stale, err: e.err}
	}
	old := l.cache.get([]byte(packed))
	if old == nil || old.err != nil || l.stale == 0 || old.age(l.now()) >= old.lifetime+l.stale {
		e, err := fly(ctx, packed)
		if errors.Is(err, errBusy) || errors.Is(err, upstream.ErrBusy) {
			l.metrics.shed(shedLookups, 1)
		}
		return found{entry: e, err: err}
	}
	wait, cancel := context.WithTimeout(ctx, staleWait)
	defer cancel()
	if e, err := l.flights.share(wait, packed); err == nil {
		return found{entry: e}
	}
	old.retryAt.Store(l.now().Add(staleRecheck).UnixNano())
	return found{entry: old, stale: true}
}

// upstreamState takes note that an upstream has failed or come back. In the
// latter case names that rest are asked for again at once.
func (l *lookups) upstreamState(name string, up bool) {
	l.metrics.upstreamState(name, up)
	if up {
		l.recovered.Store(l.now().UnixNano())
	}
}
