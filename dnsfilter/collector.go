package dnsfilter

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sallyport/sallyport/dnsfilter/ingress"
)

// ingressCollector shows what the listeners know of themselves.
type ingressCollector struct {
	set         *ingress.Set
	connections *prometheus.Desc
	dropped     *prometheus.Desc
	unsent      *prometheus.Desc
}

func newIngressCollector(set *ingress.Set) *ingressCollector {
	return &ingressCollector{
		set: set,
		connections: prometheus.NewDesc("sallyport_dns_connections",
			"Open connections of clients, by transport.", []string{"transport"}, nil),
		dropped: prometheus.NewDesc("sallyport_dns_receive_drops_total",
			"UDP packets that the kernel dropped because nobody read them in time.", nil, nil),
		unsent: prometheus.NewDesc("sallyport_dns_unsent_total",
			"UDP replies that the kernel would not send.", nil, nil),
	}
}

// Describe is for prometheus.
func (c *ingressCollector) Describe(to chan<- *prometheus.Desc) {
	to <- c.connections
	to <- c.dropped
	to <- c.unsent
}

// Collect is for prometheus.
func (c *ingressCollector) Collect(to chan<- prometheus.Metric) {
	for t := ingress.TCP; t < ingress.TransportCount; t++ {
		to <- prometheus.MustNewConstMetric(c.connections, prometheus.GaugeValue, float64(c.set.Conns(t)), t.String())
	}
	to <- prometheus.MustNewConstMetric(c.dropped, prometheus.CounterValue, float64(c.set.Dropped()))
	to <- prometheus.MustNewConstMetric(c.unsent, prometheus.CounterValue, float64(c.set.Unsent()))
}
