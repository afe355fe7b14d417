package gateway

import (
	"fmt"

	"github.com/sallyport/sallyport/authority"
	"github.com/sallyport/sallyport/proxy"
)

// newAuthority loads the authority by which refusals are shown over HTTPS; nil
// where there is none.
func (g *Gateway) newAuthority() (*authority.Authority, error) {
	c := g.config.Proxy.Interception
	if !c.On() {
		return nil, nil
	}
	a, err := authority.Load(authority.Files{Certificate: c.CA, Key: c.Key}, authority.Dependencies{
		Registerer: g.registry,
		Log:        g.deps.Log.Named("authority"),
	})
	if err != nil {
		return nil, fmt.Errorf("proxy.interception: %w", err)
	}
	return a, nil
}

// interceptor is the authority as the proxy door uses it; nil where there is
// none, and not something with a nil inside.
func (g *Gateway) interceptor() proxy.Interceptor {
	if g.authority == nil {
		return nil
	}
	return g.authority
}

// authorityCertificate is what the portal gives out; nothing where there is
// no authority.
func (g *Gateway) authorityCertificate() []byte {
	if g.authority == nil {
		return nil
	}
	return g.authority.Certificate().Raw
}
