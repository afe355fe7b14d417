package proxy

import (
	"context"
	"net/netip"

	"github.com/sallyport/sallyport/proxy/outbound"
)

// dial connects to where an exchange was found to lead: to one of its checked
// addresses, or by way of a parent.
func (s *Server) dial(ctx context.Context, x *exchange) (outbound.Conn, error) {
	conn, err := s.dialer.Dial(ctx, outbound.Target{Host: x.request.Host.String(), Port: x.request.Port, Addrs: x.addrs})
	switch {
	case err == nil:
		x.reached, x.parent = conn.Remote, conn.Via != outbound.Direct
	case len(x.addrs) > 0:
		x.reached = netip.AddrPortFrom(x.addrs[len(x.addrs)-1], x.request.Port)
	}
	x.account.reached(x)
	return conn, err
}
