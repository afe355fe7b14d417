package proxy

import (
	"context"
	"net/netip"

	"github.com/sallyport/sallyport/proxy/outbound"
)

// forDialling is what the dialer needs. Parents are found as destinations are,
// and are judged by nobody: an admin has named them.
func (s *Server) forDialling() outbound.Dependencies {
	return outbound.Dependencies{
		Resolve: func(ctx context.Context, name string) ([]netip.Addr, error) {
			resolution, err := s.dependencies.Resolve(ctx, name)
			return resolution.Addrs, err
		},
		IsSelf:     s.networks.isSelf,
		Dialled:    s.metrics.dialled,
		Registerer: s.dependencies.Registerer,
		Log:        s.dependencies.Log,
	}
}

// target is where an exchange was found to lead.
func (x *exchange) target() outbound.Target {
	via := "1.1 " + x.server.pseudonym
	if x.via != "" {
		via = x.via + ", " + via
	}
	return outbound.Target{
		Host:  x.request.Host.String(),
		Port:  x.request.Port,
		Addrs: x.addrs,
		Via:   via,
	}
}

// dial connects to where an exchange was found to lead: to one of its checked
// addresses, or by way of a parent.
func (s *Server) dial(ctx context.Context, x *exchange) (outbound.Conn, error) {
	conn, err := s.dialer.Dial(ctx, x.target())
	x.account.dialled(conn, x.addrs)
	return conn, err
}
