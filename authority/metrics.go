package authority

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// result is what came of taking over a connection: a value of the result label.
type result string

const (
	resultShown     result = "shown"     // the page was sent
	resultUnused    result = "unused"    // the handshake was done, and nothing was asked for
	resultUntrusted result = "untrusted" // the client does not trust the authority
	resultNoLeaf    result = "no_leaf"   // there was no certificate: nothing was sent
	resultFailed    result = "failed"    // anything else
)

// metrics are the counters of an authority.
type metrics struct {
	intercepted *prometheus.CounterVec
	signed      prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer, a *Authority) (*metrics, error) {
	m := &metrics{
		intercepted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_proxy_intercepted_total",
			Help: "Connections to refused destinations that the gateway answered over TLS itself, by what came of it.",
		}, []string{"result"}),
		signed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sallyport_proxy_interception_leaves_signed_total",
			Help: "Certificates signed to show a page over TLS; those kept from before are not among them.",
		}),
	}
	// Series that have not happened yet are shown as zero, so that a first
	// increase is seen as one.
	for _, r := range []result{resultShown, resultUnused, resultUntrusted, resultNoLeaf, resultFailed} {
		m.intercepted.WithLabelValues(string(r))
	}
	if registerer == nil {
		return m, nil
	}
	notAfter := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sallyport_proxy_interception_ca_not_after_timestamp_seconds",
		Help: "When the authority that pages over TLS are shown with expires.",
	}, func() float64 {
		a.look(a.now())
		return float64(a.NotAfter().Unix())
	})
	for _, c := range []prometheus.Collector{m.intercepted, m.signed, notAfter} {
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("register the metrics of the authority: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) count(r result) { m.intercepted.WithLabelValues(string(r)).Inc() }
