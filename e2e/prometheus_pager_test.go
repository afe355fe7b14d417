package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// pager is a real Alertmanager with the routes and inhibitions as shipped, and
// what it notifies of.
type pager struct {
	*child
	address string

	mu     sync.Mutex
	firing map[string][]string // by receiver, what was ever told of
	ended  map[string][]string
}

// startAlertmanager runs one that notifies at once.
func startAlertmanager(t *testing.T) *pager {
	t.Helper()
	path := need(t, "prometheus-alertmanager")
	a := &pager{firing: map[string][]string{}, ended: map[string][]string{}}
	receiver := httptest.NewServer(http.HandlerFunc(a.receive))
	t.Cleanup(receiver.Close)
	text := readFile(t, filepath.Join(dashboards, "alertmanager.yaml"))
	text = changed(t, text, "http://127.0.0.1:9095/page", receiver.URL+"/page")
	text = changed(t, text, "http://127.0.0.1:9095/ticket", receiver.URL+"/ticket")
	text = changed(t, text, "group_wait: 30s", "group_wait: 500ms")
	text = changed(t, text, "group_interval: 5m", "group_interval: 1s")
	for range startTries {
		dir, port := t.TempDir(), freePort(t)
		config := filepath.Join(dir, "alertmanager.yaml")
		writeFile(t, config, []byte(text))
		a.address = loopback(port)
		a.child = spawn(t, dir, path, "--config.file="+config, "--storage.path="+dir,
			"--web.listen-address="+a.address, "--cluster.listen-address=")
		if acceptsSoon(t, a.child, port) {
			return a
		}
		t.Logf("Alertmanager did not start on port %d:\n%s", port, a.stderr.String())
	}
	t.Fatal("Alertmanager does not start")
	return nil
}

// receive is the webhook of both receivers.
func (a *pager) receive(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Alerts []struct {
			Status string
			Labels map[string]string
		}
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	receiver := r.URL.Path[1:]
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, one := range body.Alerts {
		name := alert{Labels: one.Labels}.String()
		told := a.firing
		if one.Status == "resolved" {
			told = a.ended
		}
		if !slices.Contains(told[receiver], name) {
			told[receiver] = append(told[receiver], name)
		}
	}
}

// wantNotified wants pages to have gone to the one receiver and tickets to the
// other, the end of each to have been told too, and nothing to have been said of
// what follows from something else.
func (a *pager) wantNotified(t *testing.T) {
	t.Helper()
	for _, want := range [][2]string{
		{"page", "SallyportCertificateExpiring page a tls"},
		{"page", "SallyportBlocksGone page dns"},
		{"ticket", "SallyportPolicyReloadFailing ticket a"},
		{"ticket", "SallyportPolicyBehind ticket b"},
		{"ticket", "SallyportListStale ticket b partners"},
	} {
		eventually(t, want[1]+" is told", func() error {
			a.mu.Lock()
			defer a.mu.Unlock()
			if !slices.Contains(a.firing[want[0]], want[1]) || !slices.Contains(a.ended[want[0]], want[1]) {
				return fmt.Errorf("told to %s: %q, and of the end: %q", want[0], a.firing[want[0]], a.ended[want[0]])
			}
			return nil
		})
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, inhibited := range []string{
		"SallyportCertificateExpiring ticket a tls", // there is a page of it
		"SallyportPolicyRevisionsDiffer ticket",     // b is behind
		"SallyportAppBlocksGone ticket zoom",        // the door refuses nothing at all
	} {
		if slices.Contains(a.firing["ticket"], inhibited) {
			t.Errorf("%s was told, and follows from something else", inhibited)
		}
	}
}
