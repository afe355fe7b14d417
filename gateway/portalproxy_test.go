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
	g := start(t, "version: 1\ndefault: block\nrules: []\n", nil)
	client := http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: g.addr("proxy http")}), DisableKeepAlives: true}}
	response, err := client.Get("http://" + g.addr("portal http") + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusOK || !strings.Contains(string(body), "network gateway") {
		t.Errorf("%s\n%s", response.Status, body)
	}
	response, err = client.Get("http://" + g.addr("admin http") + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("the admin listener through the proxy: %s", response.Status)
	}
}
