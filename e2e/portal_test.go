package e2e

import (
	"strings"
	"testing"
)

// portalPage is where a browser lands that was sent there by `answer: page`:
// it asks the portal for the name that is blocked.
func (tn town) portalPage(t *testing.T) {
	base := "http://" + tn.portal
	page := tn.curl(t, base+"/", "-H", "Host: www.page.mode.example", "-H", "Accept: text/html")
	if page.status != 403 || !strings.Contains(page.body, "mode page") || !strings.Contains(page.body, "it-help@corp.example") {
		t.Errorf("the page for a blocked name: status %d\n%s", page.status, page.body)
	}
	index := tn.curl(t, base+"/", "-H", "Accept: text/html")
	if index.status != 200 || !strings.Contains(index.body, "it-help@corp.example") {
		t.Errorf("the portal's own page: status %d\n%s", index.status, index.body)
	}
	for _, path := range []string{"/proxy.pac", "/wpad.dat"} {
		pac := tn.curl(t, base+path)
		if pac.status != 200 || !strings.HasPrefix(pac.head.Get("Content-Type"), "application/x-ns-proxy-autoconfig") ||
			!strings.Contains(pac.body, "FindProxyForURL") {
			t.Errorf("%s: status %d, %v\n%s", path, pac.status, pac.head, pac.body)
		}
	}
}
