package dnsfilter

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
	"github.com/sallyport/sallyport/dnsfilter/localdata"
	"github.com/sallyport/sallyport/dnsfilter/upstream"
)

// source is where answers come from: what the door knows itself, and else the
// upstream resolvers. It keeps what they say in the cache before anybody sees
// it, so that no second flight starts for what is known.
type source struct {
	local   atomic.Pointer[localdata.Data]
	ask     func(context.Context, upstream.Query) (upstream.Answer, error)
	lookups *lookups
	cache   *cache
	metrics *metrics
	ttls    ttlBounds
	stale   time.Duration
	total   time.Duration // for one flight, whatever it brings with it
	now     func() time.Time
}

// fetch answers a packed key. It is what a flight does.
func (s *source) fetch(ctx context.Context, packed string) (*entry, error) {
	ctx, cancel := context.WithTimeout(ctx, s.total)
	defer cancel()
	epoch := s.cache.epoch.Load()
	key := unpackKey(packed)
	e, err := s.answer(ctx, key)
	if err == nil && serves(key, e) {
		err = s.addSiblings(ctx, key, e)
	}
	now := s.now()
	switch {
	case err == nil:
		s.metrics.cacheEvictions.Add(float64(s.cache.putSince(epoch, packed, e)))
	case errors.Is(err, context.Canceled) || errors.Is(err, upstream.ErrClosed) || errors.Is(err, upstream.ErrBusy): // no fault of the name's
	case !s.staleAtHand(packed, now):
		s.metrics.cacheEvictions.Add(float64(s.cache.putSince(epoch, packed, failure(err, now))))
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

func (s *source) answer(ctx context.Context, key lookupKey) (*entry, error) {
	if response, ok := s.local.Load().Answer(key.name, key.qtype); ok {
		return s.localAnswer(ctx, key, response)
	}
	answer, err := s.ask(ctx, upstream.Query{Name: key.name, Type: key.qtype, DO: key.do, CD: key.cd})
	if err != nil {
		return nil, err
	}
	e, err := digest(answer.Msg, key, s.ttls, s.now())
	if err != nil {
		return nil, err
	}
	e.ad = e.ad && answer.Trusted
	return e, nil
}

// localAnswer finishes an answer of the door's own, whose last alias may lead
// out of what it knows itself.
func (s *source) localAnswer(ctx context.Context, key lookupKey, response *dns.Msg) (*entry, error) {
	if name, open := localdata.Continues(response); open {
		rest, err := s.ask(ctx, upstream.Query{Name: name, Type: key.qtype, DO: key.do, CD: key.cd})
		if err != nil {
			return nil, err
		}
		response.Answer = append(response.Answer, rest.Msg.Answer...)
		response.Ns, response.Rcode = rest.Msg.Ns, rest.Msg.Rcode
	}
	return digest(response, key, ttlBounds{max: maxTTL, maxNegative: maxTTL}, s.now())
}

// staleAtHand reports whether a failure would push out an answer that can still
// be given stale.
func (s *source) staleAtHand(packed string, now time.Time) bool {
	old := s.cache.get([]byte(packed))
	return old != nil && old.err == nil && old.age(now) < old.lifetime+s.stale
}

// serves reports whether the answer tells how to reach a service at the name
// itself (RFC 9460).
func serves(key lookupKey, e *entry) bool {
	service := key.qtype == dnswire.TypeHTTPS || key.qtype == dnswire.TypeSVCB
	return service && key.name[0] != 0 && key.name[1] != '_' && (e.whole.wire[7] > 0 || e.whole.wire[6] > 0)
}

// addSiblings lets an HTTPS or SVCB answer be judged by the addresses of the
// name as well, so that a name whose A query is refused is not reached through
// its HTTPS record. Clients ask for all of these at once, so that this seldom
// costs a query. Addresses that cannot be looked up cannot be reached through
// us either; the answer is then not kept.
func (s *source) addSiblings(ctx context.Context, key lookupKey, e *entry) error {
	var siblings [2]found
	var under sync.WaitGroup
	for i, qtype := range []uint16{dnswire.TypeA, dnswire.TypeAAAA} {
		under.Go(func() {
			sibling := key
			sibling.qtype = qtype
			siblings[i] = s.lookups.lookup(ctx, sibling, s.lookups.flights.do)
		})
	}
	under.Wait()
	now := s.now()
	for _, f := range siblings {
		if f.err != nil {
			e.lifetime = min(e.lifetime, failureTTL) // judged by half of what there is
			continue
		}
		if len(f.entry.facts) == 0 {
			continue
		}
		for _, fact := range f.entry.facts {
			if slices.Contains(e.facts, fact) {
				continue
			}
			if len(e.facts) >= 2*maxFacts {
				return garbled("an answer that leads to too many places")
			}
			e.facts = append(e.facts, fact)
		}
		left := max(f.entry.lifetime-f.entry.age(now), time.Second)
		e.lifetime = min(e.lifetime, left)
	}
	return nil
}
