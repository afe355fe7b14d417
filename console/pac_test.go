package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/policy"
)

// testScript is a file that tells for whom it is.
func testScript(client netip.Addr, reached policy.Host) (AutoConfiguration, error) {
	if reached.Name() == "no-proxy.corp.example" {
		return AutoConfiguration{}, errors.New("this gateway runs no proxy")
	}
	head := fmt.Sprintf("// %v at %v\n", client, reached)
	return AutoConfiguration{
		Parts: [][]byte{[]byte(head), []byte("function FindProxyForURL() {}\n")},
		ETag:  `"` + strconv.Itoa(len(head)) + `"`,
	}, nil
}

func TestAutoConfiguration(t *testing.T) {
	h := testPortal(PortalConfig{})
	for _, test := range []struct {
		name, host, want string
		status           int
	}{
		{"by name", "gateway.corp.example:8080", "// 192.0.2.7 at gateway.corp.example\nfunction FindProxyForURL", 200},
		{"by name, otherwise", "Gateway.Corp.Example.", "at gateway.corp.example\n", 200},
		{"by address", "192.0.2.9:8080", "at 192.0.2.9\n", 200},
		{"by IPv6 address", "[2001:db8::1]:8080", "at 2001:db8::1\n", 200},
		{"by IPv4 in IPv6", "[::ffff:192.0.2.9]:8080", "at 192.0.2.9\n", 200},
		{"wpad", "wpad.corp.example", "at wpad.corp.example\n", 200},
		{"no proxy", "no-proxy.corp.example", "runs no proxy", 404},
		{"script in the host", `x";alert(1);"`, "names no host", 400},
		{"line break in the host", "x\nalert(1)", "names no host", 400},
		{"no host", "", "names no host", 400},
		{"a host that is refused", "zoom.us", "", 200}, // for this client it is not
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, target := range []string{"/proxy.pac", "/wpad.dat"} {
				w := ask(h, "GET", target, func(r *http.Request) {
					r.Host, r.RemoteAddr = test.host, "[::ffff:192.0.2.7]:40000"
				})
				if w.Code != test.status || !strings.Contains(w.Body.String(), test.want) {
					t.Fatalf("%s: got %d %s, want %d with %s", target, w.Code, w.Body, test.status, test.want)
				}
				if w.Code != 200 {
					continue
				}
				for name, want := range map[string]string{
					"Content-Type": "application/x-ns-proxy-autoconfig", "Cache-Control": "private, max-age=300", "Content-Length": strconv.Itoa(w.Body.Len()),
					"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin", "Vary": "",
				} {
					if got := w.Header().Get(name); got != want {
						t.Errorf("%s: %s is %q, want %q", target, name, got, want)
					}
				}
			}
		})
	}
}

func TestAutoConfigurationIsKept(t *testing.T) {
	h := testPortal(PortalConfig{})
	tag := ask(h, "GET", "/proxy.pac", func(r *http.Request) { r.Host = "192.0.2.9" }).Header().Get("ETag")
	if len(tag) < 3 {
		t.Fatalf("the tag is %q", tag)
	}
	for _, test := range []struct {
		given  []string
		status int
	}{
		{nil, 200},
		{[]string{tag}, 304},
		{[]string{"W/" + tag}, 304},
		{[]string{`"x", ` + tag}, 304},
		{[]string{`"x"`, tag}, 304},
		{[]string{"*"}, 304},
		{[]string{`"x"`}, 200},
		{[]string{strings.Trim(tag, `"`)}, 200},
		{[]string{""}, 200},
	} {
		w := ask(h, "GET", "/proxy.pac", func(r *http.Request) {
			r.Host = "192.0.2.9"
			r.Header["If-None-Match"] = test.given
		})
		if w.Code != test.status || w.Header().Get("ETag") != tag || (w.Body.Len() == 0) != (w.Code == 304) {
			t.Errorf("If-None-Match %q: %d with %d bytes, tag %s; want %d", test.given, w.Code, w.Body.Len(), w.Header().Get("ETag"), test.status)
		}
	}
	w := ask(h, "POST", "/proxy.pac", func(r *http.Request) { r.Host = "192.0.2.9" })
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}
