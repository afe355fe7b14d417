package gateway

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics are the gateway's own: what is running, and what became of each
// policy edit. The doors and the decision log register theirs themselves.
type metrics struct {
	policyInfo    *prometheus.GaugeVec
	reloads       *prometheus.CounterVec
	successful    prometheus.Gauge
	successTime   prometheus.Gauge
	modified      prometheus.Gauge
	timeToEnforce prometheus.Histogram
	restartNeeded prometheus.Gauge

	revision string // that policyInfo shows; good's own
}

func newMetrics(reg prometheus.Registerer, build Build) *metrics {
	m := &metrics{
		policyInfo: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sallyport_policy_info",
			Help: "Always 1; the label is the revision of the policy in force.",
		}, []string{"revision"}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_policy_reloads_total",
			Help: "Attempts to put the policy on disk in force, by result: success, unchanged or failure.",
		}, []string{"result"}),
		successful: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sallyport_policy_last_reload_successful",
			Help: "1 where the policy on disk is the one in force, 0 where an older one keeps deciding.",
		}),
		successTime: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sallyport_policy_last_reload_success_timestamp_seconds",
			Help: "When the policy on disk was last found good.",
		}),
		modified: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sallyport_policy_modified_timestamp_seconds",
			Help: "Newest modification time of the policy files that are in force.",
		}),
		timeToEnforce: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "sallyport_policy_time_to_enforce_seconds",
			Help:    "From the writing of a policy file to both doors enforcing it, open tunnels included; edits that were noticed, not reloads by signal or request.",
			Buckets: []float64{.0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		restartNeeded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sallyport_config_restart_needed",
			Help: "1 where the gateway's configuration file has changed since the start.",
		}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sallyport_build_info",
		Help: "Always 1; the labels say what is running.",
		ConstLabels: prometheus.Labels{
			"version": build.Version, "revision": build.Commit, "goversion": build.Go,
		},
	})
	info.Set(1)
	reg.MustRegister(info, m.policyInfo, m.reloads, m.successful, m.successTime, m.modified, m.timeToEnforce,
		m.restartNeeded, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, result := range []string{resultSuccess, resultUnchanged, resultFailure} {
		m.reloads.WithLabelValues(result) // there from the start, so that a rate has a zero to begin with
	}
	return m
}

// The results of a reload, as the label says them.
const (
	resultSuccess   = "success"
	resultUnchanged = "unchanged"
	resultFailure   = "failure"
)

// count notes one attempt to put the policy on disk in force.
func (m *metrics) count(result string) { m.reloads.WithLabelValues(result).Inc() }

// good notes that the policy on disk, whose files were written by modified, is
// in force. One goroutine calls it.
func (m *metrics) good(revision string, modified, at time.Time) {
	m.successful.Set(1)
	m.successTime.Set(timestamp(at))
	m.touched(modified)
	m.policyInfo.WithLabelValues(revision).Set(1)
	// The old series go last, so that a scrape in between finds two and not none.
	if m.revision != revision {
		m.policyInfo.DeleteLabelValues(m.revision)
		m.revision = revision
	}
}

// touched notes when the files in force were written, by what they say of
// themselves.
func (m *metrics) touched(modified time.Time) { m.modified.Set(timestamp(modified)) }

// bad notes that the policy on disk cannot be put in force.
func (m *metrics) bad() { m.successful.Set(0) }
