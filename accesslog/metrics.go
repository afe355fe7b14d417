package accesslog

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sallyport/sallyport/linelog"
)

// Metrics count what becomes of entries, by format. All access logs of a
// process share them.
type Metrics struct{ entries, dropped, errors *prometheus.CounterVec }

// NewMetrics makes the counters and shows them in r; nil: they are counted and
// shown nowhere. It is an error when they are registered already.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"format"})
	}
	m := &Metrics{
		entries: counter("sallyport_access_log_entries_total",
			"Lines written to access logs."),
		dropped: counter("sallyport_access_log_dropped_total",
			"Lines lost because an access log was slower than the traffic, or closed."),
		errors: counter("sallyport_access_log_write_errors_total",
			"Failed attempts to write to access logs. Lines wait in the queue and are tried again."),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.entries, m.dropped, m.errors} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics of the access logs: %w", err)
		}
	}
	return m, nil
}

// of are the counters of one format. They start at 0 rather than absent, so
// that alerts can take a rate.
func (m *Metrics) of(f Format) linelog.Counters {
	return linelog.Counters{
		Written: m.entries.WithLabelValues(f.String()),
		Dropped: m.dropped.WithLabelValues(f.String()),
		Errors:  m.errors.WithLabelValues(f.String()),
	}
}
