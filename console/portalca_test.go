package console

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/blockpage"
	"github.com/sallyport/sallyport/policy"
)

// TestAuthorityCertificate fetches the certificate as browsers do, by every
// name under which the portal is known.
func TestAuthorityCertificate(t *testing.T) {
	der := []byte{0x30, 0x82, 0, 1, 2, 3}
	h := NewPortal(PortalConfig{Hosts: []string{"gate.corp.example"}}, PortalFacts{
		Organisation: func() policy.Organisation { return policy.Organisation{} },
		Refusal: func(_ context.Context, _ netip.Addr, host policy.Host, _ string) (blockpage.Refusal, bool) {
			return blockpage.Refusal{Host: host.Name(), Reason: "because of the memo"}, host.Name() == "zoom.us"
		},
		AutoConfiguration: testScript,
		Certificate:       func() []byte { return der },
	})
	for _, host := range []string{"gate.corp.example:8080", "192.0.2.9", "localhost"} {
		for method, want := range map[string]string{"GET": string(der), "HEAD": ""} {
			w := ask(h, method, "/ca.crt", func(r *http.Request) { r.Host = host })
			header := w.Header()
			if w.Code != 200 || header.Get("Content-Type") != "application/x-x509-ca-cert" || header.Get("Content-Length") != "6" ||
				header.Get("X-Content-Type-Options") != "nosniff" || method == "GET" && w.Body.String() != want {
				t.Errorf("%s from %s: got %d %v %q", method, host, w.Code, header, w.Body)
			}
		}
	}
	if w := ask(h, "GET", "/ca.crt", func(r *http.Request) { r.Host = "zoom.us" }); w.Code != 403 || !strings.Contains(w.Body.String(), "because of the memo") {
		t.Errorf("under a refused name: %d %q", w.Code, w.Body)
	}
	if w := ask(h, "POST", "/ca.crt", func(r *http.Request) { r.Host = "localhost" }); w.Code != 405 {
		t.Errorf("a POST: %d", w.Code)
	}
}
