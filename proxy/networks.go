package proxy

import (
	"net"
	"net/netip"

	"github.com/sallyport/sallyport/policy"
)

// networkGuard knows the destinations that are never dialled.
type networkGuard struct {
	denied []netip.Prefix
	self   func() []netip.AddrPort
}

func newNetworkGuard(c DenyNetworks, self func() []netip.AddrPort) *networkGuard {
	g := &networkGuard{self: self}
	switch {
	case c.None:
	case len(c.Prefixes) > 0:
		g.denied = c.Prefixes
	default:
		g.denied = privateNetworks()
	}
	return g
}

// allowed returns those of the addresses that may be dialled on port, in their
// order.
func (g *networkGuard) allowed(addresses []netip.Addr, port uint16) []netip.Addr {
	var list []netip.Addr
	for _, a := range addresses {
		if !g.denies(a) && !g.isSelf(a, port) {
			list = append(list, a)
		}
	}
	return list
}

// denies reports whether a, or an IPv4 address that a carries, lies in a
// denied network.
func (g *networkGuard) denies(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if contains(g.denied, a) {
		return true
	}
	for _, inner := range policy.EmbeddedAddrs(a) {
		if contains(g.denied, inner) {
			return true
		}
	}
	return false
}

// isSelf reports whether a connection to a and port would come back to one of
// the gateway's own listeners.
func (g *networkGuard) isSelf(a netip.Addr, port uint16) bool {
	forms := append(policy.EmbeddedAddrs(a), a.Unmap().WithZone(""))
	for _, own := range g.self() {
		if own.Port() != port {
			continue
		}
		bound := own.Addr().Unmap().WithZone("")
		for _, form := range forms {
			// Connecting to the unspecified address reaches the machine itself.
			if form == bound || (bound.IsUnspecified() || form.IsUnspecified()) && isLocal(form) {
				return true
			}
		}
	}
	return false
}

// isLocal reports whether a belongs to this machine. It asks the kernel, so it
// is called only where the port is one of our own.
func isLocal(a netip.Addr) bool {
	if a.IsLoopback() || a.IsUnspecified() {
		return true
	}
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		return true // not to know is no reason to risk a loop
	}
	for _, i := range interfaces {
		network, ok := i.(*net.IPNet)
		if !ok {
			continue
		}
		if own, ok := netip.AddrFromSlice(network.IP); ok && own.Unmap() == a {
			return true
		}
	}
	return false
}

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// privateNetworks lists the networks that the internet does not reach, from
// the IANA special-purpose address registries (RFC 6890 and its updates).
func privateNetworks() []netip.Prefix {
	var list []netip.Prefix
	for _, text := range []string{
		"0.0.0.0/8",       // this network, RFC 791 §3.2
		"10.0.0.0/8",      // private, RFC 1918
		"100.64.0.0/10",   // carrier-grade NAT, RFC 6598
		"127.0.0.0/8",     // loopback, RFC 1122 §3.2.1.3
		"169.254.0.0/16",  // link-local, cloud metadata included, RFC 3927
		"172.16.0.0/12",   // private, RFC 1918
		"192.0.0.0/24",    // IETF protocol assignments, RFC 6890 §2.1
		"192.0.2.0/24",    // documentation, RFC 5737
		"192.88.99.0/24",  // 6to4 relays, RFC 7526
		"192.168.0.0/16",  // private, RFC 1918
		"198.18.0.0/15",   // benchmarking, RFC 2544
		"198.51.100.0/24", // documentation, RFC 5737
		"203.0.113.0/24",  // documentation, RFC 5737
		"224.0.0.0/4",     // multicast, RFC 5771
		"240.0.0.0/4",     // reserved and broadcast, RFC 1112 §4
		"::/128",          // unspecified, RFC 4291
		"::1/128",         // loopback, RFC 4291
		"64:ff9b:1::/48",  // local-use NAT64, RFC 8215
		"100::/64",        // discard, RFC 6666
		"2001:2::/48",     // benchmarking, RFC 5180
		"2001:10::/28",    // ORCHID, RFC 4843
		"2001:20::/28",    // ORCHIDv2, RFC 7343
		"2001:db8::/32",   // documentation, RFC 3849
		"3fff::/20",       // documentation, RFC 9637
		"5f00::/16",       // segment routing, RFC 9602
		"fc00::/7",        // unique local, RFC 4193
		"fe80::/10",       // link-local, RFC 4291
		"fec0::/10",       // site-local, RFC 3879
		"ff00::/8",        // multicast, RFC 4291
	} {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}
