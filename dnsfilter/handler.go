package dnsfilter

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/dnsfilter/cookie"
	"github.com/sallyport/sallyport/dnsfilter/ingress"
	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/ratelimit"
)

// handler is what all desks share. It is the door's [ingress.Door]. Safe for
// concurrent use.
type handler struct {
	settings settings
	decider  policy.Decider
	prepare  func([]policy.Host) *policy.Facts // nil: facts are judged each time
	identify func(netip.Addr, *ingress.Peer) policy.Subject
	record   func(*policy.Decision)
	sinkhole sinkhole
	lookups  *lookups
	cookies  *cookie.Jar
	limiter  *ratelimit.Limiter  // of clients
	others   *ratelimit.Limiter  // of those who may not ask at all
	inflight *ratelimit.Inflight // lookups by client, over UDP,
	streamed *ratelimit.Inflight // and over connections, so that made-up addresses cannot fill these
	metrics  *metrics
	log      *zap.Logger
	now      func() time.Time // nil: time.Now
	desks    sync.Pool        // of *desk, for queries that have to wait
}

// settings is what of the Config a query meets.
type settings struct {
	clients    []netip.Prefix // who may ask
	subnetFrom []netip.Prefix // whose client subnet is believed
	strip      StripMode
	require    bool          // cookies, of UDP clients
	idle       time.Duration // of connections, told to clients that want to know
}

// Desk makes a desk for one reader.
func (h *handler) Desk() ingress.Desk { return h.newDesk() }

// Respond answers a query that a desk has declined.
func (h *handler) Respond(ctx context.Context, q *ingress.Query, dst []byte) (reply []byte) {
	d := h.desks.Get().(*desk)
	defer h.desks.Put(d)
	d.Begin()
	if !q.Arrived.IsZero() {
		d.began = q.Arrived // it has waited for its turn
	}
	defer d.End()
	reply, _ = d.serve(ctx, q, dst)
	return reply
}

// plainAddr is the one form of an address: unmapped and without zone.
func plainAddr(a netip.Addr) netip.Addr {
	if a.Is4() {
		return a // the usual case is not worth two calls
	}
	return a.Unmap().WithZone("")
}

// known reports whether a client, its address plain, may ask.
func (h *handler) known(client netip.Addr) bool { return within(client, h.settings.clients) }

func within(a netip.Addr, prefixes []netip.Prefix) bool {
	for _, prefix := range prefixes {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
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
