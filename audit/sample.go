package audit

import (
	"fmt"
	"sync/atomic"
	"time"
)

// Extent says how many decisions of one sort are written to the log.
type Extent uint8

// The choices. The zero value writes all.
const (
	ExtentAll     Extent = iota
	ExtentSampled        // of each kind the first few in a second, then one in a hundred
	ExtentNone
)

// String is the name of the choice in the configuration.
func (e Extent) String() string {
	switch e {
	case ExtentAll:
		return "all"
	case ExtentSampled:
		return "sampled"
	case ExtentNone:
		return "none"
	default:
		return "invalid"
	}
}

// ParseExtent reads the name that String writes.
func ParseExtent(s string) (Extent, error) {
	for _, e := range []Extent{ExtentAll, ExtentSampled, ExtentNone} {
		if e.String() == s {
			return e, nil
		}
	}
	return ExtentNone, fmt.Errorf("unknown choice %q: use none, sampled or all", s)
}

const (
	sampleFirst = 10  // written of one kind in one second
	sampleEvery = 100 // and of the others one in so many
)

// sampler thins out one kind of decision, where a kind is one door, action,
// app, rule and group. What is rare is written whole and what is frequent is
// bounded, so that one chatty app cannot hide the others.
type sampler struct {
	second atomic.Int64
	seen   atomic.Uint64
}

// want reports whether a decision taken at this instant is to be written.
func (e Extent) want(s *sampler, at int64) bool {
	switch e {
	case ExtentAll:
		return true
	case ExtentSampled:
		return s.pick(at / int64(time.Second))
	default:
		return false
	}
}

// pick counts one decision in the given second. At the turn of a second
// several goroutines may disagree for a moment on which one it is; the sample
// is then larger by a few, which nobody relies on.
func (s *sampler) pick(second int64) bool {
	if was := s.second.Load(); was != second && s.second.CompareAndSwap(was, second) {
		s.seen.Store(0)
	}
	n := s.seen.Add(1)
	return n <= sampleFirst || (n-sampleFirst)%sampleEvery == 0
}
