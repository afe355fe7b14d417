package dnsfilter

import (
	"net/netip"
	"time"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
	"github.com/sallyport/sallyport/policy"
)

// sinkhole makes the answers that stand in for refused ones. What a mode says:
//
//	mode      A, AAAA                     ANY            every other type
//	null      0.0.0.0, ::                 both of these  NODATA
//	nxdomain  NXDOMAIN                    NXDOMAIN       NXDOMAIN
//	nodata    NODATA                      NODATA         NODATA
//	refused   REFUSED                     REFUSED        REFUSED
//	page      the page's addresses of     all of these   NODATA
//	          that family, else NODATA
//
// So no type contradicts another: a name either exists in all of them or in
// none (RFC 8020), and ANY (RFC 8482 §4.1) holds what the others would say.
// NXDOMAIN denies everything below a name too; a rule for one exact name
// (=zoom.us) in that mode hides its subdomains from resolvers behind us that
// use RFC 8020. NXDOMAIN and NODATA carry an SOA; REFUSED does not, and sends
// clients that have another resolver to it, which is why it is nobody's
// default.
type sinkhole struct {
	mode policy.AnswerMode // where the rule does not say
	ttl  time.Duration
	page []netip.Addr
	null [2]netip.Addr // where nothing listens (RFC 1122 §3.2.1.3, RFC 4291 §2.5.2)
}

func newSinkhole(c *Config) sinkhole {
	return sinkhole{
		mode: c.Answer,
		ttl:  c.TTL,
		page: unmapped(c.PageAddrs),
		null: [2]netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()},
	}
}

// start writes the answer to q under verdict v into dst, its OPT record apart,
// and returns it with its response code and with what to say of it there.
func (s *sinkhole) start(dst []byte, q *dnswire.Question, v *policy.Verdict, now time.Time) (msg []byte, rcode int, why [2]dnswire.ExtendedError) {
	ttl := min(seconds(s.ttl), ttlLimit(v.NextEdge, now))
	why[0] = dnswire.Extended(dnswire.EDEBlocked, v.Reason())
	var addrs []netip.Addr
	switch s.modeOf(v) {
	case policy.AnswerRefused:
		return dnswire.StartReply(dst, q, dnswire.RcodeRefused), dnswire.RcodeRefused, why
	case policy.AnswerNXDOMAIN:
		rcode = dnswire.RcodeNXDomain
	case policy.AnswerNODATA:
	case policy.AnswerPage:
		addrs = s.page
		why[1] = dnswire.ExtendedError{Set: true, Code: dnswire.EDEForged}
	default:
		addrs = s.null[:]
	}
	msg = dnswire.StartReply(dst, q, rcode)
	answers := 0
	for _, a := range addrs {
		if wants(q.Type, a) {
			msg = dnswire.AppendAddress(msg, a, ttl)
			answers++
		}
	}
	if answers == 0 {
		msg = dnswire.AppendSOA(msg, ttl)
	}
	return msg, rcode, why
}

func (s *sinkhole) modeOf(v *policy.Verdict) policy.AnswerMode {
	mode := s.mode
	if v.Rule != nil && v.Rule.Answer != policy.AnswerInherit {
		mode = v.Rule.Answer
	}
	if mode == policy.AnswerPage && len(s.page) == 0 {
		return policy.AnswerNull // nowhere to send people to
	}
	return mode
}

func wants(qtype uint16, a netip.Addr) bool {
	switch qtype {
	case dnswire.TypeANY:
		return true
	case dnswire.TypeA:
		return a.Is4()
	case dnswire.TypeAAAA:
		return !a.Is4()
	default:
		return false
	}
}

// ttlLimit is the longest TTL, in seconds, that does not outlive edge: the
// whole seconds until then, none for an edge that is less than one away. A
// zero edge never comes.
func ttlLimit(edge, now time.Time) uint32 {
	if edge.IsZero() {
		return seconds(maxTTL)
	}
	left := min(max(edge.Sub(now), 0), maxTTL)
	return seconds(left)
}
