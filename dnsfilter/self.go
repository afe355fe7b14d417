package dnsfilter

import (
	"fmt"
	"net"
	"net/netip"
)

// refuseSelf fails where an upstream is one of the door's own listeners: every
// query would come back to us until its time is over. A circle through another
// resolver cannot be seen from here; there the single flight per question and
// its total time bound the damage.
func (f *forwarder) refuseSelf(bound []ingress) error {
	for _, in := range bound {
		listening, err := netip.ParseAddrPort(in.address().Addr)
		if err != nil {
			return fmt.Errorf("read the bound address: %w", err)
		}
		for _, u := range f.upstreams {
			if reaches(u.addr, listening) {
				return fmt.Errorf("upstream %q is this gateway itself, which listens on %s: name another resolver", u.name, listening)
			}
		}
	}
	return nil
}

// reaches reports whether a packet to target arrives at a socket bound to
// listening.
func reaches(target, listening netip.AddrPort) bool {
	if target.Port() != listening.Port() {
		return false
	}
	to, at := target.Addr().Unmap(), listening.Addr().Unmap()
	if to == at {
		return true
	}
	if !at.IsUnspecified() || at.Is4() && !to.Is4() {
		return false
	}
	return to.IsLoopback() || to.IsUnspecified() || ownAddress(to)
}

// ownAddress reports whether an interface of this machine has the address.
func ownAddress(a netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, own := range addrs {
		prefix, err := netip.ParsePrefix(own.String())
		if err == nil && prefix.Addr().Unmap() == a.WithZone("") {
			return true
		}
	}
	return false
}
