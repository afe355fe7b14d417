package policy

import "time"

// ExceptionStates is how many exceptions of a policy stand where at an instant.
type ExceptionStates struct {
	Upcoming int // not in force, and they will be: before their date, or between their hours
	InForce  int
	Expired  int // over for good
}

// ExceptionStates counts the policy's exceptions by where they stand at t.
func (p *Program) ExceptionStates(t time.Time) ExceptionStates {
	var states ExceptionStates
	e := p.epochAt(t)
	for i := range p.document.Exceptions { // which are the first of the rules
		switch {
		case e.active.has(i):
			states.InForce++
		case e.edges != nil && e.edges[i] > 0:
			states.Upcoming++
		default:
			states.Expired++
		}
	}
	return states
}

// RuleActions counts the policy's rules by what they do, whatever their dates
// and hours: [ActionMonitor] is what a refusing rule does that is only rehearsed
// (report-only). Exceptions and the default are not among them.
func (p *Program) RuleActions() map[Action]int {
	return p.countRules(func(int) bool { return true })
}

// RuleActionsAt is RuleActions of the rules alone that apply at t by their
// dates and hours.
func (p *Program) RuleActionsAt(t time.Time) map[Action]int {
	return p.countRules(p.epochAt(t).active.has)
}

// countRules counts, by what they do, the rules that count.
func (p *Program) countRules(counts func(rule int) bool) map[Action]int {
	n := map[Action]int{ActionBlock: 0, ActionWarn: 0, ActionAllow: 0, ActionMonitor: 0}
	for i := len(p.document.Exceptions); i < len(p.rules); i++ {
		switch {
		case !counts(i):
		case p.monitors[i]:
			n[ActionMonitor]++
		default:
			n[p.rules[i].Action]++
		}
	}
	return n
}
