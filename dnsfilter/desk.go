package dnsfilter

import (
	"context"
	"math"
	"net/netip"
	"runtime/debug"
	"time"
	"unsafe"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
	"github.com/sallyport/sallyport/dnsfilter/ingress"
	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/ratelimit"
)

// desk is the straight line from a packet to its reply, with everything that
// one query at a time needs in one place that is used again: that is why a
// refusal or a cached answer costs no allocation. One goroutine uses it.
type desk struct {
	handler *handler
	began   time.Time // real time, for durations
	now     time.Time // what decisions take for the time
	tally   tally

	// Of the query under way.
	question dnswire.Question
	client   netip.Addr // who asks
	subject  netip.Addr // whom the policy is asked about: the client, or whom a trusted forwarder asks for
	nobody   bool       // it asks for one of many, and does not say for whom
	limit    int        // bytes of the reply
	request  policy.Request
	decision policy.Decision
	options  dnswire.ReplyOptions
	name     [4 * dnswire.MaxNameBytes]byte // canonical; each byte may become \DDD
	key      [dnswire.MaxNameBytes + 3]byte
}

func (h *handler) newDesk() *desk { return &desk{handler: h} }

// Begin takes the time for the queries to come.
func (d *desk) Begin() {
	d.began = time.Now()
	d.now = d.began
	if d.handler.now != nil {
		d.now = d.handler.now()
	}
}

// End counts what was answered since Begin.
func (d *desk) End() { d.handler.metrics.add(&d.tally, time.Since(d.began)) }

// Try answers what needs no waiting.
func (d *desk) Try(q *ingress.Query, dst []byte) (reply []byte, done bool) {
	defer d.rescue(q, dst, &reply, &done)
	d.options = dnswire.ReplyOptions{}
	rcode := d.question.Read(q.Wire)
	if rcode == dnswire.RcodeDrop {
		d.handler.metrics.shed(ingress.ShedMalformed, 1)
		return nil, true
	}
	d.introduce(q)
	if reply, done = d.admit(q, dst, rcode); done {
		return reply, true
	}
	var never context.Context // to wait for
	return d.answer(never, q, dst)
}

// serve is the second half of Try for a query that it has declined: this time
// the answer may be waited for.
func (d *desk) serve(ctx context.Context, q *ingress.Query, dst []byte) (reply []byte, done bool) {
	defer d.rescue(q, dst, &reply, &done)
	d.options = dnswire.ReplyOptions{}
	if d.question.Read(q.Wire) != dnswire.RcodeNoError {
		return nil, true // Try has answered it
	}
	d.introduce(q)
	inflight := d.handler.inflight
	if q.Transport.Stream() {
		inflight = d.handler.streamed
	}
	if refusal := inflight.Begin(d.client); refusal != ratelimit.None {
		reason, text := shedLookups, "too many queries are under way"
		if refusal == ratelimit.OwnShare {
			reason, text = shedClientLookups, "too many of your queries are under way"
		}
		d.handler.metrics.shed(reason, 1)
		if !q.Transport.Stream() {
			return nil, true // it asks again, and by then there may be a place
		}
		return d.complain(q, dst, dnswire.RcodeServFail, dnswire.Extended(dnswire.EDEOther, text)), true
	}
	defer inflight.End(d.client)
	return d.answer(ctx, q, dst)
}

// introduce works out who asks and how large the reply may be, and begins its
// OPT record.
func (d *desk) introduce(q *ingress.Query) {
	e, o := &d.question.EDNS, &d.options
	d.client = plainAddr(q.Client.Addr())
	d.subject, d.nobody = d.client, false
	d.limit = math.MaxUint16
	if !q.Transport.Stream() {
		d.limit = dnswire.UDPLimit(e)
	}
	if !e.Present {
		return
	}
	o.Pad = e.Padding && q.Transport.Encrypted()
	if e.Keepalive && (q.Transport == ingress.TCP || q.Transport == ingress.TLS) {
		o.Keepalive = d.handler.settings.idle
	}
	if e.HasCookie {
		o.HasCookie, o.Cookie = true, d.handler.cookies.Make(e.Cookie, d.client, d.now)
	}
	if e.HasSubnet && within(d.client, d.handler.settings.subnetFrom) {
		if d.nobody = !e.Subnet.IsSingleIP(); d.nobody {
			return // admit says so
		}
		d.subject = plainAddr(e.Subnet.Addr())
		o.Subnet = e.Subnet
	}
}

