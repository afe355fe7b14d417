package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

const exported = `
# TYPE sallyport_decisions_total counter
sallyport_decisions_total{door="dns",action="block",app="zoom",rule="ban",group="all"} 1
sallyport_decisions_total{door="proxy",action="allow",app="none",rule="default",group="all"} 1
# TYPE sallyport_proxy_tunnels gauge
sallyport_proxy_tunnels 1
# TYPE sallyport_policy_reloads_total counter
sallyport_policy_reloads_total{result="success"} 1
# TYPE sallyport_dns_query_duration_seconds histogram
sallyport_dns_query_duration_seconds_bucket{outcome="hit",le="0.1"} 1
sallyport_dns_query_duration_seconds_bucket{outcome="hit",le="+Inf"} 1
sallyport_dns_query_duration_seconds_sum{outcome="hit"} 1
sallyport_dns_query_duration_seconds_count{outcome="hit"} 1
`

const metricsRows = "| `sallyport_decisions_total` | counter | `door`, `action`, `app`, `rule`, `group` | Decisions. |\n" +
	"| `sallyport_proxy_tunnels` | gauge | | Tunnels. |\n" +
	"| `sallyport_policy_reloads_total` | counter | `result` | Attempts: `success`, `failure`. |\n" +
	"| `sallyport_dns_query_duration_seconds` | histogram | `outcome` | `blocked`, `hit`. |\n"

func newChecker(t *testing.T, rows string) *checker {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(exported))
	if err != nil {
		t.Fatal(err)
	}
	page, err := readMetricsPage(write(t, "metrics.md", rows))
	if err != nil {
		t.Fatal(err)
	}
	c := &checker{known: newKnowledge(families, page)}
	c.comparePage(page)
	return c
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// wants compares what was complained of: one complaint that has want in it, or
// none where that is empty.
func (c *checker) wants(t *testing.T, want string) {
	t.Helper()
	all := strings.Join(c.problems, "\n")
	if want == "" && all != "" || want != "" && !strings.Contains(all, want) {
		t.Errorf("complaints %q, want %q", all, want)
	}
}

// TestQueries has every mistake that is looked for, each beside what is right.
func TestQueries(t *testing.T) {
	for _, tc := range []struct{ query, want string }{
		{`sum by (door, app) (rate(sallyport_decisions_total{action="block"}[5m]))`, ""},
		{`sallyport_decisions_total{action=~"$action", job=~"$job", instance="a"}`, ""},
		{`sum by (door) (rate(sallyport_decision_total[5m]))`, "sallyport_decision_total is exported by nobody"},
		{`nothing:recorded:rate5m`, "recorded by no rule"},
		{`sallyport_decisions_total{doors="dns"}`, `no label "doors"`},
		{`sallyport_decisions_total{door="dsn"}`, `never "dsn"`},
		{`sallyport_decisions_total{door=~"dns|dsn"}`, `never "dsn"`},
		{`sallyport_decisions_total{door!="dsn"}`, `never "dsn"`},
		{`sallyport_decisions_total{door=~"d.*"}`, ""},
		{`sallyport_decisions_total{door=~"x.*"}`, "fits"},
		{`sallyport_decisions_total{app="whatever"}`, ""},
		{`sallyport_policy_reloads_total{result="failure"}`, ""}, // which the page alone knows
		{`sallyport_policy_reloads_total{result="failed"}`, `never "failed"`},
		{`rate(sallyport_proxy_tunnels[5m])`, "rate of sallyport_proxy_tunnels, which is a gauge"},
		{`delta(sallyport_decisions_total[5m])`, "which is a counter"},
		{`deriv(sallyport_proxy_tunnels[5m])`, ""},
		{`sum by (doors) (sallyport_decisions_total)`, `groups by the label "doors"`},
		{`sum without (doors) (sallyport_decisions_total)`, `groups by the label "doors"`},
		{`sum by (app) (sum by (door) (sallyport_decisions_total))`, `groups by the label "app"`},
		{`sallyport_dns_query_duration_seconds > 1`, "is a histogram"},
		{`rate(sallyport_dns_query_duration_seconds_count[5m])`, ""},
		{`histogram_quantile(0.9, sum by (le) (rate(sallyport_dns_query_duration_seconds_bucket[5m])))`, ""},
		{`histogram_quantile(0.9, sum by (outcome) (rate(sallyport_dns_query_duration_seconds_bucket[5m])))`, "no label le"},
		{`histogram_quantile(0.9, rate(sallyport_dns_query_duration_seconds_sum[5m]))`, "no buckets"},
		{`sallyport_decisions_total / on (result) sallyport_proxy_tunnels`, `"result", which neither side has`},
		{`sallyport_decisions_total / ignoring (action, door, app, rule, group) group_left sallyport_proxy_tunnels`, ""},
		{`sallyport_decisions_total * on (instance) group_left (result) sallyport_proxy_tunnels`, `takes the label "result"`},
		{`label_replace(sallyport_proxy_tunnels, "x", "$1", "door", ".*")`, `from the label "door"`},
		{`sum by (door) (label_replace(sallyport_proxy_tunnels, "door", "proxy", "", ""))`, ""},
		{`sum by (door (sallyport_decisions_total)`, "cannot be read"},
		{`up{job="sallyport"} == 0`, ""},
	} {
		c := newChecker(t, metricsRows)
		c.query(tc.query)
		if c.wants(t, tc.want); t.Failed() {
			t.Fatal(tc.query)
		}
	}
}

