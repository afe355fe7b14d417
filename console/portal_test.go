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

func testPortal(config PortalConfig) http.Handler {
	return NewPortal(config, PortalFacts{
		Organisation: func() policy.Organisation {
			return policy.Organisation{Name: "Example <Rockets>", Contact: "it@corp.example"}
		},
		Refusal: func(_ context.Context, client netip.Addr, host policy.Host, url string) (blockpage.Refusal, bool) {
			if client != netip.MustParseAddr("192.0.2.1") || !strings.HasSuffix(host.Name(), "zoom.us") {
				return blockpage.Refusal{}, false
			}
			return blockpage.Refusal{Rule: "memo", Host: host.Name(), Reason: "because of the memo, not at " + url}, true
		},
		AutoConfiguration: testScript,
	})
}

func TestPortal(t *testing.T) {
	h := testPortal(PortalConfig{Hosts: []string{"gate.zoom.us"}})
	for _, test := range []struct {
		name, method, host, target string
		status                     int
		body                       string
	}{
		{"about", "GET", "192.0.2.9:8080", "/", 200, "mailto:it@corp.example"},
		{"about escapes", "GET", "192.0.2.9", "/", 200, "Example &lt;Rockets&gt;"},
		{"unknown path", "GET", "192.0.2.9", "/x", 404, ""},
		{"writes nothing", "POST", "192.0.2.9", "/", 405, ""},
		{"no interception", "GET", "192.0.2.9", "/ca.crt", 404, "interception is off"},
		{"refused name", "GET", "us04web.zoom.us", "/", 403, "because of the memo"},
		{"refused name, capitals and port", "GET", "Zoom.US.:80", "/", 403, "because of the memo"},
		{"refused name, any path", "GET", "zoom.us", "/j/123?pwd=x", 403, "because of the memo, not at http://zoom.us/j/123?pwd=x"},
		{"refused name, any method", "POST", "zoom.us", "/j/123", 403, "because of the memo"},
		{"refused name, pac", "GET", "zoom.us", "/proxy.pac", 403, "because of the memo"},
		{"name of its own", "GET", "gate.zoom.us", "/", 200, "network gateway"},
		{"name let through", "GET", "www.corp.example", "/", 200, "www.corp.example</strong> is not refused"},
		{"name let through, any path", "GET", "www.corp.example", "/a/b?c", 200, "www.corp.example</strong> is not refused"},
		{"wpad", "GET", "wpad.corp.example", "/wpad.dat", 200, "FindProxyForURL"},
		{"localhost", "GET", "localhost:8080", "/", 200, "network gateway"},
		{"no host", "GET", "", "/", 400, "names no host"},
		{"bad host", "GET", "a b", "/", 400, "names no host"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := ask(h, test.method, test.target, func(r *http.Request) {
				r.Host = test.host
				r.RemoteAddr = "[::ffff:192.0.2.1]:40000"
			})
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.body) {
				t.Errorf("got %d %q, want %d with %q", w.Code, w.Body, test.status, test.body)
			}
		})
	}
}

// TestPortalJudgesTheClient gives the page only to those who are refused.
func TestPortalJudgesTheClient(t *testing.T) {
	h := testPortal(PortalConfig{})
	w := ask(h, "GET", "/", func(r *http.Request) { r.Host, r.RemoteAddr = "zoom.us", "192.0.2.2:1" })
	if w.Code != 200 || !strings.Contains(w.Body.String(), "zoom.us</strong> is not refused") {
		t.Errorf("got %d %q", w.Code, w.Body)
	}
}
