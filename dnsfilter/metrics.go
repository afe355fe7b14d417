package dnsfilter

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
	"github.com/sallyport/sallyport/dnsfilter/ingress"
)

// metrics are the door's numbers. Every label value is known beforehand: a
// transport, a response code, a configured upstream; never a name or a client.
// Counters that the packet path touches are looked up once, here.
type metrics struct {
	queries  [ingress.TransportCount][rcodeClasses]prometheus.Counter
	duration *durations
	upstream *prometheus.HistogramVec
	up       *prometheus.GaugeVec
	sheds    *prometheus.CounterVec
	panics   prometheus.Counter

	cacheHits, cacheMisses, cacheEvictions, staleAnswers, prefetches prometheus.Counter
}

// Reasons for which a query was shed, besides those of the ingress.
const (
	shedRate          = "rate"           // over the client's rate
	shedClientLookups = "client_lookups" // one client has too many lookups under way
	shedLookups       = "lookups"        // all have
)

// outcome is what became of a query.
type outcome uint8

const (
	outcomeBlocked outcome = iota
	outcomeHit
	outcomeMiss
	outcomeFailed // an upstream answered, with an error code: as a rule the name's fault
	outcomeError  // none did, or it was not asked
	outcomeCount

	outcomeWait    // nothing yet: the answer has to be waited for
	outcomeMinimal // a hit on a made-up answer
)

func (o outcome) String() string {
	return [outcomeCount]string{"blocked", "hit", "miss", "failed", "error"}[o]
}

// outcomeOf tells a look-up that an upstream has answered, and could do no better
// for the name, from one that got no answer.
func outcomeOf(err error) outcome {
	if upstreamSaid(err) {
		return outcomeFailed
	}
	return outcomeError
}

// rcodeClasses is how many response codes are told apart: 0 to 5, BADVERS,
// BADCOOKIE, and one for every other.
const rcodeClasses = 9

func rcodeClass(rcode int) int {
	switch {
	case rcode >= 0 && rcode <= dnswire.RcodeRefused:
		return rcode
	case rcode == dnswire.RcodeBadVers:
		return 6
	case rcode == dnswire.RcodeBadCookie:
		return 7
	default:
		return 8
	}
}

func rcodeClassName(class int) string {
	return [rcodeClasses]string{
		"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "BADVERS", "BADCOOKIE", "OTHER",
	}[class]
}

// newMetrics registers the door's metrics, the cache's gauges among them.
func newMetrics(r prometheus.Registerer, c *cache, upstreams []string) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	queries := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sallyport_dns_queries_total",
		Help: "Replies sent by the DNS door, by transport and response code.",
	}, []string{"transport", "rcode"})
	m := &metrics{
		duration: newDurations("sallyport_dns_query_duration_seconds",
			"Time from a query's arrival to its reply, by outcome: blocked, hit, miss, failed or error.",
			[]float64{.00005, .0001, .0002, .0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5}),
		upstream: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sallyport_dns_upstream_duration_seconds",
			Help:    "Time of one try at an upstream, by result: ok, refused (an error code), timeout or error.",
			Buckets: []float64{.00005, .0001, .0002, .0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5},
		}, []string{"upstream", "result"}),
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sallyport_dns_upstream_up",
			Help: "1 while an upstream answers, 0 while it is asked last because it did not.",
		}, []string{"upstream"}),
		sheds: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_dns_shed_total",
			Help: "Packets and connections that got no answer, or only one that says why, by reason.",
		}, []string{"reason"}),
		panics:         counter("sallyport_dns_panics_total", "Queries and lookups that ended in a recovered panic. Anything but 0 is a bug: please report it."),
		cacheHits:      counter("sallyport_dns_cache_hits_total", "Lookups answered from the cache without waiting, by remembered failures too."),
		cacheMisses:    counter("sallyport_dns_cache_misses_total", "Lookups not answered from the cache."),
		cacheEvictions: counter("sallyport_dns_cache_evictions_total", "Answers that left the cache to make room."),
		staleAnswers:   counter("sallyport_dns_stale_answers_total", "Answers given past their time because no upstream gave a new one."),
		prefetches:     counter("sallyport_dns_prefetches_total", "Answers renewed before their time was over because they are in use."),
	}
	entries := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sallyport_dns_cache_entries",
		Help: "Answers held in the cache, those past their time included until they are replaced.",
	}, func() float64 { n, _ := c.size(); return float64(n) })
	bytes := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sallyport_dns_cache_bytes",
		Help: "Estimated memory of the answers held in the cache.",
	}, func() float64 { _, n := c.size(); return float64(n) })

	for t := range ingress.TransportCount {
		for class := range rcodeClasses {
			m.queries[t][class] = queries.WithLabelValues(t.String(), rcodeClassName(class))
		}
	}
	for _, reason := range []string{
		ingress.ShedMalformed, ingress.ShedBusy, ingress.ShedConnections, ingress.ShedClientConnections,
		ingress.ShedProxyHeader, ingress.ShedHandshake, ingress.ShedDevicePath, shedRate, shedClientLookups, shedLookups,
	} {
		m.sheds.WithLabelValues(reason)
	}
	for _, name := range upstreams {
		m.up.WithLabelValues(name).Set(1)
	}
	for _, collector := range []prometheus.Collector{
		queries, m.duration, m.upstream, m.up, m.sheds, m.panics, m.cacheHits, m.cacheMisses, m.cacheEvictions,
		m.staleAnswers, m.prefetches, entries, bytes,
	} {
		if err := r.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) shed(reason string, n int) { m.sheds.WithLabelValues(reason).Add(float64(n)) }

func (m *metrics) observeUpstream(name, result string, took time.Duration) {
	m.upstream.WithLabelValues(name, result).Observe(took.Seconds())
}

func (m *metrics) upstreamState(name string, up bool) {
	value := 0.0
	if up {
		value = 1
	}
	m.up.WithLabelValues(name).Set(value)
}
