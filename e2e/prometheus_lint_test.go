package e2e

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/sallyport/sallyport/internal/testpki"
)

// TestMetricsLint has promtool look at what a gateway exports in which
// everything is switched on, with the settings that promcheck uses too: it finds
// nothing to say.
func TestMetricsLint(t *testing.T) {
	promtool := need(t, "promtool")
	g := startFull(t)
	for _, name := range []string{"zoom.us.", "rehearsed.example.", "plain.example."} {
		if _, err := ask(g.dns, name, dnsmessage.TypeA, patience); err != nil {
			t.Fatal(err)
		}
	}
	proxied := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: g.proxy})}
	defer proxied.CloseIdleConnections()
	for _, page := range []string{"http://zoom.us/", "http://coached.example/", "http://rehearsed.example:1/"} {
		response, err := (&http.Client{Transport: proxied, Timeout: patience}).Get(page)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
	}
	var metrics string
	eventually(t, "what was asked is counted, and the list is there", func() error {
		_, metrics = g.get(t, "/metrics")
		for _, want := range []string{
			`sallyport_decisions_total{action="block",app="zoom",door="proxy"`, `sallyport_would_block_total{`,
			`sallyport_dns_query_duration_seconds_bucket{`, `sallyport_proxy_answer_duration_seconds_bucket{`,
			`sallyport_list_fetches_total{list="fetched",result="fresh"} 1`, `sallyport_identity_source_up{source="users"} 1`,
		} {
			if !strings.Contains(metrics, want) {
				return fmt.Errorf("no %s", want)
			}
		}
		return nil
	})
	if said := lint(t, promtool, metrics); said != "" {
		t.Errorf("promtool check metrics says:\n%s", said)
	}
	if said := lint(t, promtool, metrics+"# TYPE sallyport_bad counter\nsallyport_bad 1\n"); !strings.Contains(said, "sallyport_bad") {
		t.Errorf("promtool finds nothing wrong with a counter without _total and help: %q", said)
	}
}

// lint is what promtool has to say of metrics.
func lint(t *testing.T, promtool, metrics string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(metrics)
	said, err := cmd.CombinedOutput()
	if err != nil && len(said) == 0 {
		t.Fatal(err)
	}
	return string(said)
}

// fill writes a template of promcheck's, filled in, and gives its path.
func fill(t *testing.T, dir, name, value string) string {
	t.Helper()
	parsed, err := template.ParseFiles(filepath.Join("..", "dashboards", "promcheck", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := parsed.Execute(&text, value); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	writeFile(t, path, text.Bytes())
	return path
}

// startFull runs a gateway with the settings of dashboards/promcheck.
func startFull(t *testing.T) *gateway {
	t.Helper()
	binary := sallyport(t)
	list := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "fetched.example") }))
	t.Cleanup(list.Close)
	dir := t.TempDir()
	config := fill(t, dir, "sallyport.yaml", fmt.Sprintf("127.0.0.1:%d", freePort(t))) // where nobody answers
	fill(t, dir, "policy.yaml", list.URL)
	certificate, key := testpki.New(t, "lint").Sign(t, x509.Certificate{DNSNames: []string{"gate.example"}, NotAfter: time.Now().Add(time.Hour)})
	writeFile(t, filepath.Join(dir, "server.crt"), certificate)
	writeFile(t, filepath.Join(dir, "server.key"), key)
	writeFile(t, filepath.Join(dir, "kept.txt"), []byte("kept.example\n"))
	writeFile(t, filepath.Join(dir, "users.htpasswd"), []byte(htpasswd(t, "priya", "orbit")))
	if made := run(t, dir, binary, "ca", "init", "--certificate", "ca.crt", "--key", "ca.key", "--permit", "zoom.us"); made.code != 0 {
		t.Fatalf("make an authority: %s", made.stderr)
	}
	g := &gateway{dir: dir, child: spawn(t, dir, binary, "serve", "--config", config)}
	g.waitReady(t)
	return g
}
