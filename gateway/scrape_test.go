package gateway

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/policy"
)

// What a big fleet's policy has, and how big its scrape may be.
const (
	scrapeRules  = 1000
	scrapeGroups = 100
	maxScrape    = 2 << 20
)

// busyGateway is one with that many rules, each of which has refused somebody of
// its group at both doors, by the verdict of the engine itself. It does not listen.
func busyGateway(t testing.TB) *Gateway {
	t.Helper()
	var text strings.Builder
	text.WriteString("version: 1\ndefault: allow\ngroups:\n")
	for i := range scrapeGroups {
		fmt.Fprintf(&text, "  department-%d: {networks: [10.%d.0.0/16]}\n", i, i)
	}
	text.WriteString("rules:\n")
	for i := range scrapeRules {
		fmt.Fprintf(&text, "  - {name: rule-number-%d, who: {groups: [department-%d]}, what: {domains: [d%d.example]}, action: block}\n", i, i%scrapeGroups, i)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	config := DefaultConfig()
	config.Policy, config.State, config.Audit.File = path, filepath.Join(dir, "state"), filepath.Join(dir, "decisions.jsonl")
	config.DNS.Upstreams = []string{"udp://127.0.0.1:9"}
	g, err := New(config, Dependencies{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Shutdown(t.Context()) })
	for i := range scrapeRules {
		subject := g.identity.ByAddr(netip.AddrFrom4([4]byte{10, byte(i % scrapeGroups), 0, 7}))
		host, err := policy.ParseHost(fmt.Sprintf("d%d.example", i))
		if err != nil {
			t.Fatal(err)
		}
		for _, door := range policy.Doors() {
			request := policy.Request{Subject: subject, Door: door, Host: host, Port: 443, At: g.deps.Now()}
			verdict := g.engine.Decide(&request)
			if verdict.RuleName() != fmt.Sprintf("rule-number-%d", i) {
				t.Fatalf("rule %s decides %s", verdict.RuleName(), host)
			}
			g.audit.Record(&policy.Decision{Door: door, Subject: subject, Host: host, Verdict: verdict})
		}
	}
	return g
}

// scrape is the body of one scrape without compression.
func scrape(g *Gateway) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	g.metricsHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w
}

// TestScrapeStaysSmall bounds what Prometheus fetches every time.
func TestScrapeStaysSmall(t *testing.T) {
	w := scrape(busyGateway(t))
	if n := strings.Count(w.Body.String(), "\nsallyport_decisions_total{"); n != 2*scrapeRules {
		t.Errorf("%d series of decisions, want %d", n, 2*scrapeRules)
	}
	if n := w.Body.Len(); n > maxScrape {
		t.Errorf("a scrape has %d bytes, more than %d", n, maxScrape)
	}
}

// BenchmarkScrape is the time of one scrape.
func BenchmarkScrape(b *testing.B) {
	g := busyGateway(b)
	size := scrape(g).Body.Len()
	b.ReportAllocs()
	for b.Loop() {
		scrape(g)
	}
	b.ReportMetric(float64(size), "body-bytes")
}
