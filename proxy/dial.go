package proxy

import (
	"context"

	"github.com/sallyport/sallyport/proxy/outbound"
)

// dial connects to where an exchange was found to lead: to one of its checked
// addresses, or by way of a parent.
func (s *Server) dial(ctx context.Context, x *exchange) (outbound.Conn, error) {
	return s.dialer.Dial(ctx, outbound.Target{Host: x.request.Host.String(), Port: x.request.Port, Addrs: x.addrs})
}
