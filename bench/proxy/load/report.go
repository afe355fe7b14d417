//go:build linux

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// errWrong is in the chain of every error that says that a proxy gave something
// else than it was asked for.
var errWrong = errors.New("wrong")

// report is what was measured.
type report struct {
	rate   float64
	n      int64
	failed int
	wrong  int
	why    string
	took   []time.Duration // of single tries; none: nobody asked
	more   string          // what the part says besides
}

// note counts a try that went wrong.
func (r *report) note(err error) {
	r.failed++
	if errors.Is(err, errWrong) {
		r.wrong++
	}
	r.why = err.Error()
}

// add takes what somebody else has counted.
func (r *report) add(other *report) {
	r.n += other.n
	r.failed += other.failed
	r.wrong += other.wrong
	r.took = append(r.took, other.took...)
	if other.why != "" {
		r.why = other.why
	}
}

// String is the report as a line that a shell may evaluate.
func (r report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "rate=%.3f n=%d failed=%d wrong=%d", r.rate, r.n, r.failed, r.wrong)
	if len(r.took) > 0 {
		slices.Sort(r.took)
		fmt.Fprintf(&b, " p50=%.1f p99=%.1f", micros(r.took, 50), micros(r.took, 99))
	}
	if r.more != "" {
		b.WriteString(" " + r.more)
	}
	quoted := strings.Map(func(c rune) rune {
		if c == '\'' || c < ' ' || c > '~' {
			return '.'
		}
		return c
	}, r.why)
	fmt.Fprintf(&b, " why='%s'", quoted)
	return b.String()
}

func micros(sorted []time.Duration, percent int) float64 {
	return float64(sorted[(len(sorted)-1)*percent/100].Nanoseconds()) / 1000
}
