package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

// squidAuthenticator takes every name and password.
const squidAuthenticator = "/usr/lib/squid/basic_fake_auth"

// startSquid runs Squid with testdata/squid.conf.
func startSquid(t *testing.T) (c *child, dir string, port int) {
	t.Helper()
	path := need(t, "squid")
	if _, err := os.Stat(squidAuthenticator); err != nil {
		t.Skipf("this squid comes without %s", squidAuthenticator)
	}
	for range startTries {
		dir, port := openDir(t), freePort(t)
		names := "127.0.0.1 www.rockets.example desk.rockets.example\n"
		if err := os.WriteFile(filepath.Join(dir, "hosts"), []byte(names), 0o644); err != nil {
			t.Fatal(err)
		}
		config := render(t, dir, "squid.conf", map[string]any{"Port": port, "Dir": dir, "Authenticator": squidAuthenticator})
		if err := os.Chmod(config, 0o644); err != nil {
			t.Fatal(err)
		}
		c := spawn(t, dir, path, "-N", "-f", config)
		if acceptsSoon(t, c, port) {
			return c, dir, port
		}
		t.Logf("squid did not start:\n%s", c.stderr.String())
	}
	t.Fatal("squid does not start")
	return nil, "", 0
}

// openDir is a temporary folder that a server may use which does not stay root.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sallyport-squid-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}
