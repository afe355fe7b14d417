package gateway

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/proxy"
)

func TestProxyLimits(t *testing.T) {
	c, problems := parseConfig("f.yaml", []byte(`
proxy:
  timeouts: {body: 7s, silent: 2m}
  limits:
    connections: 1
    connections_per_client: 2
    tunnels: 3
    tunnels_per_client: 4
    requests_per_second: 5
    rate_exempt: [192.0.2.0/24]
    body: 6MiB
    body_rate: 8
    bandwidth: {staff: 400Mbit/s, guests: 50MB/s, unidentified: 1.5MiB/s}
`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if c.Proxy.MaxConns != 1 || c.Proxy.MaxTunnels != 3 {
		t.Errorf("%+v", c.Proxy)
	}
	got := c.Proxy.Limits.apply(proxy.Config{})
	if got.MaxConnsPerClient != 2 || got.MaxTunnelsPerClient != 4 || got.Rate != 5 || len(got.RateExempt) != 1 ||
		got.MaxBody != 6<<20 || got.MinBodyRate != 8 || got.Timeouts.Body != 7*time.Second || got.Timeouts.Silent != 2*time.Minute {
		t.Errorf("%+v", got)
	}
	for group, want := range map[string]int64{"staff": 50_000_000, "guests": 50_000_000, "unidentified": 1_572_864} {
		if got.Bandwidth[group] != want {
			t.Errorf("%s: %d, want %d", group, got.Bandwidth[group], want)
		}
	}
}

func TestByteRates(t *testing.T) {
	for text, want := range map[string]int64{
		"8kbit/s": 1000, "1 kB/s": 1000, "1KiB/s": 1024, "1Gbit/s": 125_000_000, "2.5GB/s": 2_500_000_000, "800bit/s": 100, "1000B/s": 1000,
		"": -1, "MB/s": -1, "50": -1, "50MB": -1, "50mb/s": -1, "-1MB/s": -1, "1e3B/s": -1, "NaNB/s": -1, "1..2B/s": -1, "99999999999999999B/s": -1,
	} {
		got, ok := parseByteRate(text)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	for text, want := range map[string]string{"fast": "not a rate", "0B/s": "out of bounds", "2000GB/s": "out of bounds"} {
		if _, problems := parseConfig("f.yaml", []byte("proxy: {limits: {bandwidth: {staff: "+text+"}}}\n")); len(problems) != 1 ||
			!strings.HasPrefix(problems[0].String(), "f.yaml:1:") || !strings.Contains(problems[0].Message, want) {
			t.Errorf("%s: %v", text, problems)
		}
	}
}

// A group that is misspelt is found by check.
func TestBandwidthOfNobody(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sallyport.yaml")
	writeFile(t, filepath.Join(dir, "policy.yaml"), "version: 1\ngroups:\n  staff: {networks: [10.0.0.0/8]}\nrules:\n  - {name: one, who: {groups: [staff]}, what: {domains: [one.example]}, action: block}\ndefault: allow\n")
	writeFile(t, path, "proxy:\n  limits:\n    bandwidth:\n      staff: 1MB/s\n      unidentified: 1MB/s\n      stuff: 1MB/s\n")
	c, problems := ReadConfig(path)
	if c == nil || len(problems) > 0 {
		t.Fatal(problems)
	}
	var found []string
	for _, p := range c.LoadPolicy(time.Now()).Problems {
		if strings.Contains(p.Message, "bandwidth") {
			found = append(found, p.String())
		}
	}
	if len(found) != 1 || !strings.HasPrefix(found[0], path+":6:7: warning: ") || !strings.Contains(found[0], `"stuff"`) {
		t.Errorf("found %v", found)
	}
}
