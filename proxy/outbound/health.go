package outbound

import (
	"sync"
	"time"
)

// How long a parent that does not work is left alone.
const (
	firstRest = time.Second
	longRest  = time.Minute

	// manySilent is how many requests in a row may go without an answer before
	// that is taken to be the parent's fault, and not the destinations'.
	manySilent = 3
)

// outcome is what an attempt says about a parent.
type outcome uint8

const (
	outcomeUnknown  outcome = iota // nothing: nobody waited for the end
	outcomeAnswered                // it works: it has connected, or said why not
	outcomeReached                 // it can be reached, whatever it does then
	outcomeSilent                  // it has taken a request and said nothing in time
	outcomeFailed                  // it could not be reached, or does not speak its protocol
)

// health knows whether a parent works. A parent that failed is left alone for a
// while, twice as long each time; then one request may find out whether it is
// back. Safe for concurrent use.
type health struct {
	changed func(up bool, rest time.Duration, why error) // called with mu held, in order

	mu       sync.Mutex
	failures int       // in a row; 0: it works
	silent   int       // requests without an answer, in a row
	until    time.Time // left alone
	tried    time.Time // the last time that it was tried all the same
	probing  bool      // somebody is finding out
	why      error     // of the last failure
}

// permit is leave to use a parent. It must be given back by settle.
type permit struct {
	health *health
	probe  bool
	once   sync.Once
}

// ask gives leave to use the parent now. Where there is no other way (alone), a
// parent that is left alone is tried once a second all the same: it may be back
// long before its time.
func (h *health) ask(alone bool) (*permit, bool) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failures == 0 {
		return &permit{health: h}, true
	}
	due := !now.Before(h.until) || alone && !now.Before(h.tried.Add(firstRest))
	if h.probing || !due {
		return nil, false
	}
	h.probing, h.tried = true, now
	return &permit{health: h, probe: true}, true
}

// settle gives the leave back, and says how it went. Only the first word counts.
func (p *permit) settle(o outcome, why error) {
	p.once.Do(func() { p.health.settle(p.probe, o, why) })
}

func (h *health) settle(probe bool, o outcome, why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if probe {
		h.probing = false
	}
	switch o {
	case outcomeUnknown:
		return
	case outcomeReached:
		if h.silent < manySilent { // else it is not to be reached that was wrong
			h.works()
		}
		return
	case outcomeAnswered:
		h.silent = 0
		h.works()
		return
	case outcomeSilent:
		if h.silent++; h.silent < manySilent {
			return
		}
	}
	if h.failures > 0 && !probe {
		return // begun before it was left alone
	}
	h.failures++
	rest := min(firstRest<<min(h.failures-1, 10), longRest)
	now := time.Now()
	h.until, h.tried, h.why = now.Add(rest), now, why
	h.changed(false, rest, why)
}

// works ends a rest. h.mu is held.
func (h *health) works() {
	if h.failures == 0 {
		return
	}
	h.failures, h.why = 0, nil
	h.changed(true, 0, nil)
}

// lastError is why the parent is left alone.
func (h *health) lastError() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.why
}
