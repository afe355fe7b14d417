package console

import "net/http"

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
	return mux
}
