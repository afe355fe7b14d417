package proxy

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"

	"github.com/sallyport/sallyport/policy"
)

// Portal is the employees' own page, which clients may ask for through the
// proxy although the proxy never dials a listener of the gateway: a browser that
// sends everything to the proxy must find the page that it is told to go to.
type Portal struct {
	// Is reports whether a plain request for a host and port means the portal.
	Is func(host policy.Host, port uint16) bool

	// Handler answers it. It sees the client's own address.
	Handler http.Handler
}

// isPortal reports whether a plain request is for the portal.
func (s *Server) isPortal(host policy.Host, port uint16) bool {
	p := s.dependencies.Portal
	return p.Handler != nil && p.Is(host, port)
}

// servePortal has the portal answer. No policy is asked: it is what the policy
// sends people to.
func (s *Server) servePortal(x *exchange, web *webFront) {
	w := &statusWriter{ResponseWriter: web.w}
	if x.account != nil {
		w.ResponseWriter = &countedWriter{ResponseWriter: web.w, account: x.account}
	}
	r := web.r.WithContext(x.ctx)
	address := *r.URL
	address.Scheme, address.Host, address.User = "", "", nil
	r.URL, r.RequestURI = &address, address.RequestURI()
	r.Host = net.JoinHostPort(x.request.Host.String(), strconv.Itoa(int(x.request.Port)))
	r.RemoteAddr = netip.AddrPortFrom(x.client, 0).String()
	r.Header = r.Header.Clone()
	removeHopByHop(r.Header)
	s.dependencies.Portal.Handler.ServeHTTP(w, r)
	s.metrics.answered(x.method, w.final())
	x.account.portal(x, w.final())
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader sends the head.
func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is what http.ResponseController looks for.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// final is the status, once the answer has been given.
func (w *statusWriter) final() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}
