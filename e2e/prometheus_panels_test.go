package e2e

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// silentPanels are the queries that show nothing here, and rightly so: by
// dashboard and panel, or query, why.
var silentPanels = map[string]string{
	`doors: sum(rate(sallyport_dns_receive_drops_total{job=~".*",instance=~".*"}[5s])) > 0`:             "the kernel drops no packet for a test",
	`doors: sum(rate(sallyport_dns_unsent_total{job=~".*",instance=~".*"}[5s])) > 0`:                    "the kernel sends every reply on loopback",
	`fleet: sum by (result) (increase(sallyport_list_fetches_total{job=~".*",instance=~".*"}[5s])) > 0`: "a list is fetched once a minute at most",
}

// leftover is a variable of Grafana's; $1 is a part of a label_replace.
var leftover = regexp.MustCompile(`\$[{\[_a-z]`)

// variables are what Grafana puts into queries: everything, and windows that fit
// a test of a minute.
var variables = strings.NewReplacer(
	"$__rate_interval", "5s", "$__interval", "2s", "$__range", "1m",
	"$job", ".*", "$instance", ".*", "$door", ".*", "$group", ".*", "$app", ".*",
)

// wantRecorded wants every recording rule to have recorded something.
func wantRecorded(t *testing.T, p *prometheusServer) {
	seen := 0
	for _, group := range readRules(t, "rules.yaml").Groups {
		for _, rule := range group.Rules {
			seen++
			lines, err := p.graph(`{__name__="` + rule.Record + `"}`)
			if err != nil || !drawn(lines) {
				t.Errorf("%s: %d series without a number: %v", rule.Record, len(lines), err)
			}
		}
	}
	if seen == 0 {
		t.Error("there are no recording rules")
	}
}

// panel is what the tests read of a panel of a dashboard.
type panel struct {
	Title   string
	Targets []struct{ Expr string }
	Panels  []panel // of a row
}

// wantPanels runs every query of every dashboard.
func wantPanels(t *testing.T, p *prometheusServer) {
	files, err := filepath.Glob(filepath.Join(dashboards, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Error("there are no dashboards")
	}
	used := map[string]bool{}
	for _, file := range files {
		var board struct {
			Panels      []panel
			Annotations struct {
				List []struct {
					Name   string
					Target struct{ Expr string }
				}
			}
		}
		if err := json.Unmarshal([]byte(readFile(t, file)), &board); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		for _, one := range board.Panels {
			one.want(t, p, name, used)
		}
		// What an annotation marks need not have happened.
		for _, one := range board.Annotations.List {
			if one.Target.Expr == "" {
				continue
			}
			if _, err := p.graph(variables.Replace(one.Target.Expr)); err != nil {
				t.Errorf("%s, annotation %q: %v", name, one.Name, err)
			}
		}
	}
	for key, why := range silentPanels {
		if !used[key] {
			t.Errorf("%s is said to show nothing (%s), and shows something or does not exist", key, why)
		}
	}
}

// want wants every query of the panel to show something, but for the silent ones.
func (one panel) want(t *testing.T, p *prometheusServer, board string, used map[string]bool) {
	t.Helper()
	for _, inner := range one.Panels {
		inner.want(t, p, board, used)
	}
	for _, target := range one.Targets {
		query := variables.Replace(target.Expr)
		if leftover.MatchString(query) {
			t.Errorf("%s, %q: a variable that this test does not know: %s", board, one.Title, query)
			continue
		}
		lines, err := p.graph(query)
		if err != nil {
			t.Errorf("%s, %q: %v", board, one.Title, err)
			continue
		}
		if drawn(lines) {
			continue
		}
		key := board + ": " + query
		if silentPanels[key] != "" {
			used[key] = true
			continue
		}
		t.Errorf("%s, %q shows nothing: %s", board, one.Title, query)
	}
}
