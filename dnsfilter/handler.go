package dnsfilter

import (
	"context"
	"fmt"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/policy"
)

// handler is the straight line from a packet to its reply. Safe for concurrent
// use.
type handler struct {
	clients  []netip.Prefix
	decider  policy.Decider
	identify func(netip.Addr) policy.Subject
	record   func(*policy.Decision)
	sinkhole sinkhole
	lookups  *lookups
	metrics  *metrics
	log      *zap.Logger
	now      func() time.Time
}

// respond answers one packet. It is the door's responder.
func (h *handler) respond(ctx context.Context, p packet, dst []byte) (reply []byte) {
	q, rcode := readQuestion(p.wire)
	if rcode == rcodeDrop {
		h.metrics.countShed(shedMalformed)
		return nil
	}
	defer func() {
		if value := recover(); value != nil {
			h.panicked(value, debug.Stack())
			reply, rcode = errorReply(nil, &q, p.transport, rcodeServFail, extendedError{}), rcodeServFail
		}
		h.metrics.countReply(p.transport, rcode)
	}()
	if rcode != rcodeNoError {
		return errorReply(dst, &q, p.transport, rcode, extendedError{})
	}
	client := plainAddr(p.client.Addr())
	if !h.known(client) {
		rcode = rcodeRefused
		return errorReply(dst, &q, p.transport, rcode, extended(edeProhibited, "this resolver does not serve your network"))
	}
	reply, rcode = h.answer(ctx, &q, client, p.transport, dst)
	return reply
}

// plainAddr is the one form of an address: unmapped and without zone.
func plainAddr(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// known reports whether a client, its address plain, may ask.
func (h *handler) known(client netip.Addr) bool {
	for _, prefix := range h.clients {
		if prefix.Contains(client) {
			return true
		}
	}
	return false
}

// answer decides on a well-formed question, answers it and records what was
// decided.
func (h *handler) answer(ctx context.Context, q *question, client netip.Addr, t transport, dst []byte) (reply []byte, rcode int) {
	start := h.now()
	asked := policy.HostFromCanonicalName(canonicalName(q.wire))
	request := policy.Request{
		Subject: h.identify(client),
		Door:    policy.DoorDNS,
		At:      start,
		Host:    asked,
	}
	verdict, e, outcome, err := h.decide(ctx, q, &request)

	now := h.now()
	switch {
	case verdict.Action.Refuses():
		reply, rcode = h.sinkhole.reply(dst, q, t, &verdict, now)
	case err != nil:
		rcode = rcodeServFail
		reply = errorReply(dst, q, t, rcode, extendedErrorOf(err))
	default:
		rcode = e.rcode
		reply = e.reply(dst, q, t, now, ttlLimit(verdict.NextEdge, now))
	}
	took := now.Sub(start)
	h.metrics.observeQuery(outcome, took)
	h.record(&policy.Decision{
		Time:      start,
		Door:      policy.DoorDNS,
		Transport: t.String(),
		Client:    client,
		Subject:   request.Subject,
		Host:      asked,
		QType:     typeName(q.qtype),
		Facts:     request.Derived,
		Verdict:   verdict,
		Duration:  took,
	})
	return reply, rcode
}

// decide asks the policy about the name, looks it up where that is allowed, and
// asks again with everything that the answer leads to: the second look. The
// entry is nil where the name alone is refused, and where err is set.
func (h *handler) decide(ctx context.Context, q *question, r *policy.Request) (policy.Verdict, *entry, outcome, error) {
	first := h.decider.Decide(r)
	if first.Action.Refuses() {
		return first, nil, outcomeBlocked, nil
	}
	e, hit, err := h.lookups.lookup(ctx, lookupKey{
		name: q.wire, qtype: q.qtype, do: q.edns.do, cd: q.flags&flagCD != 0,
	})
	if err != nil {
		return first, nil, outcomeError, err
	}
	outcome := outcomeMiss
	if hit {
		outcome = outcomeHit
	}
	if !hit { // time has passed: an edge or a new policy may have, too
		r.At = h.now()
		if first = h.decider.Decide(r); first.Action.Refuses() {
			return first, nil, outcomeBlocked, nil
		}
	}
	if len(e.facts) == 0 {
		return first, e, outcome, nil
	}
	r.Derived = e.facts
	second := h.decider.Decide(r)
	if second.Action.Refuses() {
		return second, nil, outcomeBlocked, nil
	}
	// Both looks had to pass, so the answer holds no longer than either.
	second.NextEdge = earlier(first.NextEdge, second.NextEdge)
	return second, e, outcome, nil
}

// earlier returns the earlier of two edges, where the zero time never comes.
func earlier(a, b time.Time) time.Time {
	if b.IsZero() || !a.IsZero() && a.Before(b) {
		return a
	}
	return b
}

func (h *handler) panicked(value any, stack []byte) {
	h.metrics.panics.Inc()
	h.log.Error("a query ended in a panic; please report it", zap.String("panic", fmt.Sprint(value)), zap.ByteString("stack", stack))
}

// typeName is a type in presentation form (RFC 3597 §5 for unknown ones).
func typeName(qtype uint16) string {
	if name, known := dns.TypeToString[qtype]; known {
		return name
	}
	return fmt.Sprintf("TYPE%d", qtype)
}