// admit answers what is no question for this door, and who may not ask it, or
// not so often.
func (d *desk) admit(q *ingress.Query, dst []byte, rcode int) (reply []byte, done bool) {
	h, e := d.handler, &d.question.EDNS
	known := h.known(d.client) || q.Peer != nil
	proven := q.Transport.Stream() || e.HasCookie && h.cookies.Check(e.Cookie, e.Server, d.client, d.now).Valid
	if reply, done = d.hold(q, dst, known, proven); done {
		return reply, true
	}
	switch {
	case rcode == dnswire.RcodeCookieQuery && known:
		return d.complain(q, dst, dnswire.RcodeNoError, dnswire.ExtendedError{}), true
	case rcode != dnswire.RcodeNoError:
		return d.complain(q, dst, max(rcode, dnswire.RcodeFormErr), dnswire.ExtendedError{}), true
	case h.settings.require && !proven && known && e.HasCookie:
		return d.complain(q, dst, dnswire.RcodeBadCookie, dnswire.ExtendedError{}), true // RFC 7873 §5.2.3
	case h.settings.require && !proven:
		return d.truncated(q, dst), true // over TCP nobody can lie about who asks
	case !known:
		return d.complain(q, dst, dnswire.RcodeRefused, d.notServed(proven)), true
	case d.nobody:
		return d.complain(q, dst, dnswire.RcodeRefused, notNamed()), true
	case d.question.Class != dnswire.ClassIN: // version.bind and its like
		return d.complain(q, dst, dnswire.RcodeRefused, dnswire.ExtendedError{}), true
	default:
		return nil, false
	}
}

// notServed is what a client is told that may not ask. One that has not proven
// its address may be somebody else, who is to get as little as can be.
func (d *desk) notServed(proven bool) dnswire.ExtendedError {
	if proven {
		return dnswire.Extended(dnswire.EDEProhibited, "this resolver does not serve your network")
	}
	d.options = dnswire.ReplyOptions{}
	return dnswire.ExtendedError{Set: true, Code: dnswire.EDEProhibited}
}

// notNamed is what a forwarder is told whose client subnet is no whole address,
// the empty one of a client that wants none sent included (RFC 7871 §7.1.2). Of
// the many that it could be, the policy may refuse one and not the other; and
// who could be taken for the forwarder by asking for less to be said would do so.
func notNamed() dnswire.ExtendedError {
	return dnswire.Extended(dnswire.EDEProhibited, "the client subnet must be a whole address")
}

// hold keeps a client to its rate. One over UDP that has proven nothing may be
// another's address: now and then it gets an empty answer that sends a real
// client to TCP, and otherwise nothing.
func (d *desk) hold(q *ingress.Query, dst []byte, known, proven bool) (reply []byte, done bool) {
	h := d.handler
	limiter := h.limiter
	if !known {
		limiter = h.others
	}
	decision := limiter.Allow(d.client, d.now.UnixNano())
	if decision == ratelimit.Allow {
		return nil, false
	}
	h.metrics.shed(shedRate, 1)
	switch {
	case proven:
		return d.complain(q, dst, dnswire.RcodeRefused, dnswire.Extended(dnswire.EDEProhibited, "too many queries from your address")), true
	case decision == ratelimit.Slip && d.question.Section != nil:
		return d.truncated(q, dst), true
	default:
		return nil, true
	}
}

// complain replies without records.
func (d *desk) complain(q *ingress.Query, dst []byte, rcode int, why dnswire.ExtendedError) []byte {
	d.options.Error[0] = why
	d.tally.reply(q.Transport, rcode)
	return dnswire.ErrorReply(dst, &d.question, d.limit, rcode, &d.options)
}

// truncated replies that the answer is to be had over TCP, in no more bytes than
// were asked with.
func (d *desk) truncated(q *ingress.Query, dst []byte) []byte {
	d.options = dnswire.ReplyOptions{}
	d.tally.reply(q.Transport, dnswire.RcodeNoError)
	msg := dnswire.Truncate(dnswire.StartReply(dst, &d.question, dnswire.RcodeNoError), &d.question)
	return dnswire.FinishReply(msg, &d.question, d.limit, dnswire.RcodeNoError, &d.options)
}

