package policy

import (
	"fmt"
	"slices"
)

// maxShadowWork bounds the comparisons that the search for unreachable rules
// makes: with very many rules about the same things it stops looking, since a
// missing warning is better than a slow check.
const maxShadowWork = 4_000_000

// shadows looks for rules that can never match.
//
// A rule is the union of its cases: one selector of its who, with one selector
// of its what, at one door. It can never match when each case is taken by some
// earlier terminal rule, at all times and ports at which it would hold.
// Every comparison may err on one side only: "takes" is said when it is
// certain from the text of the policy.
type shadows struct {
	rules   []*Rule          // exceptions, then rules
	index   map[string][]int // what a terminal rule names -> its places, ascending
	clients *clientCover
	targets *targetCover
	work    int // comparisons left
}

// shadowed reports the rules that can never match because earlier ones take
// all of them.
func (l *linter) shadowed() {
	s := &shadows{index: map[string][]int{}, work: maxShadowWork}
	l.eachRule(func(r *Rule) { s.rules = append(s.rules, r) })
	s.clients = newClientCover(l.doc.Groups, &s.work)
	s.targets = newTargetCover(joinApps(l.doc, l.catalogue), &s.work)
	for at, r := range s.rules {
		overdue := !r.When.Until.IsZero() && !r.When.Until.After(l.now)
		if !overdue && s.work > 0 {
			if takers := s.takers(at, r); takers != nil {
				l.problems.Warnf(r.Position, "%s %q can never match: %s above already %s all of it",
					r.kind(), r.Name, join(quoted(takers), "and"), plural(len(takers), "takes", "take"))
			}
		}
		if r.terminal(l.doc.ReportOnly) {
			for _, key := range s.targets.keysOf(&r.What) {
				s.index[key] = append(s.index[key], at)
			}
		}
	}
}

// terminal reports whether matching ends with the rule.
func (r *Rule) terminal(reportOnly bool) bool {
	switch r.Action {
	case ActionAllow:
		return true
	case ActionBlock, ActionWarn:
		return !r.ReportOnly && !reportOnly
	default:
		return false
	}
}

// takers names the earlier rules that together take every case of the rule at
// a place; nil where some case is left, or the work is used up.
func (s *shadows) takers(at int, r *Rule) []string {
	var places []int
	doors := r.Doors
	if len(doors) == 0 {
		doors = Doors()
	}
	for _, target := range targetsOf(&r.What) {
		candidates := s.candidates(at, target)
		for _, client := range clientsOf(&r.Who) {
			for _, door := range doors {
				taker := slices.IndexFunc(candidates, func(c int) bool {
					return s.takes(s.rules[c], r, client, target, door)
				})
				if taker < 0 || s.work <= 0 {
					return nil
				}
				places = append(places, candidates[taker])
			}
		}
	}
	slices.Sort(places)
	var names []string
	for _, place := range slices.Compact(places) {
		names = append(names, s.rules[place].Name)
	}
	return names
}

// candidates are the terminal rules before at that could take a target.
func (s *shadows) candidates(at int, t target) []int {
	var all []int
	for _, key := range s.targets.keysTaking(t) {
		for _, place := range s.index[key] {
			if place < at {
				all = append(all, place)
			}
		}
	}
	s.work -= len(all)
	slices.Sort(all)
	return slices.Compact(all)
}

// takes reports whether the earlier rule takes one case of the later one.
func (s *shadows) takes(earlier, later *Rule, c client, t target, door Door) bool {
	s.work--
	if s.work <= 0 || len(earlier.Doors) > 0 && !slices.Contains(earlier.Doors, door) {
		return false
	}
	return earlier.When.takes(&later.When) &&
		takesPorts(earlier.What.Ports, later.What.Ports) &&
		s.targets.takes(&earlier.What, &later.What, t) &&
		s.clients.takes(&earlier.Who, &later.Who, c)
}

// takes reports whether w holds whenever later does.
func (w *When) takes(later *When) bool {
	if !w.From.IsZero() && (later.From.IsZero() || later.From.Before(w.From)) {
		return false
	}
	if !w.Until.IsZero() && (later.Until.IsZero() || later.Until.After(w.Until)) {
		return false
	}
	if len(w.Hours) == 0 {
		return true
	}
	if len(later.Hours) == 0 || w.Zone.String() != later.Zone.String() {
		return false
	}
	for i := range later.Hours {
		if !slices.ContainsFunc(w.Hours, func(h Hours) bool { return h.takes(&later.Hours[i]) }) {
			return false
		}
	}
	return true
}

// takes reports whether one window lies within the other on the same days.
func (h *Hours) takes(later *Hours) bool {
	for day := range later.Days {
		if later.Days[day] && !h.Days[day] {
			return false
		}
	}
	if h.Open == later.Open && h.Close == later.Close {
		return true
	}
	crosses := h.Close <= h.Open || later.Close <= later.Open
	return !crosses && h.Open <= later.Open && later.Close <= h.Close
}

// takesPorts reports whether every port of later is one of earlier's.
func takesPorts(earlier, later []PortRange) bool {
	if len(earlier) == 0 {
		return true
	}
	if len(later) == 0 {
		return false
	}
	for _, l := range later {
		if !slices.ContainsFunc(earlier, func(e PortRange) bool {
			return (e.Any || !l.Any && e.Protocol == l.Protocol) && e.From <= l.From && l.To <= e.To
		}) {
			return false
		}
	}
	return true
}

func quoted(names []string) []string {
	const few = 3
	var all []string
	for i, name := range names {
		if i == few {
			return append(all, fmt.Sprintf("%d more", len(names)-few))
		}
		all = append(all, fmt.Sprintf("%q", name))
	}
	return all
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
