package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// prometheusServer is a real Prometheus, running.
type prometheusServer struct {
	*child
	address string
	began   time.Time
}

// startPrometheus scrapes the targets once a second, by the name that each is
// given, and loads the rule files. Alerts go to alertmanager, where there is one.
func startPrometheus(t *testing.T, targets map[string]string, rules []string, alertmanager string) *prometheusServer {
	t.Helper()
	path := need(t, "prometheus")
	for range startTries {
		dir, port := t.TempDir(), freePort(t)
		config := filepath.Join(dir, "prometheus.yml")
		writeFile(t, config, []byte(prometheusConfig(targets, rules, alertmanager)))
		p := &prometheusServer{address: loopback(port), began: time.Now()}
		p.child = spawn(t, dir, path, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
			"--web.listen-address="+p.address, "--log.level=warn")
		if p.ready(t) {
			return p
		}
		t.Logf("Prometheus did not start on port %d:\n%s", port, p.stderr.String())
	}
	t.Fatal("Prometheus does not start")
	return nil
}

func prometheusConfig(targets map[string]string, rules []string, alertmanager string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "global: {scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s}\nrule_files: [%s]\n", strings.Join(rules, ", "))
	if alertmanager != "" {
		fmt.Fprintf(&text, "alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}\n", alertmanager)
	}
	text.WriteString("scrape_configs:\n- job_name: sallyport\n  static_configs:\n")
	for name, address := range targets {
		fmt.Fprintf(&text, "  - {targets: [%q], labels: {instance: %q}}\n", address, name)
	}
	return text.String()
}

// ready waits until Prometheus serves. It reports false where it has ended.
func (p *prometheusServer) ready(t *testing.T) bool {
	t.Helper()
	var ended bool
	eventually(t, "Prometheus is ready", func() error {
		if ended = !p.running(); ended {
			return nil
		}
		client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := client.Get("http://" + p.address + "/-/ready")
		if err != nil {
			return err
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("status %s", response.Status)
		}
		return nil
	})
	return !ended
}

// get asks Prometheus' API and fills data in.
func (p *prometheusServer) get(path string, query url.Values, data any) error {
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + p.address + path + "?" + query.Encode())
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("%s: %w in %.200s", path, err, body)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s %v: %s", path, query, answer.Error)
	}
	return nil
}

// alert is an alert as Prometheus tells of it.
type alert struct {
	Labels, Annotations map[string]string
	State               string
}

// String is the alert's name, and the values of the labels that tell one from
// the other here.
func (a alert) String() string {
	words := []string{a.Labels["alertname"]}
	for _, label := range []string{"severity", "instance", "door", "app", "list", "source", "transport", "format"} {
		if value := a.Labels[label]; value != "" {
			words = append(words, value)
		}
	}
	return strings.Join(words, " ")
}

// alerts gives what is pending or firing.
func (p *prometheusServer) alerts(t *testing.T) []alert {
	t.Helper()
	var data struct{ Alerts []alert }
	if err := p.get("/api/v1/alerts", nil, &data); err != nil {
		t.Fatal(err)
	}
	return data.Alerts
}

// series is one line of a graph.
type series struct {
	Metric map[string]string
	Values [][2]any // time, and the value as text
}

// graph runs a query for every second since Prometheus began, as a dashboard
// would.
func (p *prometheusServer) graph(query string) ([]series, error) {
	var data struct{ Result []series }
	at := func(when time.Time) string { return strconv.FormatFloat(float64(when.UnixMilli())/1000, 'f', 3, 64) }
	err := p.get("/api/v1/query_range", url.Values{
		"query": {query}, "start": {at(p.began)}, "end": {at(time.Now())}, "step": {"1"},
	}, &data)
	return data.Result, err
}

// drawn reports whether a graph shows anything: a value that is a number.
func drawn(lines []series) bool {
	for _, line := range lines {
		for _, point := range line.Values {
			if text, ok := point[1].(string); ok && text != "NaN" {
				return true
			}
		}
	}
	return false
}
