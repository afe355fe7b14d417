package dnsfilter

import (
	"time"

	"github.com/sallyport/sallyport/dnsfilter/ingress"
)

// tally is what one desk has counted since it began: plain numbers that are
// added to the metrics once a batch.
type tally struct {
	replies  [ingress.TransportCount][rcodeClasses]uint32
	outcomes [outcomeCount]uint32
	hits     uint32
	stale    uint32
	any      bool
}

func (t *tally) reply(transport ingress.Transport, rcode int) {
	t.replies[transport][rcodeClass(rcode)]++
	t.any = true
}

// add moves a tally into the metrics. The queries of one batch have all waited
// until its replies went out, and so took the same time.
func (m *metrics) add(t *tally, took time.Duration) {
	if !t.any {
		return
	}
	for transport := range t.replies {
		for class, n := range t.replies[transport] {
			if n > 0 {
				m.queries[transport][class].Add(float64(n))
			}
		}
	}
	for o, n := range t.outcomes {
		if n > 0 {
			m.duration.observe(outcome(o), uint64(n), took)
		}
	}
	if t.hits > 0 {
		m.cacheHits.Add(float64(t.hits))
	}
	if t.stale > 0 {
		m.staleAnswers.Add(float64(t.stale))
	}
	*t = tally{}
}
