package proxy

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Values of the method label.
const (
	methodConnect = "connect"
	methodHTTP    = "http"

	methodTransparent = "transparent"
)

// Why a tunnel closed: values of the reason label and of TunnelEnd.ClosedBy.
const (
	closedByClient   = "client"
	closedByUpstream = "upstream"
	closedByIdle     = "idle"
	closedByPolicy   = "policy"
	closedByShutdown = "shutdown"
)

// metrics are the door's counters. Labels are fixed words and status codes:
// never a host, a user or an address.
type metrics struct {
	requests *prometheus.CounterVec
	tunnels  prometheus.Gauge
	up, down prometheus.Counter
	closed   *prometheus.CounterVec
	dials    *prometheus.HistogramVec
	shed     *prometheus.CounterVec
	answers  *answerTimes
	panics   prometheus.Counter

	mismatches *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	bytes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sallyport_proxy_tunnel_bytes_total",
		Help: "Bytes carried in tunnels and WebSockets, by direction: up is client to origin.",
	}, []string{"direction"})
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_proxy_requests_total",
			Help: "Requests at the proxy door, by method (connect, http, socks, transparent) and status code of the answer.",
		}, []string{"method", "code"}),
		tunnels: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sallyport_proxy_tunnels",
			Help: "Tunnels and WebSockets open now.",
		}),
		up:   bytes.WithLabelValues("up"),
		down: bytes.WithLabelValues("down"),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_proxy_tunnels_closed_total",
			Help: "Tunnels and WebSockets that have ended, by who or what ended them.",
		}, []string{"reason"}),
		dials: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sallyport_proxy_dial_duration_seconds",
			Help:    "Time to connect to an origin, by result.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 8),
		}, []string{"result"}),
		shed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_proxy_shed_total",
			Help: "Connections and tunnels turned away at a maximum, or because nothing that could be read came about.",
		}, []string{"reason"}),
		answers: newAnswerTimes(),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sallyport_proxy_panics_total",
			Help: "Connections and tunnels that a mistake in the program has ended: it must be 0.",
		}),
		mismatches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_proxy_mismatches_total",
			Help: "Connections that name another destination than they asked for, by kind and by what became of them.",
		}, []string{"kind", "action"}),
	}
	// Series that have not happened yet are shown as zero, so that a first
	// increase is seen as one.
	for _, reason := range []string{closedByClient, closedByUpstream, closedByIdle, closedByPolicy, closedByShutdown} {
		m.closed.WithLabelValues(reason)
	}
	for _, reason := range []string{shedConnections, shedClient, shedTunnels, shedClientTunnels, shedRate, shedUndirected, shedAccept, shedProxyHeader, shedHandshake} {
		m.shed.WithLabelValues(reason)
	}
	for _, kind := range mismatches() {
		for _, action := range []MismatchAction{MismatchAllow, MismatchReport, MismatchBlock} {
			m.mismatches.WithLabelValues(string(kind), string(action))
		}
	}
	if registerer == nil {
		return m, nil
	}
	for _, collector := range []prometheus.Collector{m.requests, m.tunnels, bytes, m.closed, m.dials, m.shed, m.mismatches, m.answers.vec, m.panics} {
		if err := registerer.Register(collector); err != nil {
			return nil, fmt.Errorf("proxy: register metrics: %w", err)
		}
	}
	return m, nil
}

// Values of the shed reason label.
const (
	shedConnections = "connections"
	shedClient      = "client" // connections of one client
	shedTunnels     = "tunnels"

	shedClientTunnels = "client_tunnels" // of one client
	shedRate          = "rate"           // of requests, of one client
	shedUndirected    = "undirected"     // at the transparent door, and not redirected to it
	shedAccept        = "accept"         // the system had no descriptor or memory for one more
	shedProxyHeader   = "proxy_header"   // of a load balancer: missing or broken
	shedHandshake     = "handshake"      // TLS did not come about
)

func (m *metrics) answered(method string, code int) {
	m.requests.WithLabelValues(method, strconv.Itoa(countedCode(code))).Inc()
}

// countedCode is the status code under which one is counted. An origin may
// answer with any, and none may make series that nobody expects: what has no
// name is its class, and what has no class a server's error (RFC 9110 §15).
func countedCode(code int) int {
	switch {
	case code == statusClientGone || http.StatusText(code) != "":
		return code
	case code < 100 || code > 599:
		return http.StatusInternalServerError
	default:
		return code / 100 * 100
	}
}

func (m *metrics) dialled(result string, took time.Duration) {
	m.dials.WithLabelValues(result).Observe(took.Seconds())
}
