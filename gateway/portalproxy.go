package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"

	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/proxy"
)

// portalName is the portal among the listeners.
const portalName = "portal http"

// portalForProxy lets clients that send everything to the proxy have the
// portal; there is none where it is switched off.
func (g *Gateway) portalForProxy() proxy.Portal {
	if g.config.Portal.Listen == "" {
		return proxy.Portal{}
	}
	return proxy.Portal{
		Is: g.isPortal,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			g.portal.server.Handler.ServeHTTP(w, r)
		}),
	}
}

// isPortal reports whether a host and port mean the portal: the address by which
// people reach it, the one at which it listens, or one of its names, and its port.
func (g *Gateway) isPortal(host policy.Host, port uint16) bool {
	if named, at := g.config.Portal.urlHost(); named == host && at == strconv.Itoa(int(port)) {
		return true
	}
	for _, bound := range g.Addrs() {
		at, err := netip.ParseAddrPort(bound.Addr)
		if bound.Name != portalName || err != nil || at.Port() != port {
			continue
		}
		if !host.IsAddr() {
			return slices.Contains(g.config.Portal.names(), host.Name())
		}
		own := at.Addr().Unmap()
		return host.Addr() == own || own.IsUnspecified() && isOwnAddress(host.Addr())
	}
	return false
}

// isOwnAddress reports whether an address is one of this machine's.
func isOwnAddress(addr netip.Addr) bool {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(all, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().Unmap() == addr
	})
}
