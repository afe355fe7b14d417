package ratelimit

import "time"

// allowance is a token bucket written as times (the generic cell rate
// algorithm): all that a bucket has to remember is when it will be full
// again. A query pushes that moment interval further away, and may not push
// it further than the burst.
type allowance struct {
	interval int64 // nanoseconds that a query costs
	room     int64 // a bucket that fills in more than this has no query left
	slip     uint8
}

// skew is by how much callers' clocks may differ. A bucket that would fill
// later than it possibly can was written before the clock went back.
const skew = int64(time.Second)

// newAllowance rounds the cost of a query up, so that never more than rate is
// allowed.
func newAllowance(rate, burst int, slip uint8) allowance {
	interval := (int64(time.Second) + int64(rate) - 1) / int64(rate)
	return allowance{interval: interval, room: interval * int64(burst-1), slip: slip}
}

// take takes a query from a bucket which is full at *full, and counts
// those over the limit in *over.
func (a *allowance) take(full *int64, over *uint8, now int64) Decision {
	wait := max(*full-now, 0)
	if wait > a.room {
		if wait > a.room+a.interval+skew {
			*full = now + a.room + a.interval
		}
		return a.refuse(over)
	}
	*full = now + wait + a.interval
	return Allow
}

// refuse slips the first query over the limit, so that a real client learns at
// once where to go, and then one in so many.
func (a *allowance) refuse(over *uint8) Decision {
	d := Drop
	if *over == 0 {
		d = Slip
	}
	if *over++; *over >= a.slip {
		*over = 0
	}
	return d
}
