package policy

import (
	"encoding/binary"
	"net/netip"
)

// EmbeddedAddrs returns the IPv4 addresses that an IPv6 address stands for
// when a translator or tunnel of the network understands it: IPv4-compatible
// (RFC 4291 §2.5.5.1), IPv4-translated (RFC 2765 §2.1), NAT64 (RFC 6052 §2.1,
// RFC 8215), 6to4 (RFC 3056 §2), Teredo (RFC 4380 §4) and ISATAP (RFC 5214
// §6.1). Both doors judge them as they judge the address itself. It is nil for
// IPv4, IPv4-mapped addresses included, and for every other address.
func EmbeddedAddrs(a netip.Addr) []netip.Addr {
	if !a.Is6() || a.Is4In6() {
		return nil
	}
	b := a.As16()
	at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte(b[i : i+4])) }
	high, next := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint32(b[8:12])
	switch {
	case high == 0 && next == 0 && binary.BigEndian.Uint32(b[12:]) > 1: // IPv4-compatible, RFC 4291 §2.5.5.1
		return []netip.Addr{at(12)}
	case high == 0 && next == 0xffff0000: // IPv4-translated, RFC 2765 §2.1
		return []netip.Addr{at(12)}
	case high == 0x0064ff9b_00000000 && next == 0: // NAT64, RFC 6052 §2.1
		return []netip.Addr{at(12)}
	case high>>16 == 0x0064ff9b_0001: // local-use NAT64, RFC 8215: as a /96 and as a /48
		return []netip.Addr{at(12), netip.AddrFrom4([4]byte{b[6], b[7], b[9], b[10]})}
	case high>>48 == 0x2002: // 6to4, RFC 3056 §2
		return []netip.Addr{at(2)}
	case high>>32 == 0x20010000: // Teredo, RFC 4380 §4: server, and client inverted
		return []netip.Addr{at(4), netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})}
	case next&^0x02000000 == 0x00005efe: // ISATAP, RFC 5214 §6.1
		return []netip.Addr{at(12)}
	default:
		return nil
	}
}
