package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// setting fills in testdata/sallyport.yaml. Ports of 0 are free ones.
type setting struct {
	DNSPort, ProxyPort int
	Upstream           int
	Users              string // htpasswd file; empty: nobody can sign in
	Remember           string // how long a user seen at the proxy is known at the DNS door
}

// gateway is the binary, running.
type gateway struct {
	*child
	dir                       string // its configuration, policy and decision log
	dns, proxy, admin, portal string // host:port
}

// configure writes a configuration and a policy into a new folder.
func configure(t *testing.T, s setting, policy string) (dir, config string) {
	t.Helper()
	dir = t.TempDir()
	writeFile(t, filepath.Join(dir, "policy.yaml"), []byte(policy))
	return dir, render(t, dir, "sallyport.yaml", s)
}

// startGateway runs the binary and returns once it says that it is ready.
func startGateway(t *testing.T, s setting, policy string) *gateway {
	t.Helper()
	binary := sallyport(t)
	dir, config := configure(t, s, policy)
	g := &gateway{dir: dir, child: spawn(t, dir, binary, "serve", "--config", config)}
	g.waitReady(t)
	return g
}

func (g *gateway) waitReady(t *testing.T) {
	t.Helper()
	eventually(t, "the gateway says ready", func() error {
		if !g.running() {
			t.Fatalf("the gateway ended: %s", g.stderr.String())
		}
		if !strings.HasSuffix(g.stdout.String(), "\nready\n") {
			return fmt.Errorf("standard output is %q", g.stdout.String())
		}
		return nil
	})
	addresses := g.printed()
	g.dns, g.proxy = addresses["dns udp"], addresses["proxy http"]
	g.admin, g.portal = addresses["admin http"], addresses["portal http"]
	if addresses["dns tcp"] != g.dns {
		t.Fatalf("DNS listens on %s for UDP and on %s for TCP", g.dns, addresses["dns tcp"])
	}
}

// printed reads the address lines of standard output: name to address.
func (g *gateway) printed() map[string]string {
	addresses := map[string]string{}
	for line := range strings.Lines(g.stdout.String()) {
		line = strings.TrimSuffix(line, "\n")
		if at := strings.LastIndexByte(line, ' '); at > 0 {
			addresses[line[:at]] = line[at+1:]
		}
	}
	return addresses
}

// get asks the admin listener.
func (g *gateway) get(t *testing.T, path string) (int, string) {
	t.Helper()
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + g.admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// metric gives the sum of the samples of a metric whose labels include all of
// the given ones, written as Prometheus writes them: `door="dns"`.
func (g *gateway) metric(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	_, text := g.get(t, "/metrics")
	var sum float64
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), name)
		if !ok || (rest[0] != '{' && rest[0] != ' ') {
			continue
		}
		if hasAll(rest, labels) {
			var value float64
			if _, err := fmt.Sscan(rest[strings.LastIndexByte(rest, ' ')+1:], &value); err != nil {
				t.Fatalf("metric line %q: %v", line, err)
			}
			sum += value
		}
	}
	return sum
}

// wantMetric waits for metric to give want: what a client has seen is counted a
// moment later.
func (g *gateway) wantMetric(t *testing.T, want float64, name string, labels ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s%v is %v", name, labels, want), func() error {
		if got := g.metric(t, name, labels...); got != want {
			return fmt.Errorf("it is %v", got)
		}
		return nil
	})
}

func hasAll(sample string, labels []string) bool {
	for _, label := range labels {
		if !strings.Contains(sample, label) {
			return false
		}
	}
	return true
}

// entry is what the tests read of a line of the decision log.
type entry struct {
	ID, Tenant, Revision, Door, Transport string
	Client, User, Identity                string
	Host, QType, App, Rule, Action        string
	Reason, Event                         string
	Time                                  time.Time
	ClosedBy                              string `json:"closed_by"`
	BytesUp                               int64  `json:"bytes_up"`
	BytesDown                             int64  `json:"bytes_down"`
}

// decisions reads the decision log as it is now: every whole line.
func (g *gateway) decisions(t *testing.T) []entry {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(g.dir, "decisions.jsonl"))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var entries []entry
	for line := range strings.Lines(string(data)) {
		if !strings.HasSuffix(line, "\n") {
			break
		}
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("decision log line %q: %v", line, err)
		}
		entries = append(entries, e)
	}
	return entries
}

// logged waits for a decision that fits, and gives it.
func (g *gateway) logged(t *testing.T, what string, fits func(entry) bool) entry {
	t.Helper()
	var found entry
	eventually(t, "the decision log has "+what, func() error {
		for _, e := range g.decisions(t) {
			if fits(e) {
				found = e
				return nil
			}
		}
		return fmt.Errorf("not among %d entries", len(g.decisions(t)))
	})
	return found
}

// rewrite changes the policy as an editor does: a new file, renamed over it.
func (g *gateway) rewrite(t *testing.T, policy string) {
	t.Helper()
	path := filepath.Join(g.dir, "policy.yaml")
	writeFile(t, path+".new", []byte(policy))
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
