package e2e

import (
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// TestStops sends SIGTERM to a gateway at work, and compares what it printed
// at the start with what it listened on.
func TestStops(t *testing.T) {
	sallyport(t)
	site := startNginx(t)
	g := startGateway(t, setting{Upstream: 9}, readFile(t, "testdata/policy.yaml"))

	var names []string
	for line := range strings.Lines(g.stdout.String()) {
		line = strings.TrimSuffix(line, "\n")
		if at := strings.LastIndexByte(line, ' '); at > 0 {
			line = line[:at]
		}
		names = append(names, line)
	}
	if got, want := strings.Join(names, ", "), "dns udp, dns tcp, proxy http, admin http, portal http, ready"; got != want {
		t.Errorf("standard output names %s, want %s", got, want)
	}
	_, status := g.get(t, "/api/v1/status")
	if !json.Valid([]byte(status)) {
		t.Errorf("/api/v1/status is not JSON: %s", status)
	}
	for name, address := range g.printed() {
		if !strings.Contains(status, address) {
			t.Errorf("/api/v1/status does not tell the address of %s, %s:\n%s", name, address, status)
		}
	}
	if code, body := g.get(t, "/healthz"); code != 200 {
		t.Errorf("/healthz: %d %s", code, body)
	}
	if code, body := g.get(t, "/readyz"); code != 200 {
		t.Errorf("/readyz: %d %s", code, body)
	}

	tunnel := openTunnel(t, g, "127.0.0.1", site.https)
	g.wantMetric(t, 1, "sallyport_proxy_tunnels")
	began := time.Now()
	if code := g.stop(t); code != 0 {
		t.Errorf("exit status %d after SIGTERM, want 0\n%s", code, g.stderr.String())
	}
	t.Logf("stopped in %v with a tunnel open and a drain of 2 s", time.Since(began).Round(time.Millisecond))
	tunnel.wantClosed(t)
	for _, address := range []string{g.dns, g.proxy, g.admin, g.portal} {
		if err := closed(address); err != nil {
			t.Error(err)
		}
	}
	g.logged(t, "the tunnel's closing entry", func(e entry) bool { return e.ClosedBy == "shutdown" })
}

// closed says whether nobody listens at a TCP address any more.
func closed(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return nil
	}
	conn.Close()
	return errors.New(addr + " still accepts connections")
}
