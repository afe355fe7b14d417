package gateway

import (
	"errors"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// listLimits bounds what fetching may take.
type listLimits struct {
	usual    time.Duration // between two fetches of a list that says nothing else
	size     int64         // of a list that says nothing else
	parallel int           // downloads at a time

	dial   time.Duration // to reach one address of a server
	header time.Duration // for the head of an answer to come
	stall  time.Duration // without a byte of its body
	whole  time.Duration // for one fetch

	first time.Duration // wait after the first failure; doubled with each further one
	most  time.Duration // wait after failures that pass by themselves
	pause time.Duration // between two tries that somebody asked for
	fresh time.Duration // age below which a copy is not asked after when the gateway starts

	startQuiet time.Duration // of a start without a byte of any list
	startWhole time.Duration // of a start that waits for lists
}

func defaultListLimits() listLimits {
	return listLimits{
		usual:      24 * time.Hour,
		size:       64 << 20,
		parallel:   4,
		dial:       10 * time.Second,
		header:     30 * time.Second,
		stall:      30 * time.Second,
		whole:      10 * time.Minute,
		first:      30 * time.Second,
		most:       time.Hour,
		pause:      10 * time.Second,
		fresh:      time.Minute,
		startQuiet: 30 * time.Second,
		startWhole: 5 * time.Minute,
	}
}

// refresh is the time between two fetches of a list.
func (l *listLimits) refresh(source policy.ListSource) time.Duration {
	if source.Refresh > 0 {
		return source.Refresh
	}
	return l.usual
}

// mostBytes is how long a list may be.
func (l *listLimits) mostBytes(source policy.ListSource) int64 {
	if source.MaxSize > 0 {
		return source.MaxSize
	}
	return l.size
}

// due is how long a list of that age can wait: until its time has come.
func (l *listLimits) due(refresh, age time.Duration) time.Duration {
	if age < 0 {
		return 0 // the clock was set back: nothing is known
	}
	return max(0, refresh-age)
}

// dueAtStart is due when the gateway starts: whoever starts one wants the
// newest, but one that starts again and again must not ask each time.
func (l *listLimits) dueAtStart(refresh, age time.Duration) time.Duration {
	if age >= 0 && age < l.fresh {
		return l.due(refresh, age)
	}
	return 0
}

// wait is how long to wait after a fetch. Every wait has some chance in it, so
// that a fleet of gateways does not ask as one: after a success up to a tenth
// more than the list says, after a failure between half and all of a wait that
// doubles each time. A server that is away is asked again within the hour; one
// that sends what is no good may do so for as long as the list is refreshed,
// and would be a burden to download each hour.
func (l *listLimits) wait(refresh time.Duration, failures int, err error, random func(time.Duration) time.Duration) time.Duration {
	if failures == 0 {
		return refresh + random(refresh/10)
	}
	most := min(refresh, l.most)
	switch fetchResult(err) {
	case fetchSize, fetchChecksum, fetchFormat, fetchShrunk, fetchTests:
		most = refresh
	}
	wait := l.first
	for range failures - 1 {
		if wait *= 2; wait >= most {
			break
		}
	}
	wait = min(wait, most)
	wait = wait/2 + random(wait-wait/2)
	var failed *fetchError
	if errors.As(err, &failed) {
		wait = max(wait, min(failed.after, maxRetryAfter))
	}
	return wait
}

// maxRetryAfter bounds what a server may ask for (RFC 9110 §10.2.3).
const maxRetryAfter = 24 * time.Hour
