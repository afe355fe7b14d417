package gateway

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/strictyaml"
)

// listens reads the addresses of a door, which needs one at least.
func (f *configFile) listens(setting string, into *[]string) func(strictyaml.Value) {
	return f.named(setting, func(v strictyaml.Value) {
		all := listenAddresses(v)
		if v.IsList() && v.Len() == 0 {
			v.Errorf("%q names no address to listen on: write one, such as [127.0.0.1:0]; both doors are needed", v.Name())
		}
		*into = all
	})
}

// optionalListens reads the addresses of a listener that may be off.
func (f *configFile) optionalListens(setting string, into *[]string) func(strictyaml.Value) {
	return f.named(setting, func(v strictyaml.Value) {
		if text, ok := emptyText(v); v.IsScalar() && ok && text == "" {
			*into = nil
			return
		}
		*into = listenAddresses(v)
	})
}

// listenAddresses reads a list of addresses.
func listenAddresses(v strictyaml.Value) (all []string) {
	v.Items(func(item strictyaml.Value) {
		address, ok := listenAddress(item)
		if ok && slices.Contains(all, address) && !strings.HasSuffix(address, ":0") {
			item.Errorf("address %q is written twice", address)
			return
		}
		if ok {
			all = append(all, address)
		}
	})
	return all
}

// optionalListen reads the address of a listener that may be off.
func optionalListen(into *string) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		text, ok := v.OptionalLine()
		if !ok {
			return
		}
		if text == "" {
			*into = ""
			return
		}
		if address, ok := listenAddress(v); ok {
			*into = address
		}
	}
}

// adminListen is optionalListen for what has no passwords. Every address ("" or
// 0.0.0.0) is not warned of: in a container it is the right one, and cannot be told from
// one on a machine.
func adminListen(into *string) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		optionalListen(into)(v)
		at, err := netip.ParseAddrPort(*into)
		local := func(p netip.Prefix) bool { return p.Contains(at.Addr().Unmap().WithZone("")) }
		if err == nil && !at.Addr().IsUnspecified() && !slices.ContainsFunc(localNetworks(), local) {
			v.Warnf("admin.listen %q is a public address, and the admin listener has no passwords: write one of a private network, or 127.0.0.1:9180", *into)
		}
	}
}

// listenAddress reads host:port, where host is an address of this machine,
// localhost, or nothing for every address. A name would depend on a resolver,
// perhaps on the very one that is about to start.
func listenAddress(v strictyaml.Value) (string, bool) {
	text, ok := v.Line()
	if !ok {
		return "", false
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		v.Errorf("address %q is not host:port: write it as 127.0.0.1:53, [::1]:53 or :53", text)
		return "", false
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		v.Errorf("port %q in %q is not a number from 0 to 65535", port, text)
		return "", false
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if host != "" {
		if _, err := netip.ParseAddr(host); err != nil {
			v.Errorf("%q in %q is not an address of this machine: write the address, not a name", host, text)
			return "", false
		}
	}
	return net.JoinHostPort(host, port), true
}

// listener is a setting that wants addresses for itself.
type listener struct {
	setting   string
	networks  []string
	addresses []string
}

// listeners are all of them, those that everybody has first.
func (c *Config) listeners() []listener {
	tcp, udp, both := []string{"TCP"}, []string{"UDP"}, []string{"TCP", "UDP"}
	https := tcp
	if c.DNS.HTTP3 {
		https = both
	}
	return []listener{
		{"dns.listen", both, c.DNS.Listen},
		{"proxy.listen", tcp, c.Proxy.Listen},
		{"proxy.socks.listen", tcp, c.Proxy.SOCKS},
		{"proxy.transparent.listen", tcp, c.Proxy.Transparent.Listen},
		{"proxy.tls.listen", tcp, c.Proxy.TLS.Listen},
		{"admin.listen", tcp, []string{c.Admin.Listen}},
		{"portal.listen", tcp, []string{c.Portal.Listen}},
		{"dns.tls.listen", tcp, c.DNS.TLS.Listen},
		{"dns.https.listen", https, c.DNS.HTTPS.Listen},
		{"dns.quic.listen", udp, c.DNS.QUIC.Listen},
	}
}

// distinctAddresses reports an address that two settings want.
func (f *configFile) distinctAddresses() {
	owner := map[string]string{} // by network and address
	for _, l := range f.config.listeners() {
		for _, address := range l.addresses {
			for _, network := range l.networks {
				socket := network + " " + address
				first, taken := owner[socket]
				owner[socket] = l.setting
				if !taken || first == l.setting || strings.HasSuffix(address, ":0") || address == "" {
					continue
				}
				at, known := f.at[l.setting]
				if !known {
					at = f.at[first] // of two defaults that are alike there are none
				}
				f.problems.Errorf(at, "%s and %s both want %s: give one of them another port", first, l.setting, socket)
			}
		}
	}
}
