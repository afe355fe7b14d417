package dnsfilter

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// upstream is one resolver that queries are forwarded to, and how it fares.
type upstream struct {
	name    string // as in metrics and logs: udp://192.0.2.1:53
	addr    netip.AddrPort
	tcpOnly bool

	mu       sync.Mutex
	failures int       // in a row
	retryAt  time.Time // before it, healthier upstreams are asked first
}

// upstreamError is why an upstream gave no usable answer.
type upstreamError struct {
	kind failure
	text string // for clients; names no address
}

// failure is the manner of an upstreamError. A later one tells more: it says
// that somebody was there.
type failure uint8

const (
	failureTimeout     failure = iota // nothing came back
	failureUnreachable                // the network or the host said no
	failureGarbled                    // something came back that is no answer
	failureRefused                    // an error code came back
)

func (e upstreamError) Error() string { return e.text }

// String is the failure's name in metric labels.
func (f failure) String() string {
	switch f {
	case failureTimeout:
		return "timeout"
	case failureRefused:
		return "refused"
	default:
		return "error"
	}
}

const (
	minBackoff = time.Second
	maxBackoff = 30 * time.Second
	rounds     = 2 // through all upstreams: one lost packet loses no answer
)

// parseUpstream reads one upstream as an admin writes it.
func parseUpstream(s string) (*upstream, error) {
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		scheme, rest = "udp", s
	}
	switch scheme {
	case "udp", "tcp":
	case "tls", "https", "quic":
		return nil, fmt.Errorf("upstream %q: %s upstreams come in a later version: use udp:// or tcp://", s, scheme)
	default:
		return nil, fmt.Errorf("upstream %q: unknown scheme %q: use udp:// or tcp://", s, scheme)
	}
	addr, err := parseAddrPort(rest)
	if err != nil {
		return nil, fmt.Errorf("upstream %q: use an IP address with or without a port, such as 192.0.2.1:53 or [2001:db8::1]:53", s)
	}
	return &upstream{name: scheme + "://" + addr.String(), addr: addr, tcpOnly: scheme == "tcp"}, nil
}

func parseAddrPort(s string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		return netip.AddrPortFrom(a.Unmap(), 53), nil
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil || ap.Port() == 0 {
		return netip.AddrPort{}, errors.New("neither an address nor an address with a port")
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}

// forwarder asks upstreams: the first configured that is well, then the next.
// Safe for concurrent use.
type forwarder struct {
	upstreams []*upstream
	try       time.Duration // for one upstream
	total     time.Duration // for all of them
	metrics   *metrics
	log       *zap.Logger
	now       func() time.Time
}

func newForwarder(c *Config, m *metrics, d *Dependencies) (*forwarder, error) {
	f := &forwarder{try: c.UpstreamTimeout, total: c.QueryTimeout, metrics: m, log: d.Log, now: d.Now}
	var problems []error
	for _, s := range c.Upstreams {
		u, err := parseUpstream(s)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		f.upstreams = append(f.upstreams, u)
	}
	if len(c.Upstreams) == 0 {
		problems = append(problems, errors.New("no upstream resolver: name at least one, such as udp://192.0.2.1:53"))
	}
	return f, errors.Join(problems...)
}

// fetch asks upstreams until one gives a usable answer. It returns within
// f.total. Its error is the most telling of what went wrong.
func (f *forwarder) fetch(ctx context.Context, key lookupKey) (*entry, error) {
	ctx, cancel := context.WithTimeout(ctx, f.total)
	defer cancel()
	worst := upstreamError{kind: failureTimeout, text: "no upstream resolver answered in time"}
	for range rounds {
		for _, u := range f.order() {
			e, err := f.ask(ctx, u, key)
			if err == nil {
				return e, nil
			}
			if failure := asUpstreamError(err); failure.kind > worst.kind {
				worst = failure
			}
			if ctx.Err() != nil {
				return nil, worst
			}
		}
		if worst.kind >= failureGarbled {
			break // somebody is there: asking again changes nothing
		}
	}
	return nil, worst
}

// ask makes one try at one upstream and takes note of how it went.
func (f *forwarder) ask(ctx context.Context, u *upstream, key lookupKey) (*entry, error) {
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, f.try)
	defer cancel()
	start := time.Now()
	response, err := exchange(ctx, u, key)
	var e *entry
	if err == nil {
		e, err = digest(response, key, f.now())
	}
	result := "ok"
	if err != nil {
		result = asUpstreamError(err).kind.String()
	}
	f.metrics.observeUpstream(u.name, result, time.Since(start))
	switch {
	case err == nil || asUpstreamError(err).kind == failureRefused:
		f.recovered(u)
	case parent.Err() == nil: // its own fault, not the end of our time
		f.failed(u, err)
	}
	return e, err
}

// order returns the upstreams in configured order, those in back-off last: when
// all are, they are asked nevertheless. An upstream whose back-off is over gets
// its turn from one query; others go on avoiding it until that one is back.
func (f *forwarder) order() []*upstream {
	now := f.now()
	first := make([]*upstream, 0, len(f.upstreams))
	var last []*upstream
	for _, u := range f.upstreams {
		if u.avoid(now) {
			last = append(last, u)
			continue
		}
		first = append(first, u)
	}
	return append(first, last...)
}

func (u *upstream) avoid(now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.failures == 0 {
		return false
	}
	if now.Before(u.retryAt) {
		return true
	}
	u.retryAt = now.Add(backoff(u.failures))
	return false
}

func (f *forwarder) failed(u *upstream, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.failures++
	u.retryAt = f.now().Add(backoff(u.failures))
	if u.failures == 1 {
		f.log.Warn("upstream resolver does not answer", zap.String("upstream", u.name), zap.Error(err))
	}
}

func (f *forwarder) recovered(u *upstream) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.failures > 0 {
		f.log.Info("upstream resolver answers again", zap.String("upstream", u.name), zap.Int("failures", u.failures))
	}
	u.failures = 0
}

func backoff(failures int) time.Duration {
	return min(minBackoff<<min(failures-1, 10), maxBackoff)
}

func asUpstreamError(err error) upstreamError {
	var failure upstreamError
	if errors.As(err, &failure) {
		return failure
	}
	if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		return upstreamError{kind: failureTimeout, text: "no upstream resolver answered in time"}
	}
	return upstreamError{kind: failureUnreachable, text: "no upstream resolver can be reached"}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
