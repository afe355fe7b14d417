package proxy

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// registerOccupancy shows how many places are taken, and how many there are:
// whoever watches is to know before somebody is turned away.
func (s *Server) registerOccupancy() error {
	if s.dependencies.Registerer == nil {
		return nil
	}
	for _, g := range []struct {
		name, help string
		value      func() int
	}{
		{"sallyport_proxy_connections", "Open connections of clients that are not tunnels.", s.crowd.size},
		{"sallyport_proxy_connections_limit", "How many of them may be open.", func() int { return s.crowd.limit }},
		{"sallyport_proxy_tunnel_places", "Places for tunnels that are taken: tunnels and WebSockets, those that are being opened, and plain requests under way.", s.tunnels.size},
		{"sallyport_proxy_tunnels_limit", "How many of these places there are.", func() int { return s.tunnels.limit }},
	} {
		gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help}, func() float64 { return float64(g.value()) })
		if err := s.dependencies.Registerer.Register(gauge); err != nil {
			return fmt.Errorf("proxy: register metrics: %w", err)
		}
	}
	return nil
}
