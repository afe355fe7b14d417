package dnsfilter

import (
	"context"
	"errors"
	"time"
)

// lookups answers questions with upstream truth: special names, then the
// cache, then one flight to the upstreams. It knows nothing of policy. Safe
// for concurrent use.
type lookups struct {
	cache   *cache
	flights *flights
	metrics *metrics
	now     func() time.Time
}

var (
	errClosed = errors.New("the DNS door is closed")
	errBusy   = errors.New("too many lookups under way")
)

// lookup answers key. hit says that no upstream had to be asked.
func (l *lookups) lookup(ctx context.Context, key lookupKey) (e *entry, hit bool, err error) {
	now := l.now()
	if e := localhost(key, now); e != nil {
		return e, true, nil
	}
	if e := l.cache.get(key, now); e != nil {
		l.metrics.cacheHits.Inc()
		return e, true, nil
	}
	l.metrics.cacheMisses.Inc()
	e, err = l.flights.do(ctx, key)
	if errors.Is(err, errBusy) {
		l.metrics.countShed(shedLookups)
	}
	return e, false, err
}

// extendedErrorOf explains a failed lookup to clients. It is the one place
// where errors become EDE codes (RFC 8914 §4).
func extendedErrorOf(err error) extendedError {
	var failure upstreamError
	switch {
	case errors.As(err, &failure) && failure.kind == failureRefused:
		return extended(edeOther, failure.text)
	case errors.As(err, &failure) && failure.kind == failureGarbled:
		return extended(edeNetworkError, failure.text)
	case errors.As(err, &failure):
		return extended(edeNoReachableAuthority, failure.text)
	case errors.Is(err, errBusy):
		return extended(edeOther, errBusy.Error())
	default:
		return extended(edeNoReachableAuthority, "no upstream resolver answered in time")
	}
}
