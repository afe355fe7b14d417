package dnsfilter

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// durations is a histogram of query durations by outcome that takes many
// observations of one value at once: the queries of a batch are answered
// together, and counting them one by one would cost more than answering.
type durations struct {
	desc    *prometheus.Desc
	buckets []float64 // upper bounds in seconds
	series  [outcomeCount]series
}

type series struct {
	counts []atomic.Uint64 // by bucket; the last has no bound
	nanos  atomic.Uint64   // sum
	_      [40]byte        // keeps outcomes off one cache line
}

func newDurations(name, help string, buckets []float64) *durations {
	d := &durations{desc: prometheus.NewDesc(name, help, []string{"outcome"}, nil), buckets: buckets}
	for i := range d.series {
		d.series[i].counts = make([]atomic.Uint64, len(buckets)+1)
	}
	return d
}

// observe counts n queries that took as long.
func (d *durations) observe(o outcome, n uint64, took time.Duration) {
	s := &d.series[o]
	bucket, seconds := 0, took.Seconds()
	for bucket < len(d.buckets) && seconds > d.buckets[bucket] {
		bucket++
	}
	s.counts[bucket].Add(n)
	s.nanos.Add(n * uint64(max(took, 0)))
}

// Describe is for prometheus.
func (d *durations) Describe(to chan<- *prometheus.Desc) { to <- d.desc }

// Collect is for prometheus.
func (d *durations) Collect(to chan<- prometheus.Metric) {
	for o := range d.series {
		s := &d.series[o]
		total := uint64(0)
		cumulative := make(map[float64]uint64, len(d.buckets))
		for i, bound := range d.buckets {
			total += s.counts[i].Load()
			cumulative[bound] = total
		}
		total += s.counts[len(d.buckets)].Load()
		sum := float64(s.nanos.Load()) / float64(time.Second)
		to <- prometheus.MustNewConstHistogram(d.desc, total, sum, cumulative, outcome(o).String())
	}
}