// rescue turns a panic into SERVFAIL for the one query that caused it.
func (d *desk) rescue(q *ingress.Query, dst []byte, reply *[]byte, done *bool) {
	if value := recover(); value != nil {
		d.handler.panicked(value, debug.Stack())
		*reply, *done = d.failed(q, dst), true
	}
}

// failed is the reply to a query that ended in a panic.
func (d *desk) failed(q *ingress.Query, dst []byte) []byte {
	d.options = dnswire.ReplyOptions{}
	return d.complain(q, dst, dnswire.RcodeServFail, dnswire.ExtendedError{})
}

// answer decides on a well-formed question, answers it and records what was
// decided. Without a ctx it answers what needs no waiting, and is not done
// with the rest: nothing of that is recorded.
func (d *desk) answer(ctx context.Context, q *ingress.Query, dst []byte) (reply []byte, done bool) {
	h := d.handler
	text := dnswire.AppendCanonical(d.name[:0], d.question.Name())
	// The string shares the desk's bytes, which the next query overwrites: it
	// must not be kept, and nobody on this line does. See Dependencies.Record.
	host := policy.HostFromCanonicalName(unsafe.String(unsafe.SliceData(text), len(text)))
	d.request = policy.Request{
		Subject: d.identify(q.Peer),
		Door:    policy.DoorDNS,
		At:      d.now,
		Host:    host,
	}
	verdict, f, outcome := d.decide(ctx)
	if outcome == outcomeWait {
		return nil, false
	}
	var rcode int
	switch {
	case verdict.Action.Refuses():
		reply, rcode, d.options.Error = h.sinkhole.start(dst, &d.question, &verdict, d.now)
	case outcome == outcomeMinimal:
		reply, outcome = dnswire.AppendHINFO(dnswire.StartReply(dst, &d.question, rcode), min(minimalTTL, ttlLimit(verdict.NextEdge, d.now))), outcomeHit
	case f.err != nil:
		rcode = dnswire.RcodeServFail
		reply = dnswire.StartReply(dst, &d.question, rcode)
		d.options.Error[0] = extendedErrorOf(f.err)
	default:
		rcode = f.entry.rcode
		reply = d.relay(dst, &f, &verdict)
	}
	reply = dnswire.FinishReply(reply, &d.question, d.limit, rcode, &d.options)
	d.tally.reply(q.Transport, rcode)
	d.tally.outcomes[outcome]++
	d.remember(q, &verdict)
	return reply, true
}

// sourceSubnet is the source of an identity that a trusted forwarder has given
// by EDNS client subnet.
const sourceSubnet = "client_subnet"

// identify says whom the policy is asked about. What a forwarder has proven of
// itself is not true of those that it asks for.
func (d *desk) identify(peer *Peer) policy.Subject {
	if d.subject == d.client {
		return d.handler.identify(d.client, peer)
	}
	subject := d.handler.identify(d.subject, nil)
	subject.Source = sourceSubnet
	return subject
}

// relay writes an upstream's answer as the reply, in the form that the policy
// lets this client have.
func (d *desk) relay(dst []byte, f *found, v *policy.Verdict) []byte {
	limit := ttlLimit(v.NextEdge, d.now)
	age := seconds(min(f.entry.age(d.now), maxTTL))
	if f.stale {
		d.tally.stale++
		limit = min(limit, staleTTL)
		age = 0
		code := dnswire.EDEStale
		if f.entry.rcode == dnswire.RcodeNXDomain {
			code = dnswire.EDEStaleNXDomain
		}
		d.options.Error[0] = dnswire.ExtendedError{Set: true, Code: code}
	}
	return f.entry.start(dst, &d.question, d.handler.settings.strip.form(v), age, limit)
}

// remember records the decision.
func (d *desk) remember(q *ingress.Query, v *policy.Verdict) {
	d.decision = policy.Decision{
		Time:      d.now,
		Door:      policy.DoorDNS,
		Transport: q.Transport.String(),
		Client:    d.subject,
		Subject:   d.request.Subject,
		Host:      d.request.Host,
		QType:     typeName(d.question.Type),
		Facts:     d.request.Derived,
		Verdict:   *v,
		Duration:  time.Since(d.began),
	}
	d.handler.record(&d.decision)
}
