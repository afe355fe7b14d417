package policy

import (
	"math"
	"time"
)

// epoch is the span of time between two schedule edges: within it the same
// rules are in force. A program keeps the epoch of the present, so that a
// decision compares two integers instead of evaluating schedules.
type epoch struct {
	from, until int64 // Unix seconds, from inclusive, until exclusive
	doors       [doorCount]doorRules
	active      ruleBits // rules whose when holds, whatever their doors
	edges       []int64  // per rule: next instant at which its when may change, 0 for never
}

// doorRules are the rules in force at one door.
type doorRules struct {
	terminal  *ruleSet // allow, block and warn: the first that matches decides
	monitor   *ruleSet // recorded, and matching goes on
	scheduled *ruleSet // in force or not: their when changes at some instant to come
}

// epochAt returns the epoch that holds at, computing it when the kept one does
// not.
func (p *Program) epochAt(at time.Time) *epoch {
	unix := at.Unix()
	if kept := p.present.Load(); kept != nil && unix >= kept.from && unix < kept.until {
		return kept
	}
	return p.newEpoch(unix)
}

// keepEpochAt is epochAt for the traffic of today, which keeps what it had to
// compute. Nothing else may: a tester that asks about next year must not slow
// down the present. A clock that is set back is followed as one that goes on.
func (p *Program) keepEpochAt(at time.Time) *epoch {
	e := p.epochAt(at)
	if e != p.present.Load() {
		p.present.Store(e)
	}
	return e
}

// newEpoch evaluates every schedule at one instant.
func (p *Program) newEpoch(unix int64) *epoch {
	n := len(p.rules)
	e := &epoch{from: unix, until: math.MaxInt64, active: newRuleBits(n)}
	if len(p.scheduledRules) == 0 {
		e.from = math.MinInt64
	} else {
		e.edges = make([]int64, n)
	}
	for i := range p.rules {
		if p.rules[i].When.IsZero() {
			e.active.add(i)
		}
	}
	for _, i := range p.scheduledRules {
		when := &p.rules[i].When
		if when.activeAt(unix) {
			e.active.add(int(i))
		}
		edge := when.nextEdge(unix)
		e.edges[i] = edge
		if edge > 0 && edge < e.until {
			e.until = edge
		}
	}
	for _, d := range Doors() {
		e.doors[d] = p.doorRulesOf(d, e)
	}
	return e
}

// doorRulesOf sorts the rules of an epoch that one door enforces.
func (p *Program) doorRulesOf(d Door, e *epoch) doorRules {
	n := len(p.rules)
	terminal, monitor, scheduled := newRuleBits(n), newRuleBits(n), newRuleBits(n)
	for i := range p.rules {
		if !p.rules[i].atDoor(d) {
			continue
		}
		if e.edges != nil && e.edges[i] > 0 {
			scheduled.add(i)
		}
		if !e.active.has(i) {
			continue
		}
		if p.monitors[i] {
			monitor.add(i)
		} else {
			terminal.add(i)
		}
	}
	return doorRules{terminal: terminal.pack(), monitor: monitor.pack(), scheduled: scheduled.pack()}
}

// atDoor reports whether the rule is enforced at a door.
func (r *Rule) atDoor(d Door) bool {
	if len(r.Doors) == 0 {
		return true
	}
	for _, own := range r.Doors {
		if own == d {
			return true
		}
	}
	return false
}

// NextEdge is the first instant after t at which any schedule of the policy
// may change; the zero Time where none does. Tunnels are judged again then.
func (p *Program) NextEdge(t time.Time) time.Time {
	e := p.epochAt(t)
	if e.until == math.MaxInt64 {
		return time.Time{}
	}
	return time.Unix(e.until, 0)
}
