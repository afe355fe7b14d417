package dnsfilter

import (
	"encoding/binary"
	"math"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
	"github.com/sallyport/sallyport/dnsfilter/upstream"
)

const (
	maxChain   = 16   // CNAMEs between the question and its answer
	maxRecords = 1024 // in the answer section, and in the authority section
	maxFacts   = 256  // that one answer leads to; each costs a judgement
)

// digest turns an upstream's response to key into an entry. Only records that
// answer the question are kept: the chain of aliases from the asked name and
// the data at its end; the SOA of a negative answer; DNSSEC records for a
// client that asked for them. Whatever else the upstream volunteers is
// dropped, so that it can neither poison anybody nor pass by unjudged.
func digest(response *dns.Msg, key lookupKey, ttls ttlBounds, now time.Time) (*entry, error) {
	if len(response.Question) != 1 {
		return nil, garbled("an answer without its question")
	}
	if len(response.Answer) > maxRecords || len(response.Ns) > maxRecords {
		return nil, garbled("an answer with too many records")
	}
	answers, last, err := followChain(response.Answer, response.Question[0].Name, key)
	if err != nil {
		return nil, err
	}
	negative := response.Rcode == dnswire.RcodeNXDomain || !answered(answers, key.qtype)
	authority, soa := keepAuthority(response.Ns, last, negative, key.do)
	e := &entry{rcode: response.Rcode, ad: response.AuthenticatedData, stored: now}
	e.lifetime = ttls.apply(negative, answers, authority)
	if negative && !soa {
		e.lifetime = 0 // RFC 2308 §5: without an SOA nobody knows how long
	}
	if e.facts, e.addrs = factsOf(answers); len(e.facts) > maxFacts {
		return nil, garbled("an answer that leads to too many places")
	}
	kept := dns.Msg{Question: response.Question, Answer: answers, Ns: authority, Compress: true}
	kept.Response, kept.Rcode = true, response.Rcode
	return e, e.write(&kept)
}

func garbled(text string) error { return &upstream.Error{Kind: upstream.Garbled, Text: text} }

// write makes every form of the answer.
func (e *entry) write(kept *dns.Msg) (err error) {
	if e.whole, err = packForm(kept); err != nil {
		return err
	}
	answers := kept.Answer
	var stripped [formCount]form
	for which := formNoECH; which < formCount; which++ {
		var changed bool
		kept.Answer, changed = stripService(answers, which&formNoECH != 0, which&formNoH3 != 0)
		if !changed {
			stripped[which] = e.whole
			continue
		}
		if stripped[which], err = packForm(kept); err != nil {
			return err
		}
		stripped[which].stripped = true
		e.stripped = &stripped
	}
	return nil
}

func packForm(m *dns.Msg) (f form, err error) {
	if f.wire, err = m.Pack(); err != nil {
		return f, garbled("an answer that cannot be written again")
	}
	f.ttls, err = findTTLs(f.wire)
	return f, err
}

// followChain returns the records that answer key, in the order in which the
// chain of aliases leads to them, and the name at its end.
func followChain(section []dns.RR, name string, key lookupKey) (kept []dns.RR, last string, err error) {
	for range maxChain {
		data, alias := recordsAt(section, name, key)
		if alias == nil {
			return append(kept, data...), name, nil
		}
		kept = append(kept, dnameOf(section, name, alias, key.do)...)
		kept = append(kept, alias)
		kept = append(kept, signatures(section, name, dns.TypeCNAME, key.do)...)
		name = alias.Target
	}
	return nil, "", garbled("a chain of aliases without end")
}

// recordsAt returns the records of the asked type that name owns, or else the
// alias by which the chain goes on.
func recordsAt(section []dns.RR, name string, key lookupKey) (data []dns.RR, alias *dns.CNAME) {
	for _, r := range section {
		h := r.Header()
		if h.Class != dns.ClassINET || !strings.EqualFold(h.Name, name) || hollow(r) {
			continue
		}
		if h.Rrtype == key.qtype || key.qtype == dnswire.TypeANY && dnswire.LookupType(h.Rrtype) {
			data = append(data, r)
			continue
		}
		if cname, ok := r.(*dns.CNAME); ok && alias == nil {
			alias = cname
		}
	}
	if len(data) == 0 {
		return nil, alias
	}
	if key.qtype != dnswire.TypeANY && key.qtype != dns.TypeRRSIG {
		data = append(data, signatures(section, name, key.qtype, key.do)...)
	}
	return data, nil
}

