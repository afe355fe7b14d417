package localdata

import (
	"fmt"
	"net/netip"

	"github.com/miekg/dns"
)

// The names that are answered here whatever else is configured, in lower-case
// wire form.
const (
	localhostZone = "\x09localhost\x00"
	invalidZone   = "\x07invalid\x00"
	onionZone     = "\x05onion\x00"
	resolverZone  = "\x08resolver\x04arpa\x00"
)

// localhostTTL is for answers about this machine, which never change.
const localhostTTL = 24 * 60 * 60

// loopbacks are the addresses of localhost (RFC 6761 §6.3).
func loopbacks() [2]netip.Addr {
	return [2]netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
}

// alwaysSpecial reports whether no configuration can give name another
// meaning, and which one it has.
func alwaysSpecial(name string) (special bool, meaning string) {
	switch {
	case within(name, localhostZone):
		return true, "is always the machine that asks (RFC 6761 §6.3)"
	case within(name, invalidZone):
		return true, "never exists (RFC 6761 §6.4)"
	case within(name, onionZone):
		return true, "is Tor's and never in the DNS (RFC 7686 §2)"
	case within(name, resolverZone):
		return true, "is the gateway's own word about its listeners (RFC 9462 §6.4; see dns.designated)"
	default:
		return false, ""
	}
}

// addSpecial puts in the zones that RFCs keep out of the public DNS. Those in
// a claimed zone, one of ours or a forwarded one, are that zone's business.
func (t *tree) addSpecial(privateUpstreams bool, claimed []string) {
	t.addZone(localhostZone, zoneLoopback)
	t.addZone(invalidZone, zoneNowhere)
	t.addZone(onionZone, zoneNowhere)
	t.addZone(resolverZone, zoneSilent)

	t.offer("\x04test\x00", zoneNowhere, claimed) // RFC 6761 §6.2
	for _, name := range nobodysReverse() {
		t.offer(mustWire(name), zoneOrdinary, claimed)
	}
	t.addLoopbackNames()
	if privateUpstreams {
		return
	}
	t.offer("\x04home\x04arpa\x00", zoneOrdinary, claimed) // RFC 8375
	for _, name := range privateReverse() {
		t.offer(mustWire(name), zoneOrdinary, claimed)
	}
}

// offer puts in a zone unless a claimed one covers it. The root claims nothing:
// whoever forwards everything has said nothing about these names.
func (t *tree) offer(name string, kind zoneKind, claimed []string) {
	for _, theirs := range claimed {
		if theirs != "\x00" && within(name, theirs) {
			return
		}
	}
	t.addZone(name, kind)
}

func (t *tree) addZone(name string, kind zoneKind) {
	z := &zone{name: name, kind: kind, soa: madeSOA(presentationOf(name), negativeTTL)}
	n := t.node(name)
	n.zone = z
	if kind != zoneOrdinary {
		return
	}
	// An empty zone has an SOA and one name server, itself (RFC 6303 §3).
	t.add(name, z.soa)
	t.add(name, &dns.NS{
		Hdr: dns.RR_Header{Name: z.soa.Hdr.Name, Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: negativeTTL},
		Ns:  z.soa.Hdr.Name,
	})
}

// addLoopbackNames gives loopback addresses their name, where the
// configuration gives them none.
func (t *tree) addLoopbackNames() {
	for _, a := range loopbacks() {
		owner := reverseName(a)
		name := mustWire(owner)
		if n, ok := t.nodes[name]; ok && len(n.set(dns.TypePTR))+len(n.set(dns.TypeCNAME)) > 0 {
			continue
		}
		if t.find(name).zone == nil {
			continue // forwarded
		}
		t.add(name, &dns.PTR{
			Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: localhostTTL},
			Ptr: "localhost.",
		})
	}
}

// privateReverse lists the reverse zones of addresses that every network uses
// as it likes: RFC 1918 (RFC 6303 §4.1), shared address space (RFC 7793), and
// unique local IPv6 (RFC 6303 §4.4).
func privateReverse() []string {
	zones := []string{"10.in-addr.arpa.", "168.192.in-addr.arpa.", "d.f.ip6.arpa."}
	for second := 16; second < 32; second++ {
		zones = append(zones, fmt.Sprintf("%d.172.in-addr.arpa.", second))
	}
	for second := 64; second < 128; second++ {
		zones = append(zones, fmt.Sprintf("%d.100.in-addr.arpa.", second))
	}
	return zones
}

// nobodysReverse lists the reverse zones of addresses that no resolver has
// names for: this host, loopback, link-local, documentation and broadcast
// (RFC 6303 §4.2 to §4.6).
func nobodysReverse() []string {
	v6 := reverseName(netip.IPv6Unspecified())
	v6Loopback := reverseName(netip.IPv6Loopback())
	return []string{
		"0.in-addr.arpa.", "127.in-addr.arpa.", "254.169.in-addr.arpa.",
		"2.0.192.in-addr.arpa.", "100.51.198.in-addr.arpa.", "113.0.203.in-addr.arpa.",
		"255.255.255.255.in-addr.arpa.",
		v6, v6Loopback,
		"8.e.f.ip6.arpa.", "9.e.f.ip6.arpa.", "a.e.f.ip6.arpa.", "b.e.f.ip6.arpa.",
		"8.b.d.0.1.0.0.2.ip6.arpa.",
	}
}

// mustWire is for names that stand in this file.
func mustWire(presentation string) string {
	wire, err := wireOf(presentation)
	if err != nil {
		panic(err)
	}
	return wire
}
