package gateway

import (
	"net/netip"
	"slices"

	"github.com/sallyport/sallyport/pac"
	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/strictyaml"
)

// PACConfig is what the proxy auto-configuration files say, the policy apart.
type PACConfig struct {
	Judged   bool             // only what the policy judges goes to the proxy; false: everything
	Fallback bool             // browsers may go without the proxy while it cannot be reached
	Direct   []policy.Pattern // names that never go to the proxy, with their places
	Networks []policy.Network // destinations that never do, with their places
	Proxies  []pac.Proxy      // the best first
}

// defaultPAC names the gateway's own proxy, which every browser can use.
func defaultPAC() PACConfig { return PACConfig{Proxies: []pac.Proxy{{Scheme: pac.HTTP}}} }

// pac reads portal.pac.
func (f *configFile) pac(v strictyaml.Value) {
	p := &f.config.Portal.PAC
	mode, fallback := "all", "deny"
	section("portal.pac", fields{
		"mode":     oneOf(&mode, "all", "judged"),
		"direct":   p.readDirect,
		"fallback": oneOf(&fallback, "deny", "direct"),
		"proxy":    f.pacProxies,
	})(v)
	p.Judged, p.Fallback = mode == "judged", fallback == "direct"
	f.later = append(f.later, func() {
		if f.config.Portal.Listen == "" {
			v.Warnf("portal.pac does nothing, since portal.listen is empty: let the portal listen, or take the section out")
		}
	})
}

// readDirect reads domains and networks in one list, as people have them.
func (p *PACConfig) readDirect(v strictyaml.Value) {
	v.Items(func(item strictyaml.Value) {
		text, ok := item.Line()
		if !ok {
			return
		}
		if isNetwork(text) {
			if prefix, ok := prefixOf(item, text); ok {
				p.Networks = append(p.Networks, policy.Network{Position: item.Position(), Prefix: prefix})
			}
			return
		}
		pattern, err := policy.ParsePattern(text)
		switch {
		case err != nil:
			item.Errorf("%v", err)
		case pattern.Kind == policy.PatternRegexp:
			item.Errorf("%q is a regular expression, which browsers read in ways of their own: write domains here", text)
		default:
			pattern.Position = item.Position()
			p.Direct = append(p.Direct, pattern)
		}
	})
	if len(p.Direct) > pac.MaxDirect || len(p.Networks) > pac.MaxDirect {
		v.Errorf("%q has %d domains and %d networks: at most %d of each fit into a file that browsers read; write the domains above them", v.Name(), len(p.Direct), len(p.Networks), pac.MaxDirect)
	}
}

// isNetwork reports whether a text is meant as a network or an address.
func isNetwork(text string) bool {
	_, notPrefix := netip.ParsePrefix(text)
	_, notAddress := netip.ParseAddr(text)
	return notPrefix == nil || notAddress == nil
}

// pacProxies reads the proxies that browsers are told of.
func (f *configFile) pacProxies(v strictyaml.Value) {
	p := &f.config.Portal.PAC
	p.Proxies = nil
	v.Items(func(item strictyaml.Value) {
		text, ok := item.Line()
		if !ok {
			return
		}
		one, err := pac.ParseProxy(text)
		switch {
		case err != nil:
			item.Errorf("%v", err)
		case slices.Contains(p.Proxies, one):
			item.Errorf("proxy %q is written twice", text)
		default:
			p.Proxies = append(p.Proxies, one)
			f.later = append(f.later, func() { f.checkPACProxy(item, one) })
		}
	})
	if len(p.Proxies) > pac.MaxProxies {
		v.Errorf("%q has %d proxies: at most %d", v.Name(), len(p.Proxies), pac.MaxProxies)
	}
	if len(p.Proxies) == 0 {
		p.Proxies = defaultPAC().Proxies
	}
}

// checkPACProxy reports a proxy that is to be the gateway's own where it has none.
func (f *configFile) checkPACProxy(item strictyaml.Value, p pac.Proxy) {
	if !p.Host.IsZero() {
		return
	}
	setting := ownListener(p.Scheme).setting
	for _, l := range f.config.listeners() {
		if l.setting == setting && len(l.addresses) > 0 {
			return
		}
	}
	item.Errorf("%q stands for this gateway's own listener, and %s is empty: let it listen, or write host:port", p, setting)
}

// proxyListener is a listener of the proxy door: its setting, and its name among
// the bound addresses.
type proxyListener struct{ setting, name string }

// ownListener is the gateway's own listener of a scheme.
func ownListener(s pac.Scheme) proxyListener {
	switch s {
	case pac.HTTPS:
		return proxyListener{"proxy.tls.listen", "proxy tls"}
	case pac.SOCKS5:
		return proxyListener{"proxy.socks.listen", "proxy socks"}
	default:
		return proxyListener{"proxy.listen", "proxy http"}
	}
}
