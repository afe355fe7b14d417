package dnsfilter

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sallyport/sallyport/dnsfilter/ingress"
)

// ingressCollector shows what the listeners know of themselves.
type ingressCollector struct {
	set         *ingress.Set
	connections *prometheus.Desc
	limit       *prometheus.Desc
	busy        *prometheus.Desc
	waiting     *prometheus.Desc
	dropped     *prometheus.Desc
	unsent      *prometheus.Desc
	notAfter    *prometheus.Desc
}

func newIngressCollector(set *ingress.Set) *ingressCollector {
	return &ingressCollector{
		set: set,
		connections: prometheus.NewDesc("sallyport_dns_connections",
			"Open connections of clients, by transport.", []string{"transport"}, nil),
		limit: prometheus.NewDesc("sallyport_dns_connections_limit",
			"How many connections of clients may be open, of every transport together.", nil, nil),
		busy: prometheus.NewDesc("sallyport_dns_queries_busy",
			"Queries under way that could not be answered at once; for the most part they wait for an upstream.", nil, nil),
		waiting: prometheus.NewDesc("sallyport_dns_queries_waiting",
			"Queries over UDP that are not begun, because as many are under way as may be.", nil, nil),
		dropped: prometheus.NewDesc("sallyport_dns_receive_drops_total",
			"UDP packets that the kernel dropped because nobody read them in time.", nil, nil),
		unsent: prometheus.NewDesc("sallyport_dns_unsent_total",
			"UDP replies that the kernel would not send.", nil, nil),
		notAfter: prometheus.NewDesc("sallyport_dns_certificate_not_after_timestamp_seconds",
			"When the certificate in use expires, by transport.", []string{"transport"}, nil),
	}
}

// Describe is for prometheus.
func (c *ingressCollector) Describe(to chan<- *prometheus.Desc) {
	to <- c.connections
	to <- c.limit
	to <- c.busy
	to <- c.waiting
	to <- c.dropped
	to <- c.unsent
	to <- c.notAfter
}

// Collect is for prometheus.
func (c *ingressCollector) Collect(to chan<- prometheus.Metric) {
	for t := ingress.TCP; t < ingress.TransportCount; t++ {
		to <- prometheus.MustNewConstMetric(c.connections, prometheus.GaugeValue, float64(c.set.Conns(t)), t.String())
		if expiry, ok := c.set.NotAfter(t); ok {
			to <- prometheus.MustNewConstMetric(c.notAfter, prometheus.GaugeValue, float64(expiry.Unix()), t.String())
		}
	}
	to <- prometheus.MustNewConstMetric(c.limit, prometheus.GaugeValue, float64(c.set.MaxConns()))
	to <- prometheus.MustNewConstMetric(c.busy, prometheus.GaugeValue, float64(c.set.Busy()))
	to <- prometheus.MustNewConstMetric(c.waiting, prometheus.GaugeValue, float64(c.set.Waiting()))
	to <- prometheus.MustNewConstMetric(c.dropped, prometheus.CounterValue, float64(c.set.Dropped()))
	to <- prometheus.MustNewConstMetric(c.unsent, prometheus.CounterValue, float64(c.set.Unsent()))
}
