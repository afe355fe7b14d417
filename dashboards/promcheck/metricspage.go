package main

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

// metricsPage is docs/metrics.md: its rows by the name of the metric.
type metricsPage map[string]documented

// documented is one row.
type documented struct {
	kind   string
	labels []string
	words  []string // that the row has in backquotes: the values of its labels are among them
}

var (
	metricRow = regexp.MustCompile("(?m)^\\| `(sallyport_[a-z0-9_]+)` \\| ([a-z]+) \\|([^|]*)\\|(.*)\\|$")
	quoted    = regexp.MustCompile("`([^`]+)`")
)

func readMetricsPage(path string) (metricsPage, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	page := metricsPage{}
	for _, row := range metricRow.FindAllStringSubmatch(string(text), -1) {
		page[row[1]] = documented{kind: row[2], labels: inBackquotes(row[3]), words: inBackquotes(row[4])}
	}
	if len(page) == 0 {
		return nil, fmt.Errorf("%s has no rows of metrics", path)
	}
	return page, nil
}

func inBackquotes(text string) []string {
	var words []string
	for _, m := range quoted.FindAllStringSubmatch(text, -1) {
		words = append(words, m[1])
	}
	return words
}

func (p metricsPage) names() []string { return slices.Sorted(maps.Keys(p)) }

// comparePage holds the page against what is exported, in both directions.
func (c *checker) comparePage(page metricsPage) {
	for _, name := range page.names() {
		c.place = "docs/metrics.md: " + name
		c.checked++
		row := page[name]
		s, ok := c.known[name]
		want := kind(row.kind)
		if row.kind == "histogram" {
			s, ok = c.known[name+"_bucket"]
			want, s.labels = bucket, s.labels.minus("le")
		}
		if !ok {
			c.complain("it is not exported")
			continue
		}
		if s.kind != want {
			c.complain("it is documented as a %s, and exported as a %s", row.kind, s.kind)
		}
		have := slices.Sorted(maps.Keys(s.labels.minus(targetLabels...).names))
		slices.Sort(row.labels)
		if !slices.Equal(have, row.labels) {
			c.complain("it is documented with the labels %q, and exported with %q", strings.Join(row.labels, " "), strings.Join(have, " "))
		}
	}
	for name := range c.known {
		if base := c.known.family(name); strings.HasPrefix(name, "sallyport_") {
			if _, ok := page[base]; !ok {
				c.place = "docs/metrics.md"
				c.complain("%s is exported and has no row", base)
			}
		}
	}
}
