package audit

import (
	"fmt"
	"sync/atomic"
	"time"
)

// Allows says which allowed decisions are written to the log. Refusals are
// written whatever it says.
type Allows uint8

// The choices. The zero value writes all.
const (
	AllowsAll     Allows = iota
	AllowsSampled        // of each kind the first few in a second, then one in a hundred
	AllowsNone
)

// String is the name of the choice in the configuration.
func (a Allows) String() string {
	switch a {
	case AllowsAll:
		return "all"
	case AllowsSampled:
		return "sampled"
	case AllowsNone:
		return "none"
	default:
		return "invalid"
	}
}

// ParseAllows reads the name that String writes.
func ParseAllows(s string) (Allows, error) {
	for _, a := range []Allows{AllowsAll, AllowsSampled, AllowsNone} {
		if a.String() == s {
			return a, nil
		}
	}
	return AllowsNone, fmt.Errorf("unknown choice %q: use none, sampled or all", s)
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
func (a Allows) want(s *sampler, at int64) bool {
	switch a {
	case AllowsAll:
		return true
	case AllowsSampled:
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
