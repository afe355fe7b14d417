package outbound

import "net/netip"

// maxAttempts bounds how many addresses are tried for one connection.
const maxAttempts = 8

// order is the order in which addresses are tried, and as many of them as are:
// the families take turns, the family of the first address first (RFC 8305 §4),
// and those that did not answer lately come last.
func (d *Dialer) order(addresses []netip.Addr, port uint16) []netip.AddrPort {
	if len(addresses) == 1 {
		return []netip.AddrPort{netip.AddrPortFrom(addresses[0].Unmap(), port)}
	}
	list := make([]netip.AddrPort, 0, len(addresses))
	for _, a := range alternate(addresses) {
		list = append(list, netip.AddrPortFrom(a.Unmap(), port))
	}
	d.silent.putLast(list)
	return list[:min(len(list), maxAttempts)]
}

// alternate lets the families take turns.
func alternate(addresses []netip.Addr) []netip.Addr {
	list := make([]netip.Addr, 0, len(addresses))
	is4 := func(i int) bool { return addresses[i].Unmap().Is4() }
	skip := func(i int, want bool) int { // to the next of a family
		for i < len(addresses) && is4(i) != want {
			i++
		}
		return i
	}
	if len(addresses) == 0 {
		return nil
	}
	first := is4(0)
	for i, j := 0, skip(0, !first); i < len(addresses) || j < len(addresses); {
		if i < len(addresses) {
			list = append(list, addresses[i])
			i = skip(i+1, first)
		}
		if j < len(addresses) {
			list = append(list, addresses[j])
			j = skip(j+1, !first)
		}
	}
	return list
}
