package dnsfilter

import (
	"net/netip"
	"time"

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
}

// nullAddrs is where nothing listens (RFC 1122 §3.2.1.3, RFC 4291 §2.5.2).
func nullAddrs() []netip.Addr {
	return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
}

// reply writes the answer to q under verdict v and returns it with its
// response code.
func (s *sinkhole) reply(dst []byte, q *question, t transport, v *policy.Verdict, now time.Time) (msg []byte, rcode int) {
	ttl := min(uint32(s.ttl/time.Second), ttlLimit(v.NextEdge, now))
	why := extended(edeBlocked, v.Reason())
	var addrs []netip.Addr
	switch s.modeOf(v) {
	case policy.AnswerRefused:
		return errorReply(dst, q, t, rcodeRefused, why), rcodeRefused
	case policy.AnswerNXDOMAIN:
		rcode = rcodeNXDomain
	case policy.AnswerNODATA:
	case policy.AnswerPage:
		addrs = s.page
	default:
		addrs = nullAddrs()
	}
	msg = startReply(dst, q, rcode)
	for _, a := range addrs {
		if wants(q.qtype, a) {
			msg = appendAddress(msg, a, ttl)
		}
	}
	if msg[7] == 0 {
		msg = appendSOA(msg, ttl)
	}
	return finishReply(msg, q, t, rcode, why), rcode
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
	case typeANY:
		return true
	case typeA:
		return a.Is4()
	case typeAAAA:
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
		return uint32(maxTTL / time.Second)
	}
	left := min(max(edge.Sub(now), 0), maxTTL)
	return uint32(left / time.Second)
}
