package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/policy"
)

// The portal is there for whoever sends everything to the proxy, whatever the
// policy says, and learns who asks.
func TestPortalThroughTheProxy(t *testing.T) {
	d := open(t, func(_ *Config, d *Dependencies) {
		d.Portal = Portal{
			Is: func(host policy.Host, port uint16) bool { return host.String() == "gate.corp.example" && port == 8080 },
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				w.WriteHeader(http.StatusTeapot)
				_, _ = io.WriteString(w, strings.Join([]string{r.Method, r.RequestURI, r.Host, r.RemoteAddr, string(body), r.Header.Get("Proxy-Authorization")}, " "))
			}),
		}
	})
	d.decide(func(r *policy.Request) policy.Verdict { return refused(r.Host) })
	response, body, _ := d.say("POST http://gate.corp.example:8080/continue?t=1 HTTP/1.1\r\nHost: gate.corp.example:8080\r\n" +
		"Proxy-Authorization: Basic eA==\r\nContent-Length: 2\r\n\r\nhi")
	if want := "POST /continue?t=1 gate.corp.example:8080 127.0.0.1:0 hi "; response.StatusCode != http.StatusTeapot || body != want {
		t.Errorf("%s %q, want %q", response.Status, body, want)
	}
	d.awaitMetric(1, "sallyport_proxy_requests_total", methodHTTP, "418") // after the answer
	if response, _, _ := d.say(getting("http://gate.corp.example/")); response.StatusCode != http.StatusForbidden {
		t.Errorf("another port: %s", response.Status)
	}
}
