package audit

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the counters of the decision log.
type metrics struct {
	decisionsVec  *prometheus.CounterVec
	wouldBlockVec *prometheus.CounterVec
	entriesVec    *prometheus.CounterVec
	droppedVec    *prometheus.CounterVec
	errorsVec     *prometheus.CounterVec

	decisions  *seriesTable
	wouldBlock *seriesTable
	closings   *seriesTable // sampled like decisions, counted nowhere

	queue  prometheus.GaugeFunc // entries that wait; set once there is a queue
	places prometheus.GaugeFunc // how many may

	entries prometheus.Counter
	dropped prometheus.Counter
	errors  prometheus.Counter
}

// newMetrics makes the counters of a log that writes to one sink. The sink's
// own counters start at 0 rather than absent, so that alerts can take a rate.
func newMetrics(sink string) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		decisionsVec: counter("sallyport_decisions_total",
			"Decisions taken. Exact, whatever the decision log keeps.",
			"door", "action", "app", "rule", "group"),
		wouldBlockVec: counter("sallyport_would_block_total",
			"Decisions that let pass what a monitoring or report-only rule would have refused.",
			"door", "app", "rule", "group"),
		entriesVec: counter("sallyport_audit_entries_total",
			"Entries written to the decision log.", "sink"),
		droppedVec: counter("sallyport_audit_dropped_total",
			"Entries lost because the decision log was slower than the traffic, or closed.", "sink"),
		errorsVec: counter("sallyport_audit_write_errors_total",
			"Failed attempts to write to the decision log. Entries wait in the queue and are tried again.", "sink"),
	}
	m.entries = m.entriesVec.WithLabelValues(sink)
	m.dropped = m.droppedVec.WithLabelValues(sink)
	m.errors = m.errorsVec.WithLabelValues(sink)
	m.decisions = newSeriesTable(func(k seriesKey) *series {
		door, action, app, rule, group := k.labels()
		return &series{count: m.decisionsVec.WithLabelValues(door, action, app, rule, group)}
	})
	m.wouldBlock = newSeriesTable(func(k seriesKey) *series {
		door, _, app, rule, group := k.labels()
		return &series{count: m.wouldBlockVec.WithLabelValues(door, app, rule, group)}
	})
	m.closings = newSeriesTable(func(seriesKey) *series { return &series{} })
	return m
}

// queued adds the gauges of a queue that holds waiting entries of at most
// places.
func (m *metrics) queued(waiting, places func() int) {
	gauge := func(name, help string, value func() int) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
	}
	m.queue = gauge("sallyport_audit_queue_entries",
		"Entries that wait to be written to the decision log.", waiting)
	m.places = gauge("sallyport_audit_queue_limit",
		"How many may wait; more are lost, those of allowed requests when seven eighths are taken.", places)
}

// register shows the metrics in r, all or none of them.
func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	all := []prometheus.Collector{m.decisionsVec, m.wouldBlockVec, m.entriesVec, m.droppedVec, m.errorsVec, m.queue, m.places}
	for i, c := range all {
		if err := r.Register(c); err != nil {
			for _, done := range all[:i] {
				r.Unregister(done)
			}
			return err
		}
	}
	return nil
}
