package dnsfilter

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the door's numbers. Every label value is known beforehand: a
// transport, a response code, a configured upstream; never a name or a client.
// Counters that the packet path touches are looked up once, here.
type metrics struct {
	queries  [transportCount][rcodeClasses]prometheus.Counter
	duration [outcomeCount]prometheus.Observer
	upstream *prometheus.HistogramVec
	shed     *prometheus.CounterVec
	panics   prometheus.Counter

	cacheHits, cacheMisses, cacheEvictions prometheus.Counter
}

// Reasons for which a packet or connection was shed.
const (
	shedMalformed         = "malformed"          // no header, a response, an impossible length
	shedBusy              = "busy"               // no slot left
	shedConnections       = "connections"        // too many TCP connections
	shedClientConnections = "client_connections" // too many from one client
	shedLookups           = "lookups"            // too many lookups under way
)

// outcome is what became of a query.
type outcome uint8

const (
	outcomeBlocked outcome = iota
	outcomeHit
	outcomeMiss
	outcomeError
	outcomeCount
)

func (o outcome) String() string {
	return [outcomeCount]string{"blocked", "hit", "miss", "error"}[o]
}

// rcodeClasses is how many response codes are told apart: 0 to 5, BADVERS, and
// one for every other.
const rcodeClasses = 8

func rcodeClass(rcode int) int {
	switch {
	case rcode >= 0 && rcode <= rcodeRefused:
		return rcode
	case rcode == rcodeBadVers:
		return 6
	default:
		return 7
	}
}

func rcodeClassName(class int) string {
	return [rcodeClasses]string{
		"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "BADVERS", "OTHER",
	}[class]
}

// newMetrics registers the door's metrics, the cache's gauges among them.
func newMetrics(r prometheus.Registerer, c *cache) (*metrics, error) {
	queries := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sallyport_dns_queries_total",
		Help: "Replies sent by the DNS door, by transport and response code.",
	}, []string{"transport", "rcode"})
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "sallyport_dns_query_duration_seconds",
		Help:    "Time from a query's arrival to its reply, by outcome: blocked, hit, miss or error.",
		Buckets: []float64{.00002, .00005, .0001, .0002, .0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5},
	}, []string{"outcome"})
	m := &metrics{
		upstream: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sallyport_dns_upstream_duration_seconds",
			Help:    "Time of one try at an upstream, by result: ok, refused (an error code), timeout or error.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5},
		}, []string{"upstream", "result"}),
		shed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_dns_shed_total",
			Help: "Packets and connections dropped without a reply, and lookups not begun, by reason.",
		}, []string{"reason"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sallyport_dns_panics_total",
			Help: "Queries and lookups that ended in a recovered panic. Anything but 0 is a bug: please report it.",
		}),
		cacheHits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sallyport_dns_cache_hits_total",
			Help: "Lookups answered from the cache.",
		}),
		cacheMisses: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sallyport_dns_cache_misses_total",
			Help: "Lookups not answered from the cache.",
		}),
		cacheEvictions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sallyport_dns_cache_evictions_total",
			Help: "Answers that left the cache to make room.",
		}),
	}
	entries := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sallyport_dns_cache_entries",
		Help: "Answers held in the cache, those past their time included until they are replaced.",
	}, func() float64 { n, _ := c.size(); return float64(n) })
	bytes := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sallyport_dns_cache_bytes",
		Help: "Estimated memory of the answers held in the cache.",
	}, func() float64 { _, n := c.size(); return float64(n) })

	for t := range transportCount {
		for class := range rcodeClasses {
			m.queries[t][class] = queries.WithLabelValues(t.String(), rcodeClassName(class))
		}
	}
	for o := range outcomeCount {
		m.duration[o] = duration.WithLabelValues(o.String())
	}
	for _, reason := range []string{shedMalformed, shedBusy, shedConnections, shedClientConnections, shedLookups} {
		m.shed.WithLabelValues(reason)
	}
	for _, collector := range []prometheus.Collector{
		queries, duration, m.upstream, m.shed, m.panics, m.cacheHits, m.cacheMisses, m.cacheEvictions, entries, bytes,
	} {
		if err := r.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) countReply(t transport, rcode int) { m.queries[t][rcodeClass(rcode)].Inc() }

func (m *metrics) countShed(reason string) { m.shed.WithLabelValues(reason).Inc() }

func (m *metrics) observeQuery(o outcome, took time.Duration) {
	m.duration[o].Observe(took.Seconds())
}

func (m *metrics) observeUpstream(name, result string, took time.Duration) {
	m.upstream.WithLabelValues(name, result).Observe(took.Seconds())
}
