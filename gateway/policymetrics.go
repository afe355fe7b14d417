package gateway

import (
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sallyport/sallyport/policy"
)

// policyCollector shows the policy in force, and the files that it was read
// from, at the moment of a scrape. The files are looked at by the scrape itself,
// and from outside alone: they tell of an edit even where nothing else has
// noticed it.
type policyCollector struct {
	path    string
	program func() *policy.Program
	now     func() time.Time

	rules      *prometheus.Desc
	applying   *prometheus.Desc
	exceptions *prometheus.Desc
	edge       *prometheus.Desc
	onDisk     *prometheus.Desc
}

func newPolicyCollector(path string, program func() *policy.Program, now func() time.Time) *policyCollector {
	return &policyCollector{
		path:    path,
		program: program,
		now:     now,
		rules: prometheus.NewDesc("sallyport_policy_rules",
			"Rules of the policy in force, by action; a rule that is only rehearsed counts as monitor.", []string{"action"}, nil),
		applying: prometheus.NewDesc("sallyport_policy_rules_applying",
			"Those of the rules that apply now, by their dates and hours, by action.", []string{"action"}, nil),
		exceptions: prometheus.NewDesc("sallyport_policy_exceptions",
			"Exceptions of the policy in force, by state: upcoming, in_force or expired.", []string{"state"}, nil),
		edge: prometheus.NewDesc("sallyport_policy_next_edge_timestamp_seconds",
			"When a date or a schedule of the policy in force next begins or ends; absent where none does.", nil, nil),
		onDisk: prometheus.NewDesc("sallyport_policy_file_modified_timestamp_seconds",
			"Newest modification time of the policy's files on disk; absent where there are none.", nil, nil),
	}
}

// Describe is of [prometheus.Collector].
func (c *policyCollector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{c.rules, c.applying, c.exceptions, c.edge, c.onDisk} {
		out <- desc
	}
}

// Collect is of [prometheus.Collector].
func (c *policyCollector) Collect(out chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	program, now := c.program(), c.now()
	for action, n := range program.RuleActions() {
		gauge(c.rules, float64(n), action.String())
	}
	for action, n := range program.RuleActionsAt(now) {
		gauge(c.applying, float64(n), action.String())
	}
	states := program.ExceptionStates(now)
	gauge(c.exceptions, float64(states.Upcoming), "upcoming")
	gauge(c.exceptions, float64(states.InForce), "in_force")
	gauge(c.exceptions, float64(states.Expired), "expired")
	if edge := program.NextEdge(now); !edge.IsZero() {
		gauge(c.edge, float64(edge.Unix()))
	}
	if modified, ok := newestFile(c.path); ok {
		gauge(c.onDisk, timestamp(modified))
	}
}

// newestFile is when the newest of a policy's files was written; false where
// there is none.
func newestFile(path string) (newest time.Time, ok bool) {
	names, err := policyNames(path)
	if err != nil {
		return time.Time{}, false
	}
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			continue // it was there a moment ago
		}
		if ok = true; info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	return newest, ok
}

// timestamp is an instant as metrics have it, in seconds since 1970.
func timestamp(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
