package policy

import (
	"math"
	"time"
)

// How hours meet daylight saving. A window is wall-clock time in its zone: it
// opens on each of its days at Open and closes at Close, on the following day
// where Close <= Open.
//
//   - A time that the spring change skips counts as the first instant after
//     the gap, for opening and for closing.
//   - A time that the autumn change repeats counts as its first occurrence for
//     opening and as its last for closing: such a window is an hour longer.
//   - A window that lies in the gap altogether is not lost: it opens at the
//     first instant after the gap and lasts as long as it says. (A whole day
//     that a zone left out of its calendar has no windows.)

const (
	secondsPerDay = 24 * 60 * 60
	// windowReach is how many days around an instant can have windows that
	// hold it: a window lasts a day at most, and clocks move by a day at most.
	windowReach = 2
	// scheduleHorizon is how many days ahead an edge is looked for. Hours come
	// round every week; a clock change can hide an edge in some weeks, never
	// in so many.
	scheduleHorizon = 60
)

// activeAt reports whether the When holds at an instant in Unix seconds.
func (w *When) activeAt(unix int64) bool {
	if unix < w.start() || unix >= w.end() {
		return false
	}
	return len(w.Hours) == 0 || w.inHours(unix)
}

// nextEdge is the first instant after unix at which activeAt changes, in Unix
// seconds; 0 where it never does.
func (w *When) nextEdge(unix int64) int64 {
	start, end := w.start(), w.end()
	if start >= end || unix >= end {
		return 0
	}
	from := unix
	if unix < start {
		if len(w.Hours) == 0 || w.inHours(start) {
			return start
		}
		from = start
	}
	edge := w.hoursEdge(from)
	switch {
	case edge < end:
		return edge
	case end != math.MaxInt64 && (len(w.Hours) == 0 || w.inHours(end-1)):
		return end
	default:
		return 0
	}
}

// start and end are the instants From and Until, rounded up to the second.
func (w *When) start() int64 { return unixCeil(w.From, math.MinInt64) }
func (w *When) end() int64   { return unixCeil(w.Until, math.MaxInt64) }

func unixCeil(t time.Time, unset int64) int64 {
	switch {
	case t.IsZero():
		return unset
	case t.Nanosecond() > 0:
		return t.Unix() + 1
	default:
		return t.Unix()
	}
}

func (w *When) zone() *time.Location {
	if w.Zone == nil {
		return time.UTC
	}
	return w.Zone
}

// inHours reports whether a window of Hours holds an instant.
func (w *When) inHours(unix int64) bool {
	_, held := w.heldUntil(unix)
	return held
}

// heldUntil is the last close of the windows that hold an instant.
func (w *When) heldUntil(unix int64) (until int64, held bool) {
	zone := w.zone()
	today := civilDay(unix, zone)
	until = math.MinInt64
	for day := today - windowReach; day <= today+1; day++ {
		for i := range w.Hours {
			if from, to := w.Hours[i].window(day, zone); from <= unix && unix < to {
				until, held = max(until, to), true
			}
		}
	}
	return until, held
}

// hoursEdge is the first instant after unix at which inHours changes;
// math.MaxInt64 where it never does.
func (w *When) hoursEdge(unix int64) int64 {
	if len(w.Hours) == 0 {
		return math.MaxInt64
	}
	until, held := w.heldUntil(unix)
	if !held {
		return w.hoursOpen(unix)
	}
	// Windows that touch or overlap are one.
	for until < unix+scheduleHorizon*secondsPerDay {
		further, held := w.heldUntil(until)
		if !held {
			return until
		}
		until = further
	}
	return math.MaxInt64
}

// hoursOpen is the first opening after unix, which no window holds;
// math.MaxInt64 where there is none.
func (w *When) hoursOpen(unix int64) int64 {
	zone := w.zone()
	today := civilDay(unix, zone)
	first := int64(math.MaxInt64)
	for day := today - windowReach; day < today+scheduleHorizon; day++ {
		for i := range w.Hours {
			if from, to := w.Hours[i].window(day, zone); unix < from && from < to {
				first = min(first, from)
			}
		}
		if first != math.MaxInt64 {
			break // no later day opens earlier
		}
	}
	return first
}

// window is when the window of one day opens and closes, in Unix seconds. A
// day is counted from January 1, 1970. Both are 0 where there is none.
func (h *Hours) window(day int64, zone *time.Location) (from, to int64) {
	if !h.Days[weekday(day)] {
		return 0, 0
	}
	opens := day*secondsPerDay + int64(h.Open)*60
	closes := day*secondsPerDay + int64(h.Close)*60
	if closes <= opens {
		closes += secondsPerDay
	}
	from, _ = wallInstants(opens, zone)
	_, to = wallInstants(closes, zone)
	if from < to {
		return from, to
	}
	if civilDay(from-1, zone) != day && civilDay(from, zone) != day {
		return 0, 0 // the zone left the whole day out
	}
	return from, from + closes - opens
}

// wallInstants are the first and the last instant at which clocks of a zone show
// civil, which is a wall-clock time as Unix seconds if it were UTC. For a time
// that the zone skips, both are the first instant after the gap.
func wallInstants(civil int64, zone *time.Location) (first, last int64) {
	first, last = math.MaxInt64, math.MinInt64
	// No offset is as much as a day, so the period in force a day before is
	// not too late to begin with.
	t := time.Unix(civil-secondsPerDay, 0).In(zone)
	for {
		_, offset := t.Zone()
		begin, end := t.ZoneBounds()
		at := civil - int64(offset)
		if !begin.IsZero() && at < begin.Unix() {
			// Too early for this period, and not in the one before: a gap.
			if first == math.MaxInt64 {
				first, last = begin.Unix(), begin.Unix()
			}
			return first, last
		}
		if end.IsZero() || at < end.Unix() {
			first, last = min(first, at), at
		}
		if end.IsZero() || end.Unix() > civil+secondsPerDay {
			return first, last
		}
		t = end
	}
}

// civilDay is the calendar day that a zone has at an instant, counted from
// January 1, 1970.
func civilDay(unix int64, zone *time.Location) int64 {
	_, offset := time.Unix(unix, 0).In(zone).Zone()
	return floorDiv(unix+int64(offset), secondsPerDay)
}

// weekday is the day of the week of a civil day; the first was a Thursday.
func weekday(day int64) time.Weekday {
	return time.Weekday(day + int64(time.Thursday) - 7*floorDiv(day+int64(time.Thursday), 7))
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
