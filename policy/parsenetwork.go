package policy

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/sallyport/sallyport/strictyaml"
)

// ParseNetwork reads a network: an address and a prefix length, or an address
// alone, which stands for itself. IPv4-mapped IPv6 gives the IPv4 network. The
// error says what would be right.
func ParseNetwork(s string) (netip.Prefix, error) {
	address, length, slash := strings.Cut(s, "/")
	addr, err := netip.ParseAddr(address)
	if err != nil || addr.Zone() != "" {
		return netip.Prefix{}, notANetwork(s)
	}
	if !slash {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	if mask, err := netip.ParseAddr(length); err == nil {
		return netip.Prefix{}, fmt.Errorf("%q is not a network: write the prefix length instead of the mask %s, as in 10.0.0.0/8", s, mask)
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not a network: the prefix length goes from 0 to %d", s, addr.BitLen())
	}
	if addr.Is4In6() {
		const mappedBits = 96
		if prefix.Bits() < mappedBits {
			return netip.Prefix{}, fmt.Errorf("%q covers more than the IPv4 addresses: write IPv4 networks as 10.0.0.0/8", s)
		}
		prefix = netip.PrefixFrom(addr.Unmap(), prefix.Bits()-mappedBits)
	}
	if masked := prefix.Masked(); masked != prefix {
		return netip.Prefix{}, fmt.Errorf("%q has host bits set: write %s for the network, or %s for the one address",
			s, masked, netip.PrefixFrom(prefix.Addr(), prefix.Addr().BitLen()))
	}
	return prefix, nil
}

// notANetwork says why a text without an address in front is no network.
func notANetwork(s string) error {
	if from, to, ok := strings.Cut(s, "-"); ok {
		_, errFrom := netip.ParseAddr(strings.TrimSpace(from))
		_, errTo := netip.ParseAddr(strings.TrimSpace(to))
		if errFrom == nil && errTo == nil {
			return fmt.Errorf("%q is a range: write it as networks with a prefix length", s)
		}
	}
	if isName(s) {
		return fmt.Errorf("%q is a name, not a network", s)
	}
	return fmt.Errorf("%q is not a network: write an address and a prefix length, such as 10.0.0.0/8 or fd00:28::/32", s)
}

// isName reports whether s is a name and no address.
func isName(s string) bool {
	host, err := ParseHost(strings.TrimPrefix(s, "*."))
	return err == nil && !host.IsAddr()
}

// networks makes a field that is a list of networks. The hint is added where
// an item is a name.
func networks(into *[]Network, nameHint string) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		items(v, func(item strictyaml.Value) {
			if network, ok := readNetwork(item, nameHint); ok {
				*into = append(*into, network)
			}
		})
	}
}

// readNetwork reads one network.
func readNetwork(v strictyaml.Value, nameHint string) (Network, bool) {
	text, ok := v.Line()
	if !ok {
		return Network{}, false
	}
	prefix, err := ParseNetwork(text)
	switch {
	case err != nil && isName(text):
		v.Errorf("%v%s", err, nameHint)
		return Network{}, false
	case err != nil:
		v.Errorf("%v", err)
		return Network{}, false
	}
	return Network{Position: v.Position(), Prefix: prefix}, true
}
