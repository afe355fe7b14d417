package policy

import "time"

// lookAhead finds what could change the verdict: a user name, and a schedule.
// Only rules up to the deciding one matter, since later ones are not read: up
// to alone for the base, whose own verdict says whether derived facts count.
func (p *Program) lookAhead(v *Verdict, q *inquiry, base *match, alone int, derived []Host, rule int) {
	r, who, e := q.r, q.who, q.epoch
	door := &e.doors[r.Door]
	limit := min(alone+1, len(p.rules))
	edge := p.nextEdge(e, who, door, base, base, limit, r, 0)
	v.NeedsUser = p.userCounts(who, door, base, base, limit, r, v.Action)
	limit = min(rule+1, len(p.rules))
	if len(derived) > 0 {
		var fact match
		for i := range derived {
			p.findDerived(&derived[i], &fact, base)
			edge = p.nextEdge(e, who, door, &fact, base, limit, r, edge)
			v.NeedsUser = v.NeedsUser || p.userCounts(who, door, &fact, base, limit, r, v.Action)
		}
	}
	if edge != 0 {
		v.NextEdge = time.Unix(edge, 0)
	}
}

// userCounts reports whether a rule in force fits the fact and could change
// the action if the user were known: the deciding rule could cease to match,
// or an earlier one, with another action, could come to.
func (p *Program) userCounts(who *whoSet, door *doorRules, fact, base *match, limit int, r *Request, action Action) bool {
	if who.userMay == nil {
		return false
	}
	for from := 0; ; {
		i := p.firstFrom(from, who.userMay, door.terminal, fact, base, limit, r)
		if i >= limit {
			return false
		}
		if who.rules.has(i) || p.rules[i].Action != action {
			return true
		}
		from = i + 1
	}
}

// nextEdge is the earliest edge of a rule that fits subject and fact, or
// earliest where that is earlier. Zero stands for never.
func (p *Program) nextEdge(e *epoch, who *whoSet, door *doorRules, fact, base *match, limit int, r *Request, earliest int64) int64 {
	if door.scheduled == nil {
		return earliest
	}
	for from := 0; ; {
		i := p.firstFrom(from, who.rules, door.scheduled, fact, base, limit, r)
		if i >= limit {
			return earliest
		}
		if edge := e.edges[i]; earliest == 0 || edge < earliest {
			earliest = edge
		}
		from = i + 1
	}
}
