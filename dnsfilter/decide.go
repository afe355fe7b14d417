package dnsfilter

import (
	"context"
	"time"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
	"github.com/sallyport/sallyport/policy"
)

// minimalTTL is how long clients may keep the answer to ANY (RFC 8482 §4.2
// wants it to be large enough to be cached), in seconds.
const minimalTTL = 300

// decide asks the policy about the name, looks it up where that is allowed, and
// asks again with everything that the answer leads to: the second look. What
// was found is set where the verdict allows. Without a ctx it does not wait,
// and the outcome then is outcomeWait.
func (d *desk) decide(ctx context.Context) (policy.Verdict, found, outcome) {
	h := d.handler
	first := h.decider.Decide(&d.request)
	if first.Action.Refuses() {
		return first, found{}, outcomeBlocked
	}
	if d.question.Type == dnswire.TypeANY {
		return first, found{}, outcomeMinimal // RFC 8482
	}
	f := d.find(ctx)
	switch {
	case f.entry == nil && f.err == nil:
		return first, f, outcomeWait
	case f.err != nil:
		return first, f, outcomeOf(f.err)
	}
	outcome := outcomeMiss
	if f.hit {
		outcome = outcomeHit
	}
	if ctx != nil { // time has passed: an edge or a new policy may have, too
		d.read()
		d.request.At = d.now
		if first = h.decider.Decide(&d.request); first.Action.Refuses() {
			return first, f, outcomeBlocked
		}
	}
	d.request.Derived = f.entry.facts
	if len(f.entry.facts) == 0 {
		return first, f, outcome
	}
	facts := d.ready(f.entry, &first)
	if f.entry.stripped != nil {
		d.judge(facts, &first)
	}
	if facts != nil && facts.Moot(&d.request.Subject, &first) {
		return first, f, outcome
	}
	second := h.decider.Decide(&d.request)
	if second.Action.Refuses() {
		return second, f, outcomeBlocked
	}
	// Both looks had to pass, so the answer holds no longer than either.
	second.NextEdge = earlier(first.NextEdge, second.NextEdge)
	second.Judged, second.StripH3 = first.Judged, first.StripH3
	return second, f, outcome
}

// find looks the question up: in the cache only, where there is no ctx.
func (d *desk) find(ctx context.Context) found {
	q, l := &d.question, d.handler.lookups
	cd := q.Flags&dnswire.FlagCD != 0
	if ctx != nil {
		f := l.lookup(ctx, lookupKey{name: string(q.Name()), qtype: q.Type, do: q.EDNS.DO, cd: cd}, l.flights.do)
		if f.hit {
			l.metrics.cacheHits.Inc()
		} else {
			l.metrics.cacheMisses.Inc()
		}
		return f
	}
	e, stale := l.cached(appendKey(d.key[:0], q.Name(), q.Type, q.EDNS.DO, cd), d.now)
	if e == nil {
		return found{}
	}
	d.tally.hits++
	return found{entry: e, hit: true, stale: stale, err: e.err}
}

// read takes the time again.
func (d *desk) read() {
	d.now = time.Now()
	if d.handler.now != nil {
		d.now = d.handler.now()
	}
}

// ready returns the answer's facts made ready for the policy that gave a
// verdict; nil where it has just changed. The first query under a policy makes
// them ready for all that follow.
func (d *desk) ready(e *entry, v *policy.Verdict) *policy.Facts {
	facts := e.prepared.Load()
	if facts.Ready(v) {
		return facts
	}
	if d.handler.prepare == nil {
		return nil
	}
	if facts = d.handler.prepare(e.facts); !facts.Ready(v) {
		return nil
	}
	e.prepared.Store(facts)
	return facts
}

// judge adds to a verdict on the name what rules say of the answer's facts. Where
// nobody can say, because the policy has just changed, it is as if a rule asked
// for all: what is hidden from the proxy door now stays hidden from it until the
// TTL ends.
func (d *desk) judge(facts *policy.Facts, v *policy.Verdict) {
	switch {
	case v.StripH3: // and judged
	case facts != nil:
		judged, stripH3 := facts.Judged(&d.request.Subject, v)
		v.Judged, v.StripH3 = v.Judged || judged, stripH3
	case d.handler.prepare != nil:
		v.Judged, v.StripH3 = true, true
	}
}

// earlier returns the earlier of two edges, where the zero time never comes.
func earlier(a, b time.Time) time.Time {
	if b.IsZero() || !a.IsZero() && a.Before(b) {
		return a
	}
	return b
}
