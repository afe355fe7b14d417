package e2e

import (
	"crypto/rand"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// blobSize is large enough for many TLS records, windows and relay buffers.
const blobSize = 5 << 20

// originNames are the names of root.zone that the origin has a certificate for.
var originNames = []string{
	"www.rockets.example", "alias.rockets.example", "git.rockets.example", "service.rockets.example",
	"vanity.rockets.example", "alias-form.rockets.example", "svc-form.rockets.example", "hint.rockets.example",
	"zoom.us", "us04web.zoom.us", "zoomlion.com", "zoom.us.evil.example", "notzoom.us", "ocsp.digicert.com",
	"teams.microsoft.com", "meet.google.com", "cloudflare-dns.com",
}

// origin is nginx, for every name of the tests' internet.
type origin struct {
	http, https int // ports
	dir         string
	certificates
}

func startNginx(t *testing.T) *origin {
	t.Helper()
	path := need(t, "nginx")
	for range startTries {
		o := &origin{http: freePort(t), https: freePort(t), dir: t.TempDir()}
		o.certificates = certify(t, o.dir, originNames)
		site := filepath.Join(o.dir, "site")
		copyTree(t, site, os.DirFS("testdata/site"))
		blob := make([]byte, blobSize)
		_, _ = rand.Read(blob) // never fails
		writeFile(t, filepath.Join(site, "blob.bin"), blob)
		config := render(t, o.dir, "nginx.conf", map[string]any{"HTTP": o.http, "HTTPS": o.https, "Dir": o.dir})
		c := spawn(t, o.dir, path, "-p", o.dir, "-c", config, "-e", "stderr")
		if acceptsSoon(t, c, o.http, o.https) {
			return o
		}
		t.Logf("nginx did not start:\n%s", c.stderr.String())
	}
	t.Fatal("nginx does not start")
	return nil
}

func acceptsSoon(t *testing.T, c *child, ports ...int) bool {
	t.Helper()
	var ended bool
	eventually(t, "nginx listens", func() error {
		if ended = !c.running(); ended {
			return nil
		}
		for _, port := range ports {
			conn, err := net.DialTimeout("tcp", loopback(port), time.Second)
			if err != nil {
				return err
			}
			conn.Close()
		}
		return nil
	})
	return !ended
}

// url is where a page of the site is, by scheme and name.
func (o *origin) url(scheme, name, path string) string {
	port := o.http
	if scheme == "https" {
		port = o.https
	}
	return scheme + "://" + name + ":" + strconv.Itoa(port) + path
}

// requests counts what nginx has been asked for, as its own log says.
func (o *origin) requests(t *testing.T) int {
	t.Helper()
	return strings.Count(readFile(t, filepath.Join(o.dir, "access.log")), "\n")
}
