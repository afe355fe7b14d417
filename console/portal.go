package console

import (
	"context"
	"net/http"
	"net/netip"
	"strings"

	"github.com/sallyport/sallyport/blockpage"
	"github.com/sallyport/sallyport/policy"
)

// PortalFacts is everything that the portal shows. All fields must be set that
// do not say otherwise; the funcs must be safe for concurrent use.
type PortalFacts struct {
	// Organisation is who runs the gateway and whom to ask.
	Organisation func() policy.Organisation

	// Refusal judges a host that the client asked for by name, and what that
	// name leads to, as the DNS door does for that client now. False means
	// that the policy lets it through. It may look the name up, and ends with
	// its context. url is the whole address, to come back to past a warning.
	Refusal func(ctx context.Context, client netip.Addr, host policy.Host, url string) (blockpage.Refusal, bool)

	// Coaching lets people past warnings. The zero Coaching lets nobody.
	Coaching Coaching

	// AutoConfiguration is the proxy auto-configuration file for a client that
	// reached the portal under a host. An error says why there is none, and is
	// shown to the client.
	AutoConfiguration func(client netip.Addr, reached policy.Host) (AutoConfiguration, error)

	// Certificate is that of the authority by which pages are shown over
	// HTTPS, in DER form. Nil, or nothing: none are.
	Certificate func() []byte
}

// PortalConfig says what the portal itself is called.
type PortalConfig struct {
	// Hosts are the portal's own names. Addresses, localhost and wpad are
	// its own in any case. Every other name is one that the DNS door answered
	// with the portal's address.
	Hosts []string
}

// portal answers the portal listener.
type portal struct {
	config     PortalConfig
	facts      PortalFacts
	own        http.Handler
	pages      *pages
	sameOrigin *http.CrossOriginProtection
}

// NewPortal makes the handler of the portal listener.
func NewPortal(config PortalConfig, facts PortalFacts) http.Handler {
	p := &portal{config: config, facts: facts, pages: newPages(), sameOrigin: http.NewCrossOriginProtection()}
	p.own = secure(p.routes())
	return p
}

// ServeHTTP shows the page for a refused name, whatever path, method or query
// the browser sent to it, and the portal's own pages otherwise.
func (p *portal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, err := policy.ParseHost(hostOnly(r.Host))
	if err != nil {
		writeText(w, http.StatusBadRequest, "the Host header names no host\n")
		return
	}
	if p.isOwn(host) {
		p.own.ServeHTTP(w, r)
		return
	}
	// The browser believes that it is connected to that host. It must ask for
	// the host's address again, and not go on here, once the host is let through.
	w.Header().Set("Connection", "close")
	if refusal, refused := p.facts.Refusal(r.Context(), clientOf(r), host, "http://"+r.Host+r.URL.RequestURI()); refused {
		blockpage.Write(w, r, http.StatusForbidden, refusal)
		return
	}
	p.own.ServeHTTP(w, r)
}

// isOwn reports whether a host means the portal and not a name that the DNS
// door led here.
func (p *portal) isOwn(host policy.Host) bool {
	if host.IsAddr() {
		return true
	}
	name := host.Name()
	if name == "localhost" || name == "wpad" || strings.HasPrefix(name, "wpad.") {
		return true
	}
	for _, own := range p.config.Hosts {
		if name == own {
			return true
		}
	}
	return false
}

func (p *portal) about(w http.ResponseWriter, r *http.Request) {
	if foreignName(p, r) != "" {
		w.Header().Set("Refresh", retryForeign)
	}
	p.pages.write(w, p.pages.portal, portalPage{
		Organisation: p.facts.Organisation(),
		Host:         foreignName(p, r),
	})
}

// retryForeign is after how many seconds a browser asks again for a site that
// led here although the policy lets it through.
const retryForeign = "5"

// elsewhere answers for paths that are none of the portal's own. Under the
// name of a site, they are what somebody wanted of that site.
func (p *portal) elsewhere(w http.ResponseWriter, r *http.Request) {
	if foreignName(p, r) == "" {
		http.NotFound(w, r)
		return
	}
	p.about(w, r)
}

// foreignName is the name under which a client came here although the policy
// lets it through: its computer remembers an answer given before an edit.
func foreignName(p *portal, r *http.Request) string {
	host, err := policy.ParseHost(hostOnly(r.Host))
	if err != nil || p.isOwn(host) {
		return ""
	}
	return host.Name()
}

// clientOf is the address of the client; invalid where net/http knows none.
func clientOf(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}