// TestMetricsPage changes one thing of each row.
func TestMetricsPage(t *testing.T) {
	newChecker(t, metricsRows).wants(t, "")
	for _, tc := range []struct{ old, new, want string }{
		{"| gauge |", "| counter |", "documented as a counter, and exported as a gauge"},
		{"`door`, ", "", "labels"},
		{"sallyport_proxy_tunnels", "sallyport_proxy_tunnel", "sallyport_proxy_tunnels is exported and has no row"},
		{"sallyport_proxy_tunnels", "sallyport_proxy_tunnel", "sallyport_proxy_tunnel: it is not exported"},
		{"histogram", "gauge", "not exported"},
	} {
		newChecker(t, strings.Replace(metricsRows, tc.old, tc.new, 1)).wants(t, tc.want)
	}
}

func TestRules(t *testing.T) {
	const good = `groups:
  - name: one
    rules:
      - record: door:sallyport_decisions:rate5m
        expr: sum by (job, door) (rate(sallyport_decisions_total[5m]))
      - alert: SallyportOne
        expr: sum by (door) (door:sallyport_decisions:rate5m) > 1
        labels: {severity: ticket}
        annotations: {summary: "{{ $labels.door }} {{ $labels.severity }}"}
`
	for _, tc := range []struct{ old, new, want string }{
		{"", "", ""},
		{"{{ $labels.door }}", "{{ $labels.app }}", `the label "app"`},
		{"sum by (door) (door", "sum by (app) (door", `groups by the label "app"`},
		{"(door:sallyport_decisions:rate5m)", "(door:sallyport_decisions:rate1m)", "recorded by no rule"},
		{"record: door:sallyport_decisions:rate5m", "record: sallyport_decisions", "write level:metric:operations"},
		{"(door:sallyport_decisions:rate5m)", "(rate(door:sallyport_decisions:rate5m[5m]))", "rate of door:sallyport_decisions:rate5m"},
	} {
		c := newChecker(t, metricsRows)
		if err := c.rules(write(t, "rules.yaml", strings.Replace(good, tc.old, tc.new, 1))); err != nil {
			t.Fatal(err)
		}
		c.wants(t, tc.want)
	}
	if err := newChecker(t, metricsRows).rules(write(t, "rules.yaml", strings.Replace(good, "labels:", "label:", 1))); err == nil {
		t.Error("a key that is none is taken")
	}
}

