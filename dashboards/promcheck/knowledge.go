package main

import (
	"regexp"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// kind is what a series is, as far as a query must know.
type kind string

const (
	counter  kind = "counter"
	gauge    kind = "gauge"
	bucket   kind = "bucket" // of a histogram; its sum and count are counters
	recorded kind = "recorded"
)

// labelSet is the names of labels. open: there may be others.
type labelSet struct {
	names map[string]bool
	open  bool
}

func labelsNamed(names ...string) labelSet {
	s := labelSet{names: map[string]bool{}}
	for _, name := range names {
		s.names[name] = true
	}
	return s
}

func (s labelSet) has(name string) bool { return s.open || s.names[name] }

// plus is both sets together.
func (s labelSet) plus(other labelSet) labelSet {
	all := labelsNamed()
	for name := range s.names {
		all.names[name] = true
	}
	for name := range other.names {
		all.names[name] = true
	}
	all.open = s.open || other.open
	return all
}

// minus is the set without some names.
func (s labelSet) minus(names ...string) labelSet {
	left := s.plus(labelsNamed())
	for _, name := range names {
		delete(left.names, name)
	}
	return left
}

// only is what the set has of some names.
func (s labelSet) only(names ...string) labelSet {
	left := labelsNamed()
	for _, name := range names {
		if s.has(name) {
			left.names[name] = true
		}
	}
	return left
}

// series is what is known of the series of one name.
type series struct {
	kind   kind
	labels labelSet
	values map[string][]string // of labels whose values are fixed words
}

// targetLabels are given to every series by whoever scrapes it. fleet and component
// are those that the rules allow a site to set.
var targetLabels = []string{"job", "instance", "fleet", "component"}

// configured are labels whose values come from the policy, the configuration,
// the build or the target: any value may occur.
var configured = []string{
	"app", "rule", "group", "list", "upstream", "parent", "revision", "version", "goversion", "code", "job", "instance", "fleet", "component", "le", "quantile",
}

// knowledge is every series that a query may name.
type knowledge map[string]series

// newKnowledge makes it from what was exported and what Prometheus adds itself.
// The page tells the fixed words that did not occur.
func newKnowledge(families map[string]*dto.MetricFamily, page metricsPage) knowledge {
	k := knowledge{}
	for name, family := range families {
		labels, values := labelsOfFamily(family)
		for label := range values {
			values[label] = append(values[label], page[name].words...)
			slices.Sort(values[label])
			values[label] = slices.Compact(values[label])
		}
		base := series{labels: labels.plus(labelsNamed(targetLabels...)), values: values}
		switch family.GetType() {
		case dto.MetricType_COUNTER:
			k.add(name, base, counter)
		case dto.MetricType_HISTOGRAM:
			k.add(name+"_sum", base, counter)
			k.add(name+"_count", base, counter)
			base.labels = base.labels.plus(labelsNamed("le"))
			k.add(name+"_bucket", base, bucket)
		case dto.MetricType_SUMMARY:
			k.add(name+"_sum", base, counter)
			k.add(name+"_count", base, counter)
			base.labels = base.labels.plus(labelsNamed("quantile"))
			k.add(name, base, gauge)
		default:
			k.add(name, base, gauge)
		}
	}
	target := labelsNamed(targetLabels...)
	for _, name := range []string{"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added"} {
		k.add(name, series{labels: target}, gauge)
	}
	for _, name := range []string{"ALERTS", "ALERTS_FOR_STATE"} {
		k.add(name, series{labels: labelSet{open: true}, values: map[string][]string{"alertstate": {"pending", "firing"}}}, gauge)
	}
	return k
}

func (k knowledge) add(name string, s series, what kind) {
	s.kind = what
	k[name] = s
}

// labelsOfFamily is which labels a family has, and which values of those that
// are fixed words.
func labelsOfFamily(family *dto.MetricFamily) (labelSet, map[string][]string) {
	labels, values := labelsNamed(), map[string][]string{}
	for _, metric := range family.GetMetric() {
		for _, pair := range metric.GetLabel() {
			labels.names[pair.GetName()] = true
			if !slices.Contains(configured, pair.GetName()) && !slices.Contains(values[pair.GetName()], pair.GetValue()) {
				values[pair.GetName()] = append(values[pair.GetName()], pair.GetValue())
			}
		}
	}
	return labels, values
}

// histogramOf is the histogram that a name is, rather than a series of it.
func (k knowledge) histogramOf(name string) bool {
	_, has := k[name+"_bucket"]
	return has
}

// family is the metric that a series belongs to.
func (k knowledge) family(name string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, suffix); ok && k.histogramOf(base) {
			return base
		}
	}
	return name
}

// metricName is how the gateway's own metrics are called.
var metricName = regexp.MustCompile(`\bsallyport_[a-z0-9_]+`)
