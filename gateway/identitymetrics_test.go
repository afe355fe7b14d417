package gateway

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestIdentitySources spoils each source of identities of a running gateway,
// and mends it: what is shown follows, and is shown of what is configured alone.
func TestIdentitySources(t *testing.T) {
	files := newDeviceFiles(t)
	users, authorities := filepath.Join(t.TempDir(), "users.htpasswd"), files.path("clients.crt")
	writeFile(t, users, htpasswdLine(t, "priya"))
	g := start(t, memo, func(c *Config, _ *Dependencies) {
		c.Proxy.UsersFile = users
		c.Reload.Poll = 20 * time.Millisecond
		c.DNS.TLS, c.DNS.HTTPS, c.Proxy.TLS = files.endpoint("clients.crt"), files.endpoint(""), files.endpoint("clients.crt")
	})
	shows := func(value string, sources ...string) {
		t.Helper()
		for _, source := range sources {
			g.wantMetric(`sallyport_identity_source_up{source="`+source+`"}`, value)
		}
	}
	shows("1", "users", "dns_tls", "proxy_tls")
	if _, body := g.get("/metrics"); strings.Count(body, "\nsallyport_identity_source_up{") != 3 {
		t.Error("a source that is not configured is shown")
	}
	for _, tc := range []struct {
		path    string
		sources []string
		others  []string
	}{
		{users, []string{"users"}, []string{"dns_tls", "proxy_tls"}},
		{authorities, []string{"dns_tls", "proxy_tls"}, []string{"users"}},
	} {
		good, err := os.ReadFile(tc.path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(tc.path); err != nil {
			t.Fatal(err)
		}
		shows("0", tc.sources...)
		shows("1", tc.others...)
		writeFile(t, tc.path, "neither a user nor a certificate\n")
		shows("0", tc.sources...)
		writeFile(t, tc.path, string(good))
		shows("1", append(tc.sources, tc.others...)...)
	}
}
