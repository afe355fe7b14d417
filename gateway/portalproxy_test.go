package gateway

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// A browser that sends everything to the proxy finds the portal, which no
// policy and no guard of networks keeps it from.
func TestPortalThroughTheProxy(t *testing.T) {
	g := start(t, "version: 1\ndefault: block\nrules: []\n", func(c *Config, _ *Dependencies) { c.Portal.URL = "http://gate.corp.example" })
	client := http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: g.addr("proxy http")}), DisableKeepAlives: true}}
	for _, at := range []string{g.addr("portal http"), "gate.corp.example"} {
		response, err := client.Get("http://" + at + "/")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK || !strings.Contains(string(body), "network gateway") {
			t.Errorf("%s: %s\n%s", at, response.Status, body)
		}
	}
	response, err := client.Get("http://" + g.addr("admin http") + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("the admin listener through the proxy: %s", response.Status)
	}
}
