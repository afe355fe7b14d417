package gateway

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/proxy/outbound"
)

// documentedMetric is one row of docs/metrics.md.
type documentedMetric struct{ kind, labels string }

// TestMetricsAreDocumented holds docs/metrics.md against what a gateway
// exports after it has seen a bit of everything: the same names, the same
// types, the same labels, in both directions.
func TestMetricsAreDocumented(t *testing.T) {
	documented := readMetricsPage(t)
	exported := exportedMetrics(t)
	for _, name := range slices.Sorted(maps.Keys(exported)) {
		if exported[name] != documented[name] {
			t.Errorf("%s is exported as %+v and documented as %+v", name, exported[name], documented[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(documented)) {
		if _, ok := exported[name]; !ok {
			t.Errorf("%s is documented and not exported", name)
		}
	}
}

func readMetricsPage(t *testing.T) map[string]documentedMetric {
	t.Helper()
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `(sallyport_[a-z_]+)` \\| ([a-z]+) \\|([^|]*)\\|")
	metrics := map[string]documentedMetric{}
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		labels := strings.FieldsFunc(m[3], func(r rune) bool { return strings.ContainsRune("`, ", r) })
		sort.Strings(labels)
		if _, twice := metrics[m[1]]; twice {
			t.Errorf("%s is documented twice", m[1])
		}
		metrics[m[1]] = documentedMetric{kind: m[2], labels: strings.Join(labels, " ")}
	}
	return metrics
}

// exportedMetrics runs a gateway, sends a bit of everything through it, and
// reads its registry.
func exportedMetrics(t *testing.T) map[string]documentedMetric {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "list.txt"), "listed.example\n")
	server := serveList(t, "fetched.example\n")
	writeFile(t, filepath.Join(dir, "policy.yaml"), `
version: 1
default: allow
lists:
  some: {file: list.txt}
  more: {url: "`+server.URL+`"}
rules:
  - {name: ban, what: {apps: [zoom], lists: [some, more]}, action: block}
  - {name: watch, what: {domains: [watched.example]}, action: monitor}
  - {name: coach, what: {domains: [coached.example]}, action: warn}
exceptions:
  - {name: review, what: {apps: [zoom]}, until: "2099-01-01", reason: review, approved_by: security}
`)
	users := filepath.Join(dir, "users")
	writeFile(t, users, htpasswdLine(t, "alice"))
	files := newDeviceFiles(t)
	g := startWith(t, filepath.Join(dir, "policy.yaml"), func(c *Config, _ *Dependencies) {
		c.DNS.TLS, c.Proxy.TLS = files.endpoint(""), files.endpoint("")
		c.Proxy.UsersFile = users
		c.Proxy.AccessLogs = []AccessLogConfig{{File: filepath.Join(dir, "access.log")}}
		c.Proxy.Parents = []outbound.Parent{{Name: "site", Endpoint: outbound.Endpoint{Scheme: outbound.SchemeHTTP, Host: "192.0.2.1", Port: 3128}}}
		writeAuthority(t, dir, year, "zoom.us")
		c.Proxy.Interception = InterceptionConfig{CA: filepath.Join(dir, "ca.crt"), Key: filepath.Join(dir, "ca.key")}
	})
	for _, name := range []string{"zoom.us", "watched.example", "plain.example"} {
		if _, _, err := queryA(g.addr("dns udp"), name); err != nil {
			t.Fatal(err)
		}
	}
	desk := g.from("127.0.0.1")
	desk.press(desk.warned("coached.example:443"), "")
	conn, _, _ := g.connect("plain.example:" + echoServer(t))
	if err := echo(conn); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()

	families, err := g.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	metrics := map[string]documentedMetric{}
	for _, family := range families {
		if strings.HasPrefix(family.GetName(), "sallyport_") {
			var labels []string
			for _, pair := range family.GetMetric()[0].GetLabel() {
				labels = append(labels, pair.GetName())
			}
			sort.Strings(labels)
			metrics[family.GetName()] = documentedMetric{kind: strings.ToLower(family.GetType().String()), labels: strings.Join(labels, " ")}
		}
	}
	return metrics
}
