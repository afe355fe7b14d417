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

// startAlertmanager runs one that notifies soon.
func startAlertmanager(t *testing.T) *pager {
	t.Helper()
	path := need(t, "prometheus-alertmanager")
	a := &pager{firing: map[string][]string{}, ended: map[string][]string{}}
	receiver := httptest.NewServer(http.HandlerFunc(a.receive))
	t.Cleanup(receiver.Close)
	text := readFile(t, filepath.Join(dashboards, "alertmanager.yaml"))
	text = changed(t, text, "http://127.0.0.1:9095/page", receiver.URL+"/page")
	text = changed(t, text, "http://127.0.0.1:9095/ticket", receiver.URL+"/ticket")
	// Long enough for what follows to fire before what it follows from is told:
	// the rules see the one a round or two before the other.
	text = changed(t, text, "group_wait: 30s", "group_wait: 4s")
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

// wantTold wants somebody to have been told that an alert fires, which takes until
// its group has waited.
func (a *pager) wantTold(t *testing.T, receiver, name string) {
	t.Helper()
	eventually(t, name+" is told", func() error {
		a.mu.Lock()
		defer a.mu.Unlock()
		if !slices.Contains(a.firing[receiver], name) {
			return fmt.Errorf("told to %s: %q", receiver, a.firing[receiver])
		}
		return nil
	})
}

// wantEnded wants the end of an alert to have been told, too.
func (a *pager) wantEnded(t *testing.T, receiver, name string) {
	t.Helper()
	eventually(t, "the end of "+name+" is told", func() error {
		a.mu.Lock()
		defer a.mu.Unlock()
		if !slices.Contains(a.ended[receiver], name) {
			return fmt.Errorf("told to %s of the end: %q", receiver, a.ended[receiver])
		}
		return nil
	})
}

// wantUntold wants nothing to have been said of what follows from something else.
func (a *pager) wantUntold(t *testing.T, names []string) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, name := range names {
		if slices.Contains(a.firing["ticket"], name) {
			t.Errorf("%s was told, and follows from something else", name)
		}
	}
}
