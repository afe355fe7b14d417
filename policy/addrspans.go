package policy

import (
	"math"
	"net/netip"
)

// DestinationSpans are all addresses, cut wherever the policy or an app says
// something else of a destination: whoever knows the verdict about one address
// of a span, for a client and a port, knows it about them all. Sorted, without
// gaps, IPv4 first.
func (p *Program) DestinationSpans() []AddrRange { return p.addrs.spans() }

// ClientSpans are all addresses, cut wherever the policy says something else of
// a client: all clients of a span, of whom nothing but their address is known,
// are told the same. Sorted, without gaps, IPv4 first.
func (p *Program) ClientSpans() []AddrRange { return p.clients.spans() }

// DestinationClass is the same for two addresses of which the policy says the same as
// destinations: their verdicts are equal for every client, port and time.
func (p *Program) DestinationClass(a netip.Addr) uint32 { return p.addrs.lookup(a) }

// ClientClass is the same for two addresses of which the policy says the same as
// clients of whom nothing else is known.
func (p *Program) ClientClass(a netip.Addr) uint32 { return p.clients.lookup(a) }

// spans are the intervals that a table cuts the addresses into.
func (t *prefixTable) spans() []AddrRange {
	all := spansBetween(nil, t.cutsBelow(nil, &t.v4, wide{}, addrWords-1), wide{lo: math.MaxUint32}, 32)
	return spansBetween(all, t.cutsBelow(nil, &t.v6, wide{}, 0), wide{math.MaxUint64, math.MaxUint64}, 128)
}

// spansBetween appends the intervals of one family, whose last address is end.
func spansBetween(all []AddrRange, cuts []cut, end wide, bits int) []AddrRange {
	for i, c := range cuts {
		last := end
		if i+1 < len(cuts) {
			last = cuts[i+1].at.previous()
		}
		all = append(all, AddrRange{c.at.addr(bits), last.addr(bits)})
	}
	return all
}
