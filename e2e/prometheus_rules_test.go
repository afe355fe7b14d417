package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

const dashboards = "../dashboards"

// sooner is how the durations of rules and alerts are shortened for the tests,
// which have a minute for what takes days: every one that the shipped files use
// must be here. Expressions and thresholds stay as they are.
var sooner = map[string]string{
	"5m": "5s", "10m": "5s", "15m": "5s", "30m": "5s", "1h": "6s", "6h": "7s", "3d": "8s", // windows
	"offset 1h": "offset 8s", "offset 1d": "offset 24s",
	"for": "2s", "keep_firing_for": "1s", "interval": "1s",
}

var (
	ruleTimes    = regexp.MustCompile(`(?m)^( +)(for|keep_firing_for|interval): \w+$`)
	ruleWindows  = regexp.MustCompile(`\[(\w+)\]`)
	ruleOffsets  = regexp.MustCompile(`offset \w+`)
	hasDurations = regexp.MustCompile(`\[\w*[mhd]\]|offset \w*[mhd]\b|(for|interval): \w*[mhd]\b`)
)

// hastened writes a file of dashboards into dir, with durations as in sooner.
func hastened(t *testing.T, dir, name string) string {
	t.Helper()
	text := readFile(t, filepath.Join(dashboards, name))
	replace := func(was string) string {
		becomes, ok := sooner[was]
		if !ok {
			t.Fatalf("%s has the duration %q: say in sooner what becomes of it", name, was)
		}
		return becomes
	}
	text = ruleTimes.ReplaceAllStringFunc(text, func(line string) string {
		m := ruleTimes.FindStringSubmatch(line)
		return m[1] + m[2] + ": " + replace(m[2])
	})
	text = ruleWindows.ReplaceAllStringFunc(text, func(window string) string { return "[" + replace(strings.Trim(window, "[]")) + "]" })
	text = ruleOffsets.ReplaceAllStringFunc(text, replace)
	if left := hasDurations.FindString(text); left != "" {
		t.Fatalf("%s: %q was not shortened", name, left)
	}
	path := filepath.Join(dir, name)
	writeFile(t, path, []byte(text))
	return path
}

// ruleFile is what the tests read of a file of rules.
type ruleFile struct {
	Groups []struct {
		Rules []struct {
			Record, Alert, Expr string
			Labels, Annotations map[string]string
		}
	}
}

func readRules(t *testing.T, name string) ruleFile {
	t.Helper()
	var file ruleFile
	if err := yaml.Unmarshal([]byte(readFile(t, filepath.Join(dashboards, name))), &file); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return file
}

// TestRunbooks holds alerts and runbooks against each other: every alert has a
// page that it links to and that the index knows, every page an alert, and each
// alert is either a page or a ticket.
func TestRunbooks(t *testing.T) {
	const folder = "../docs/runbooks"
	index := readFile(t, filepath.Join(folder, "README.md"))
	alerts := map[string]bool{}
	for _, group := range readRules(t, "alerts.yaml").Groups {
		for _, rule := range group.Rules {
			alerts[rule.Alert] = true
			page := "docs/runbooks/" + rule.Alert + ".md"
			if got, want := rule.Annotations["runbook_url"], "https://github.com/sallyport/sallyport/blob/main/"+page; got != want {
				t.Errorf("%s links to %q, want %q", rule.Alert, got, want)
			}
			if _, err := os.Stat("../" + page); err != nil {
				t.Errorf("%s has no page: %v", rule.Alert, err)
			}
			if !strings.Contains(index, "("+rule.Alert+".md)") {
				t.Errorf("%s is not in the index", rule.Alert)
			}
			if s := rule.Labels["severity"]; s != "page" && s != "ticket" {
				t.Errorf("%s has the severity %q", rule.Alert, s)
			}
			if !strings.HasPrefix(rule.Alert, "Sallyport") || rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
				t.Errorf("%s lacks its prefix, a summary or a description", rule.Alert)
			}
		}
	}
	pages, err := filepath.Glob(filepath.Join(folder, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		name := strings.TrimSuffix(filepath.Base(page), ".md")
		if name != "README" && !alerts[name] {
			t.Errorf("there is no alert of the page %s", page)
		}
	}
	if len(alerts) == 0 {
		t.Error("there are no alerts")
	}
}

// TestAlertTests wants every alert to be in a test of promtool's, once as firing.
func TestAlertTests(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(dashboards, "tests", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	fires := map[string]bool{}
	for _, file := range files {
		var tests struct {
			Tests []struct {
				Alerts []struct {
					Name     string `yaml:"alertname"`
					Expected []any  `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			}
		}
		if err := yaml.Unmarshal([]byte(readFile(t, file)), &tests); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, test := range tests.Tests {
			for _, a := range test.Alerts {
				fires[a.Name] = fires[a.Name] || len(a.Expected) > 0
			}
		}
	}
	for _, group := range readRules(t, "alerts.yaml").Groups {
		for _, rule := range group.Rules {
			if !fires[rule.Alert] {
				t.Errorf("%s fires in no test of %s/tests", rule.Alert, dashboards)
			}
		}
	}
}
