package localdata

import (
	"net/netip"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
)

// finding is all that is known of one name.
type finding struct {
	place
	hosted  bool   // hosts files have addresses of it
	pointer string // the name that they give to the address it is the reverse of; lower wire
	above   bool   // it exists because of hosts below it
}

// ours reports whether the name is answered here.
func (f *finding) ours() bool {
	return f.zone != nil || f.owned()
}

// owned reports whether there is data of the name, in whatever type.
func (f *finding) owned() bool {
	return f.node != nil && len(f.node.sets) > 0 || f.source != nil || f.hosted || f.pointer != ""
}

// exists reports whether the name, or one below it, has data.
func (f *finding) exists() bool {
	return f.owned() || f.above || f.node != nil && f.node.exists
}

// Answer answers a question in class IN about name, in lower-case wire form;
// false means that an upstream has to be asked. The reply is the caller's to
// change. An alias that leads out of local data ends it, see Continues. It
// sets neither an id nor AA: the door is no authority.
//
// A miss costs one map look-up for each label that local data knows, one more
// and one for each hosts file, and allocates nothing.
func (d *Data) Answer(name string, qtype uint16) (reply *dns.Msg, ours bool) {
	f := d.find(name)
	if !f.ours() || f.parents(qtype) {
		return nil, false
	}
	asked := presentationOf(name)
	reply = &dns.Msg{Question: []dns.Question{{Name: asked, Qtype: qtype, Qclass: dns.ClassINET}}}
	reply.Response, reply.RecursionAvailable = true, true
	for range maxChain + 1 { // every alias, and what the last leads to
		alias := d.write(reply, &f, name, qtype)
		if alias == nil {
			break
		}
		target, err := wireOf(alias.Target)
		if err != nil {
			break // it was packed before: cannot be
		}
		name = target
		if f = d.find(name); !f.ours() {
			break
		}
	}
	return reply, true
}

// Continues reports whether a reply of Answer ends in an alias that leads out
// of local data, and to which name, in lower-case wire form. An upstream has to
// be asked for the rest: clients do not follow aliases themselves.
func Continues(reply *dns.Msg) (name string, open bool) {
	if reply.Rcode != dns.RcodeSuccess || len(reply.Ns) > 0 || len(reply.Answer) == 0 || len(reply.Question) != 1 {
		return "", false
	}
	qtype := reply.Question[0].Qtype
	alias, ok := reply.Answer[len(reply.Answer)-1].(*dns.CNAME)
	if !ok || qtype == dns.TypeCNAME || qtype == dns.TypeANY {
		return "", false
	}
	name, err := wireOf(alias.Target)
	return name, err == nil
}

// find gathers what is known of a name.
func (d *Data) find(name string) finding {
	f := finding{place: d.tree.find(name)}
	if len(d.files) == 0 {
		return f
	}
	base, bits, reverse := readReverse(name)
	for i := range d.files {
		held := d.files[i].held
		if _, ok := held.names[name]; ok {
			f.hosted = true
		}
		if _, ok := held.above[name]; ok {
			f.above = true
		}
		if !reverse {
			continue
		}
		pointer, some := held.pointer(base, bits)
		f.above = f.above || some
		if f.pointer == "" {
			f.pointer = pointer
		}
	}
	if f.hosted || f.pointer != "" {
		f.source = nil // a wildcard speaks only of names that are not there (RFC 4592 §2.2.1)
	}
	return f
}

// parents reports whether a question is about a zone of ours but for whoever is
// above it: DS records are the parent's (RFC 4035 §3.1.4.1; RFC 8375 §4 wants
// it of home.arpa, so that its missing signature can be proven).
func (f *finding) parents(qtype uint16) bool {
	return qtype == dns.TypeDS && f.apex && f.zone.kind == zoneOrdinary && len(f.node.set(dns.TypeDS)) == 0
}

// write adds what one name has to say. It returns the alias by which the answer
// goes on, if it does.
func (d *Data) write(reply *dns.Msg, f *finding, name string, qtype uint16) *dns.CNAME {
	owner := presentationOf(name)
	before := len(reply.Answer)
	if alias, ok := f.alias(); ok && qtype != dns.TypeCNAME && qtype != dns.TypeANY {
		appendRecords(reply, owner, []dns.RR{alias})
		return alias
	}
	n := f.node
	if n == nil {
		n = f.source
	}
	if n != nil {
		for _, set := range n.sets {
			if qtype == dns.TypeANY || qtype == set[0].Header().Rrtype {
				appendRecords(reply, owner, set)
			}
		}
	}
	d.writeHosts(reply, f, name, owner, qtype, before)
	if f.zone != nil && f.zone.kind == zoneLoopback {
		for _, a := range loopbacks() {
			appendAddr(reply, owner, a, qtype, localhostTTL)
		}
	}
	if len(reply.Answer) == before {
		writeNegative(reply, f, owner)
	}
	return nil
}

// hostsTTL is for answers from hosts files: not much longer than it takes to
// see that one has changed.
const hostsTTL = 60

// writeHosts adds what hosts files say, where records say nothing of that type.
func (d *Data) writeHosts(reply *dns.Msg, f *finding, name, owner string, qtype uint16, before int) {
	if qtype != dns.TypeANY && len(reply.Answer) > before {
		return
	}
	if f.hosted {
		var buf [8]netip.Addr
		addrs := buf[:0]
		for i := range d.files {
			addrs = d.files[i].held.addrs(addrs, name)
		}
		for i, a := range addrs {
			if !containsAddr(addrs[:i], a) {
				appendAddr(reply, owner, a, qtype, hostsTTL)
			}
		}
	}
	if f.pointer != "" && (qtype == dns.TypePTR || qtype == dns.TypeANY) {
		reply.Answer = append(reply.Answer, &dns.PTR{
			Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: hostsTTL},
			Ptr: presentationOf(f.pointer),
		})
	}
}

func containsAddr(addrs []netip.Addr, a netip.Addr) bool {
	for _, other := range addrs {
		if other == a {
			return true
		}
	}
	return false
}

// appendRecords adds copies of records, owned by the asked name where a
// wildcard made them.
func appendRecords(reply *dns.Msg, owner string, set []dns.RR) {
	for _, rr := range set {
		again := dns.Copy(rr)
		again.Header().Name = owner
		reply.Answer = append(reply.Answer, again)
	}
}

// appendAddr adds an address if it is of the asked type.
func appendAddr(reply *dns.Msg, owner string, a netip.Addr, qtype uint16, ttl uint32) {
	h := dns.RR_Header{Name: owner, Class: dns.ClassINET, Ttl: ttl}
	if a.Is4() && (qtype == dnswire.TypeA || qtype == dns.TypeANY) {
		h.Rrtype = dns.TypeA
		reply.Answer = append(reply.Answer, &dns.A{Hdr: h, A: a.AsSlice()})
	}
	if a.Is6() && (qtype == dnswire.TypeAAAA || qtype == dns.TypeANY) {
		h.Rrtype = dns.TypeAAAA
		reply.Answer = append(reply.Answer, &dns.AAAA{Hdr: h, AAAA: a.AsSlice()})
	}
}

// writeNegative says that there is nothing, and for how long.
func writeNegative(reply *dns.Msg, f *finding, owner string) {
	if f.zone == nil {
		reply.Ns = append(reply.Ns, madeSOA(owner, negativeTTL))
		return
	}
	reply.Ns = append(reply.Ns, dns.Copy(f.zone.soa))
	switch f.zone.kind {
	case zoneOrdinary, zoneNowhere:
		if !f.exists() {
			reply.Rcode = dns.RcodeNameError
		}
	}
}
