package outbound

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count what becomes of connections. Labels are the parents' names in
// the configuration, and fixed words.
type metrics struct {
	dials *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		dials: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_proxy_outbound_dials_total",
			Help: "Attempts to reach a destination, by parent (direct: without one) and result.",
		}, []string{"parent", "result"}),
	}
	if registerer == nil {
		return m, nil
	}
	if err := registerer.Register(m.dials); err != nil {
		return nil, fmt.Errorf("outbound: register metrics: %w", err)
	}
	return m, nil
}

func (m *metrics) dialled(parent, result string) { m.dials.WithLabelValues(parent, result).Inc() }
