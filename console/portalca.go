package console

import (
	"net/http"
	"strconv"
)

// certificate gives out the authority's certificate, for people to install
// who are not reached by what manages their computer. Without interception
// there is none, and who fetches it should learn why.
func (p *portal) certificate(w http.ResponseWriter, _ *http.Request) {
	var der []byte
	if p.facts.Certificate != nil {
		der = p.facts.Certificate()
	}
	if len(der) == 0 {
		writeText(w, http.StatusNotFound,
			"interception is off: this gateway shows no pages over HTTPS, so there is no certificate to install\n")
		return
	}
	header := w.Header()
	header.Set("Content-Type", "application/x-x509-ca-cert") // by which browsers offer to install it
	header.Set("Content-Length", strconv.Itoa(len(der)))
	header.Set("Cache-Control", "no-store")
	_, _ = w.Write(der) // an error means that the client has left
}
