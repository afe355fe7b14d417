package gateway

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// listMetrics count fetches, and show of every list in force how it is. What is
// shown is asked for at each scrape, so that no series outlives its list.
type listMetrics struct {
	fetches  *prometheus.CounterVec
	duration prometheus.Histogram
}

func newListMetrics(reg prometheus.Registerer) *listMetrics {
	m := &listMetrics{
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_list_fetches_total",
			Help: "Fetches of lists by URL, by result: fresh, unchanged, or why it failed.",
		}, []string{"list", "result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "sallyport_list_fetch_duration_seconds",
			Help:    "From the asking for a list by URL until its copy is on disk, or the fetch has failed.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600},
		}),
	}
	reg.MustRegister(m.fetches, m.duration)
	return m
}

// follow shows a list with every result at 0: Prometheus sees no increase in a
// series that begins with its first event.
func (m *listMetrics) follow(list string) {
	for _, result := range []string{fetchFresh, fetchUnchanged, fetchNetwork, fetchStatus, fetchSize, fetchChecksum, fetchFormat, fetchShrunk, fetchTests, fetchDisk} {
		m.fetches.WithLabelValues(list, result)
	}
}

// fetched counts one fetch.
func (m *listMetrics) fetched(list, result string, took time.Duration) {
	m.fetches.WithLabelValues(list, result).Inc()
	m.duration.Observe(took.Seconds())
}

// drop removes what was counted of a list that is gone.
func (m *listMetrics) drop(list string) {
	m.fetches.DeletePartialMatch(prometheus.Labels{"list": list})
}

// listCollector shows the lists in force at the moment of a scrape.
type listCollector struct {
	states  func() []ListState
	entries *prometheus.Desc
	bytes   *prometheus.Desc
	good    *prometheus.Desc
	stale   *prometheus.Desc
}

func newListCollector(states func() []ListState) *listCollector {
	label := []string{"list"}
	return &listCollector{
		states: states,
		entries: prometheus.NewDesc("sallyport_list_entries",
			"Names and networks that the list in force matches.", label, nil),
		bytes: prometheus.NewDesc("sallyport_list_bytes",
			"Size of the list in force, as it was read.", label, nil),
		good: prometheus.NewDesc("sallyport_list_last_success_timestamp_seconds",
			"A list by URL: the last fetch that went well. A file: when what is in force was written.", label, nil),
		stale: prometheus.NewDesc("sallyport_policy_list_stale",
			"1 where the file of a list cannot be used, or its URL not be fetched, and its last good copy decides.", label, nil),
	}
}

// Describe is of [prometheus.Collector].
func (c *listCollector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{c.entries, c.bytes, c.good, c.stale} {
		out <- desc
	}
}

// Collect is of [prometheus.Collector].
func (c *listCollector) Collect(out chan<- prometheus.Metric) {
	for _, l := range c.states() {
		stale := 0.0
		if l.Trouble != "" {
			stale = 1
		}
		for _, g := range []struct {
			desc  *prometheus.Desc
			value float64
		}{
			{c.entries, float64(l.Entries)},
			{c.bytes, float64(l.Bytes)},
			{c.good, float64(l.Good.UnixMilli()) / 1000},
			{c.stale, stale},
		} {
			out <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, g.value, l.Name)
		}
	}
}
