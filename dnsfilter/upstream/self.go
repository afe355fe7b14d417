package upstream

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// ownListeners are where the gateway itself listens for queries. Safe for
// concurrent use.
type ownListeners struct {
	mu        sync.Mutex
	listeners []netip.AddrPort
}

func (o *ownListeners) set(listeners []netip.AddrPort) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.listeners = append([]netip.AddrPort(nil), listeners...)
}

// refuse fails where target is one of the gateway's own listeners.
func (o *ownListeners) refuse(name string, target netip.AddrPort) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, at := range o.listeners {
		if reaches(target, at) {
			return fmt.Errorf("upstream %q is this gateway itself, which listens on %s: name another resolver", name, at)
		}
	}
	return nil
}

// RefuseSelf fails where a resolver is one of the gateway's own listeners:
// every query would come back until its time is over. Named resolvers are
// refused later, when their name leads here. A circle through another resolver
// cannot be seen from here; there the single flight per question and its total
// time bound the damage. Safe for concurrent use.
func (p *Pool) RefuseSelf(listeners []netip.AddrPort) error {
	p.own.set(listeners)
	var problems []error
	for _, r := range p.resolvers {
		if r.server.host != "" {
			continue
		}
		problems = append(problems, p.own.refuse(r.server.name, netip.AddrPortFrom(r.server.addr, r.server.port)))
	}
	return errors.Join(problems...)
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
	if to.IsUnspecified() { // connects to loopback
		return at.IsLoopback() || at.IsUnspecified()
	}
	if !at.IsUnspecified() || at.Is4() && !to.Is4() {
		return false
	}
	return to.IsLoopback() || ownAddress(to)
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
