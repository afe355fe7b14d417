package dnsfilter

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
	"github.com/sallyport/sallyport/policy"
)

// Resolution is what a name leads to: what the proxy door judges, and then
// dials.
type Resolution struct {
	Addrs []netip.Addr  // of A, then of AAAA records; unmapped
	Facts []policy.Host // targets, hints and addresses of A, AAAA and HTTPS answers; nothing twice
	TTL   time.Duration // how long this holds
}

// ErrNoAddress is what Resolve returns for a name that upstreams know of, or
// know not to exist, and that has no address.
var ErrNoAddress = errors.New("the name has no address")

// IsNamesFault reports whether an error of Resolve is the name's own fault as far
// as upstreams can tell: it has no address, or an upstream could find none for it
// and has said so. Otherwise none has answered.
func IsNamesFault(err error) bool { return errors.Is(err, ErrNoAddress) || upstreamSaid(err) }

// serviceGrace is how long Resolve waits for the HTTPS answer once addresses
// are there. Some resolvers never answer that type; the query goes on, and the
// cache has its answer for the next time.
const serviceGrace = time.Second

// Resolve looks up the addresses of a name, and what its HTTPS record (RFC
// 9460) leads to, through the same cache and upstreams as the DNS door's
// clients, so that both doors judge the same. It decides nothing itself. The
// name is canonical, with or without a trailing dot; localhost and what is
// under it is loopback.
//
// Without addresses it fails, with ErrNoAddress if that is what upstreams say;
// the facts found on the way are returned nevertheless, so that a refusal can
// still name them. A failed HTTPS lookup is no failure. It returns when ctx
// ends, and within Config.QueryTimeout. Safe for concurrent use.
func (s *Server) Resolve(ctx context.Context, name string) (Resolution, error) {
	wire, err := dnswire.WireName(name)
	if err != nil {
		return Resolution{}, fmt.Errorf("resolve: %w", err)
	}
	if !s.beginResolve() {
		return Resolution{}, fmt.Errorf("resolve %q: %w", name, errClosed)
	}
	defer s.resolving.Done()
	ctx, cancel := context.WithTimeout(ctx, s.config.QueryTimeout)
	defer cancel()
	types := resolveTypes()
	var results [len(types)]chan found
	for i, qtype := range types {
		results[i] = make(chan found, 1)
		s.resolving.Go(func() {
			results[i] <- s.lookups.lookup(ctx, lookupKey{name: wire, qtype: qtype}, s.lookups.flights.share)
		})
	}
	v4, v6 := <-results[0], <-results[1] // each returns when ctx ends
	service := found{err: context.DeadlineExceeded}
	grace := time.NewTimer(serviceGrace)
	defer grace.Stop()
	select {
	case service = <-results[2]:
	case <-grace.C:
	}
	r := merge(s.deps.clock()(), v4, v6, service)
	switch {
	case len(r.Addrs) > 0:
		return r, nil
	case v4.err != nil:
		return r, fmt.Errorf("resolve %q: %w", name, v4.err)
	case v6.err != nil:
		return r, fmt.Errorf("resolve %q: %w", name, v6.err)
	default:
		return r, fmt.Errorf("resolve %q: %w", name, ErrNoAddress)
	}
}

// beginResolve counts a Resolve under way, for Shutdown to wait for; false once
// the door is closed.
func (s *Server) beginResolve() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.resolving.Add(1)
	return true
}

func resolveTypes() [3]uint16 {
	return [3]uint16{dnswire.TypeA, dnswire.TypeAAAA, dnswire.TypeHTTPS}
}

func merge(now time.Time, answers ...found) Resolution {
	r := Resolution{TTL: maxTTL}
	seen := make(map[policy.Host]struct{})
	for _, f := range answers {
		if f.err != nil {
			continue
		}
		r.Addrs = append(r.Addrs, f.entry.addrs...)
		for _, fact := range f.entry.facts {
			if _, twice := seen[fact]; !twice {
				seen[fact] = struct{}{}
				r.Facts = append(r.Facts, fact)
			}
		}
		r.TTL = max(min(r.TTL, f.entry.stored.Add(f.entry.lifetime).Sub(now)), 0)
	}
	return r
}
