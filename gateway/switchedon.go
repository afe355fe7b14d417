package gateway

import (
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/privacy"
)

// logSwitchedOn says, a line each, what is on that is off unless somebody wrote
// it: whoever reads a log of the start, perhaps on a machine of somebody else's,
// need not guess what the gateway does.
func (g *Gateway) logSwitchedOn() {
	p, log := &g.config.Proxy, g.deps.Log
	if g.authority != nil {
		log.Info("refusals over HTTPS are shown as pages",
			zap.String("authority", p.Interception.CA), zap.String("clients", p.Interception.Clients),
			zap.Time("not_after", g.authority.Certificate().NotAfter))
	}
	if len(p.Parents) > 0 {
		names := make([]string, 0, len(p.Parents))
		for _, parent := range p.Parents {
			names = append(names, parent.Name)
		}
		log.Info("destinations are reached by way of parent proxies",
			zap.Strings("parents", names), zap.Int("routes", len(p.Routes)))
	}
	if len(p.Transparent.Listen) > 0 {
		mode := "redirect"
		if p.Transparent.TProxy {
			mode = "tproxy"
		}
		log.Info("redirected connections are taken in", zap.Strings("listen", p.Transparent.Listen), zap.String("mode", mode))
	}
	if people := g.config.Audit.Privacy; people != (privacy.Extents{}) {
		log.Info("people are hidden in the logs",
			zap.Stringer("client", people.Client), zap.Stringer("user", people.User), zap.Stringer("device", people.Device))
	}
}
