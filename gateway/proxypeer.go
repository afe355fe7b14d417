package gateway

import (
	"net/netip"

	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/proxy"
)

// identifyCertificate is who is at an address and has shown the proxy door a
// certificate. Unlike at the DNS door, where nobody can be asked, a user who was
// seen at the address before is no part of it.
func (g *Gateway) identifyCertificate(addr netip.Addr, peer proxy.Peer) policy.Subject {
	id := policy.Identity{Addr: addr, User: policy.CanonicalUser(peer.User), Source: peer.Source}
	for _, device := range peer.Devices {
		id.Devices = append(id.Devices, policy.CanonicalDevice(device))
	}
	return g.engine.Subject(id)
}
