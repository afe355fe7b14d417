package dnsfilter

import (
	"net"
	"net/netip"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
	"github.com/sallyport/sallyport/policy"
)

// factsOf lists what the owner of the asked name leads clients to: targets of
// CNAME, DNAME, SVCB and HTTPS records, the address hints of the latter two
// (RFC 9460 §7.3), and addresses. Nothing is listed twice.
func factsOf(answers []dns.RR) (facts []policy.Host, addrs []netip.Addr) {
	seen := make(map[policy.Host]struct{}, len(answers))
	add := func(h policy.Host) {
		if _, twice := seen[h]; twice {
			return
		}
		seen[h] = struct{}{}
		facts = append(facts, h)
	}
	addName := func(name string) {
		if h, ok := hostOf(name); ok { // "." in SVCB is the owner itself
			add(h)
		}
	}
	addAddr := func(ip net.IP) (a netip.Addr, ok bool) {
		if a, ok = netip.AddrFromSlice(ip); ok {
			a = a.Unmap()
			add(policy.HostFromAddr(a))
			for _, inner := range policy.EmbeddedAddrs(a) {
				add(policy.HostFromAddr(inner))
			}
		}
		return a, ok
	}
	addService := func(s *dns.SVCB) {
		addName(s.Target)
		for _, parameter := range s.Value {
			var hints []net.IP
			switch p := parameter.(type) {
			case *dns.SVCBIPv4Hint:
				hints = p.Hint
			case *dns.SVCBIPv6Hint:
				hints = p.Hint
			}
			for _, ip := range hints {
				addAddr(ip)
			}
		}
	}
	for _, r := range answers {
		switch record := r.(type) {
		case *dns.CNAME:
			addName(record.Target)
		case *dns.DNAME:
			addName(record.Target)
		case *dns.SVCB:
			addService(record)
		case *dns.HTTPS:
			addService(&record.SVCB)
		case *dns.A:
			if a, ok := addAddr(record.A); ok {
				addrs = append(addrs, a)
			}
		case *dns.AAAA:
			if a, ok := addAddr(record.AAAA); ok {
				addrs = append(addrs, a)
			}
		}
	}
	return facts, addrs
}

// hostOf makes a policy.Host of a name in presentation form; false for the
// root and for what is no name.
func hostOf(presentation string) (policy.Host, bool) {
	wire, err := dnswire.WireName(presentation)
	if err != nil || wire == "\x00" {
		return policy.Host{}, false
	}
	return policy.HostFromCanonicalName(dnswire.CanonicalName(wire)), true
}
