package gateway

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// sourceCollector shows, of each thing that tells the gateway who asks and is
// read again while it runs, whether what it was last read from is good. Where it
// is not, whoever was known before still is.
type sourceCollector struct {
	states func() map[string]bool
	up     *prometheus.Desc
}

func newSourceCollector(states func() map[string]bool) *sourceCollector {
	return &sourceCollector{
		states: states,
		up: prometheus.NewDesc("sallyport_identity_source_up",
			"1 while what a source of identities was last read from is good, 0 while what was read before it goes on.", []string{"source"}, nil),
	}
}

// Describe is of [prometheus.Collector].
func (c *sourceCollector) Describe(out chan<- *prometheus.Desc) { out <- c.up }

// Collect is of [prometheus.Collector].
func (c *sourceCollector) Collect(out chan<- prometheus.Metric) {
	states := c.states()
	for _, source := range slices.Sorted(maps.Keys(states)) {
		value := 0.0
		if states[source] {
			value = 1
		}
		out <- prometheus.MustNewConstMetric(c.up, prometheus.GaugeValue, value, source)
	}
}

// identitySources is whether each source of identities is good: the htpasswd
// file, and the authorities of clients' certificates at each listener that asks
// for one. Only those that are configured are in it.
func (g *Gateway) identitySources() map[string]bool {
	states := map[string]bool{}
	if g.users.path != "" {
		states["users"] = len(g.users.trouble()) == 0
	}
	for transport, good := range g.dns.ClientAuthorities() {
		states["dns_"+transport] = good
	}
	if wanted, good := g.proxy.ClientAuthorities(); wanted {
		states["proxy_tls"] = good
	}
	return states
}