// hollow reports whether a record should lead somewhere and has no data, which
// only an update may have (RFC 2136 §2.4): it is malformed, and gives nothing to
// judge.
func hollow(r dns.RR) bool {
	switch record := r.(type) {
	case *dns.A:
		return len(record.A) == 0
	case *dns.AAAA:
		return len(record.AAAA) == 0
	case *dns.CNAME:
		return record.Target == ""
	case *dns.DNAME:
		return record.Target == ""
	case *dns.SVCB:
		return record.Target == ""
	case *dns.HTTPS:
		return record.Target == ""
	default:
		return false
	}
}

// dnameOf returns the DNAME from which alias was made (RFC 6672 §3.1), with
// its signatures.
func dnameOf(section []dns.RR, name string, alias *dns.CNAME, do bool) []dns.RR {
	for _, r := range section {
		d, ok := r.(*dns.DNAME)
		if !ok || d.Hdr.Class != dns.ClassINET || hollow(d) || !dns.IsSubDomain(d.Hdr.Name, name) || len(name) <= len(d.Hdr.Name) {
			continue
		}
		prefix := name[:len(name)-len(d.Hdr.Name)]
		if d.Hdr.Name == "." || !strings.EqualFold(prefix+d.Target, alias.Target) {
			continue
		}
		return append([]dns.RR{d}, signatures(section, d.Hdr.Name, dns.TypeDNAME, do)...)
	}
	return nil
}

func signatures(section []dns.RR, name string, covered uint16, do bool) []dns.RR {
	if !do {
		return nil
	}
	var kept []dns.RR
	for _, r := range section {
		s, ok := r.(*dns.RRSIG)
		if ok && s.TypeCovered == covered && s.Hdr.Class == dns.ClassINET && strings.EqualFold(s.Hdr.Name, name) {
			kept = append(kept, r)
		}
	}
	return kept
}

func answered(answers []dns.RR, qtype uint16) bool {
	for _, r := range answers {
		if r.Header().Rrtype == qtype || qtype == dnswire.TypeANY {
			return true
		}
	}
	return false
}

// keepAuthority keeps the SOA of a negative answer, at or above the name that
// is not there, with the TTL that RFC 2308 §5 gives it; and, for a client that
// validates, the records that prove what is missing.
func keepAuthority(section []dns.RR, last string, negative, do bool) (kept []dns.RR, soa bool) {
	for _, r := range section {
		h := r.Header()
		if h.Class != dns.ClassINET {
			continue
		}
		switch record := r.(type) {
		case *dns.SOA:
			if !negative || soa || !dns.IsSubDomain(h.Name, last) {
				continue
			}
			soa = true
			h.Ttl = min(sane(h.Ttl), sane(record.Minttl))
			kept = append(kept, r)
		case *dns.NSEC, *dns.NSEC3:
			if do {
				kept = append(kept, r)
			}
		case *dns.RRSIG:
			proof := record.TypeCovered == dns.TypeNSEC || record.TypeCovered == dns.TypeNSEC3
			if do && (proof || negative && record.TypeCovered == dns.TypeSOA) {
				kept = append(kept, r)
			}
		}
	}
	return kept, soa
}

// ttlBounds are the bounds on how long answers are kept and given.
type ttlBounds struct {
	min, max, maxNegative time.Duration
}

// apply brings every TTL within bounds and returns the shortest.
func (b ttlBounds) apply(negative bool, sections ...[]dns.RR) time.Duration {
	low, high := seconds(b.min), seconds(b.max)
	if negative {
		high = min(high, seconds(b.maxNegative))
		low = min(low, high)
	}
	shortest := high
	for _, section := range sections {
		for _, r := range section {
			h := r.Header()
			h.Ttl = min(max(sane(h.Ttl), low), high)
			shortest = min(shortest, h.Ttl)
		}
	}
	return time.Duration(shortest) * time.Second
}

func seconds(d time.Duration) uint32 { return uint32(d / time.Second) }

// sane reads a TTL: one with the top bit set counts as 0 (RFC 2181 §8), and
// none lasts longer than maxTTL.
func sane(ttl uint32) uint32 {
	if ttl > math.MaxInt32 {
		return 0
	}
	return min(ttl, seconds(maxTTL))
}

// findTTLs returns the offsets of the TTL fields of all records in a message
// with one question.
func findTTLs(wire []byte) ([]uint16, error) {
	again := garbled("an answer that cannot be read again")
	off, ok := dnswire.SkipName(wire, dnswire.HeaderBytes)
	if !ok {
		return nil, again
	}
	off += 4
	count := int(binary.BigEndian.Uint16(wire[6:])) + int(binary.BigEndian.Uint16(wire[8:]))
	ttls := make([]uint16, 0, count)
	for range count {
		off, ok = dnswire.SkipName(wire, off)
		if !ok || off+10 > len(wire) {
			return nil, again
		}
		ttls = append(ttls, uint16(off+4))
		off += 10 + int(binary.BigEndian.Uint16(wire[off+8:]))
	}
	return ttls, nil
}