func TestCases(t *testing.T) {
	const good = `rule_files: [rules.yaml]
tests:
  - name: one
    input_series:
      - {series: 'sallyport_decisions_total{job="sallyport", door="dns"}', values: '1x4'}
    promql_expr_test:
      - {expr: 'ALERTS{alertstate="firing"}', eval_time: 1m}
`
	for _, tc := range []struct{ old, new, want string }{
		{"", "", ""},
		{`door="dns"`, `door="dsn"`, `never "dsn"`},
		{`alertstate="firing"`, `alertstate="fired"`, `never "fired"`},
	} {
		c := newChecker(t, metricsRows)
		if err := c.cases(write(t, "cases.yaml", strings.Replace(good, tc.old, tc.new, 1))); err != nil {
			t.Fatal(err)
		}
		c.wants(t, tc.want)
	}
}

func TestDashboards(t *testing.T) {
	const good = `{"title": "D", "annotations": {"list": [{"target": {"expr": "sallyport_proxy_tunnels{job=~\"$job\"}"}}]},
"templating": {"list": [{"type": "query", "name": "door", "query": {"query": "label_values(sallyport_decisions_total{job=~\"$job\"}, door)"}}]},
"panels": [{"title": "P", "panels": [{"targets": [{"expr": "sum by (app) (rate(sallyport_decisions_total{door=~\"$door\"}[$__rate_interval]))", "legendFormat": "{{app}}"}]}]}]}`
	for _, tc := range []struct{ old, new, want string }{
		{"", "", ""},
		{"tunnels{", "tunnel{", "sallyport_proxy_tunnel is exported by nobody"},
		{"}, door)", "}, doors)", `no label "doors"`},
		{"{{app}}", "{{door}}", `the label "door"`},
		{"by (app)", "by (apps)", `groups by the label "apps"`},
		{"label_values(", "values(", "write label_values"},
	} {
		c := newChecker(t, metricsRows)
		if err := c.dashboard(write(t, "d.json", strings.Replace(good, tc.old, tc.new, 1))); err != nil {
			t.Fatal(err)
		}
		c.wants(t, tc.want)
	}
	if err := newChecker(t, metricsRows).dashboard(write(t, "d.json", `{"panels": []}`)); err == nil {
		t.Error("a dashboard without a query passes")
	}
}

func TestPages(t *testing.T) {
	for _, tc := range []struct{ page, want string }{
		{"Watch `sallyport_proxy_tunnels > 5` and `sallyport_dns_*`.", ""},
		{"Watch `sallyport_proxy_tunnel`.", "exported by nobody"},
		{"Watch sallyport_proxy_tunnel without backquotes.", "exported by nobody"},
		{"Look at `sallyport_dns_query_duration_seconds`.", ""},
		{"Look at `rate(sallyport_proxy_tunnels[5m])`.", "which is a gauge"},
		{"On two lines: `sum by (doors)\n(sallyport_decisions_total)`.", `groups by the label "doors"`},
		{"```promql\nsum by (door)\n  (sallyport_decisions_total)\n\nsum by (doors)\n  (sallyport_decisions_total)\n```\n", `groups by the label "doors"`},
		{"```promql\nsum by (door (sallyport_decisions_total)\n```\n", "cannot be read"},
		{"```\nsallyport_decisions_total{door=\"dns\",action=\"block\"} 17\n```\n", ""},
		{"```\nsallyport_decisions_total{door=\"dns\",action=\"blocked\"} 17\n```\n", `never "blocked"`},
		{"```sh\ncurl -s http://127.0.0.1:9180/metrics | grep sallyport_proxy_tunnels\n```\n", ""},
		{"```sh\ncurl -s http://127.0.0.1:9180/metrics | grep sallyport_proxy_tunnelz\n```\n", "exported by nobody"},
		{"`sallyport_decisions_total{door=\"dns\" > 1`", "cannot be read"},
		{"`nft list counters table inet sallyport_egress`, and `sallyport_VERSION-1_ARCH.deb`", ""},
	} {
		c := newChecker(t, metricsRows)
		c.page("page.md", tc.page)
		if c.wants(t, tc.want); t.Failed() {
			t.Fatal(tc.page)
		}
	}
}
