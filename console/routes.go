package console

import (
	"net/http"

	"github.com/sallyport/sallyport/blockpage"
)

// routes is the whole surface of the admin listener. Methods that are not
// listed are answered 405 by the mux; GET includes HEAD.
func (a *admin) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.index)
	mux.Handle("GET /metrics", a.facts.Metrics)
	mux.HandleFunc("GET /healthz", a.healthz)
	mux.HandleFunc("GET /readyz", a.readyz)
	mux.HandleFunc("POST /-/reload", a.reload)
	mux.HandleFunc("GET /api/v1/status", a.status)
	mux.HandleFunc("GET /api/v1/explain", a.explain)
	mux.HandleFunc("GET /api/v1/policy", a.policy)
	mux.HandleFunc("GET /api/v1/grants", a.grants)
	mux.HandleFunc("DELETE /api/v1/grants/{id}", a.revoke)
	return secure(a.guard(mux))
}

// routes is the whole surface of the portal listener, for requests that name
// the portal itself. A request that names a refused host never gets here: see
// (*portal).ServeHTTP.
func (p *portal) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.about)
	mux.HandleFunc("GET /proxy.pac", p.pac)
	mux.HandleFunc("GET /wpad.dat", p.pac)
	mux.HandleFunc("GET /ca.crt", p.certificate)
	mux.HandleFunc("GET "+blockpage.ContinuePath, p.continuing)
	mux.HandleFunc("POST "+blockpage.ContinuePath, p.continuing)
	mux.HandleFunc("GET /", p.elsewhere)
	return mux
}
