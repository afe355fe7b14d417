package dnsfilter

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sallyport/sallyport/dnsfilter/ingress"
)

// ingressCollector shows what the listeners know of themselves.
type ingressCollector struct {
	set         *ingress.Set
	connections *prometheus.Desc
}

func newIngressCollector(set *ingress.Set) *ingressCollector {
	return &ingressCollector{
		set: set,
		connections: prometheus.NewDesc("sallyport_dns_connections",
			"Open connections of clients, by transport.", []string{"transport"}, nil),
	}
}

// Describe is for prometheus.
func (c *ingressCollector) Describe(to chan<- *prometheus.Desc) { to <- c.connections }

// Collect is for prometheus.
func (c *ingressCollector) Collect(to chan<- prometheus.Metric) {
	for t := ingress.TCP; t < ingress.TransportCount; t++ {
		to <- prometheus.MustNewConstMetric(c.connections, prometheus.GaugeValue, float64(c.set.Conns(t)), t.String())
	}
}
