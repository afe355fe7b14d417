package outbound

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count what becomes of connections. Labels are the parents' names in
// the configuration, and fixed words.
type metrics struct {
	dials *prometheus.CounterVec
	up    *prometheus.GaugeVec

	directOK prometheus.Counter // of dials, since nearly all are
}

func newMetrics() *metrics {
	m := &metrics{
		dials: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_proxy_outbound_dials_total",
			Help: "Attempts to reach a destination, by parent (direct: without one) and result.",
		}, []string{"parent", "result"}),
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sallyport_proxy_parent_up",
			Help: "1 while a parent proxy works, 0 while it is left alone because it did not.",
		}, []string{"parent"}),
	}
	m.directOK = m.dials.WithLabelValues(Direct, resultOK)
	return m
}

// register shows the metrics; a nil registerer shows them nowhere.
func (m *metrics) register(registerer prometheus.Registerer) error {
	if registerer == nil {
		return nil
	}
	for _, collector := range []prometheus.Collector{m.dials, m.up} {
		if err := registerer.Register(collector); err != nil {
			return fmt.Errorf("outbound: register metrics: %w", err)
		}
	}
	return nil
}

// begin shows a parent with every result at 0: Prometheus sees no increase in a
// series that begins with its first event.
func (m *metrics) begin(parent string) {
	for _, result := range []string{resultOK, resultCancelled, resultTimeout, resultRefused, resultUnreachable, resultDenied, resultCredentials, resultError} {
		m.dials.WithLabelValues(parent, result)
	}
	m.turned(parent, true)
}

func (m *metrics) dialled(parent, result string) {
	if parent == Direct && result == resultOK {
		m.directOK.Inc()
		return
	}
	m.dials.WithLabelValues(parent, result).Inc()
}

func (m *metrics) turned(parent string, up bool) {
	value := 0.0
	if up {
		value = 1
	}
	m.up.WithLabelValues(parent).Set(value)
}
