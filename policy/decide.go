package policy

import (
	"math/bits"
	"time"
)

// match is what one fact (a name or an address) finds in the tables.
type match struct {
	host     *Host
	dest     *destination
	pos, neg uint64                // word 0 of the rules that fit, and of those excepted
	extra    [extraRoom]extraRules // lists and regular expressions that fit: the first few,
	held     int                   // how many of these there are,
	more     []extraRules          // and the rest
}

// extraRules are the rules that a list or a regular expression brings.
type extraRules struct{ pos, neg *ruleSet }

// extraRoom is how many lists and expressions one fact may fit before the
// decision has to allocate.
const extraRoom = 2

// set begins a match with what the tables hold for the fact.
func (m *match) set(d *destination) { m.dest, m.pos, m.neg = d, d.pos.first(), d.neg.first() }

// replace puts another destination in the place of the first one, and keeps
// the lists and expressions.
func (m *match) replace(d *destination) {
	m.set(d)
	for i := range m.held {
		m.pos |= m.extra[i].pos.first()
		m.neg |= m.extra[i].neg.first()
	}
	for i := range m.more {
		m.pos |= m.more[i].pos.first()
		m.neg |= m.more[i].neg.first()
	}
}

// add notes that a list or an expression fits. The first few stay inside the
// match, which lives on the stack.
func (m *match) add(e extraRules) {
	m.pos |= e.pos.first()
	m.neg |= e.neg.first()
	if m.held < extraRoom {
		m.extra[m.held] = e
		m.held++
		return
	}
	m.more = append(m.more, e)
}

// Decide answers a request. It allocates nothing, takes no lock, and gives the
// same verdict for the same facts and time at every door that can see them.
func (p *Program) Decide(r *Request) (v Verdict) {
	p.decide(r, p.keepEpochAt(r.At), &v)
	return v
}

// decide fills v, which must be zero, and returns the claimed host that the
// verdict is about: zero for the request's own. Verdicts are large: they are
// written where they are wanted rather than handed up.
func (p *Program) decide(r *Request, e *epoch, v *Verdict) (about Host) {
	v.Revision, v.Organisation = p.revision, &p.document.Organisation
	if r.Door != DoorDNS && r.Door != DoorProxy {
		return Host{}
	}
	who := p.whoOf(&r.Subject)
	p.judge(r, who, e, &r.Host, r.Derived, v)
	for i := range r.Claimed {
		if r.Claimed[i] == r.Host {
			continue
		}
		own := Verdict{Revision: v.Revision, Organisation: v.Organisation}
		p.judge(r, who, e, &r.Claimed[i], nil, &own)
		if own.Action < v.Action {
			about = r.Claimed[i]
		}
		*v = Stricter(*v, own)
	}
	return about
}

// judge decides about one host together with what derives from it: the
// earliest rule that matches any of these facts.
func (p *Program) judge(r *Request, who *whoSet, e *epoch, host *Host, derived []Host, v *Verdict) {
	door := &e.doors[r.Door]
	var base match
	p.find(host, &base)
	found := finding{fact: host}
	found.rule = p.first(who.rules, door.terminal, &base, &base, len(p.rules), r)
	found.monitor = found.rule
	found.app = appOf(found.rule, &base)
	if door.monitor != nil {
		found.monitor = p.first(who.rules, door.monitor, &base, &base, found.rule, r)
		found.monitorApp = appOf(found.monitor, &base)
	}
	if len(derived) > 0 {
		p.judgeDerived(r, who, door, &base, derived, &found)
	}
	p.fill(v, who, &found)
	if who.userMay != nil || door.scheduled != nil {
		p.lookAhead(v, r, who, e, &base, derived, found.rule)
	}
}

// finding is what a walk over the facts has come to.
type finding struct {
	rule, monitor   int // the deciding rule, and the first monitoring one before it
	fact            *Host
	app, monitorApp *compiledApp
}

// judgeDerived lets each derived fact find an earlier rule.
func (p *Program) judgeDerived(r *Request, who *whoSet, door *doorRules, base *match, derived []Host, f *finding) {
	var fact match
	for i := range derived {
		p.findDerived(&derived[i], &fact, base)
		if rule := p.first(who.rules, door.terminal, &fact, base, f.rule, r); rule < f.rule {
			f.rule, f.fact, f.app = rule, &derived[i], appOf(rule, &fact)
		}
		if door.monitor == nil {
			continue
		}
		limit := min(f.monitor, f.rule)
		if rule := p.first(who.rules, door.monitor, &fact, base, limit, r); rule < limit {
			f.monitor, f.monitorApp = rule, appOf(rule, &fact)
		}
	}
}

// fill writes what the deciding rule says into a verdict. A default that
// blocks lets through, and says so, while the whole policy is rehearsed.
func (p *Program) fill(v *Verdict, who *whoSet, f *finding) {
	v.Rule = p.ruleAt(f.rule)
	v.Action = v.Rule.Action
	v.Fact = *f.fact
	v.Group = p.firstGroup(who, v.Rule)
	if f.app != nil {
		v.App = f.app.App
	}
	if f.rule == len(p.rules) && v.Rule.ReportOnly && v.Action.Refuses() {
		v.Would, v.WouldAction, v.WouldApp, v.WouldGroup = v.Rule, v.Action, v.App, v.Group
		v.Action = ActionAllow
	}
	if f.monitor < f.rule {
		p.fillWould(v, who, f)
	}
}

// fillWould notes what a monitoring rule would have done, where that is
// stricter than what is done.
func (p *Program) fillWould(v *Verdict, who *whoSet, f *finding) {
	rule := p.ruleAt(f.monitor)
	action := rule.Action
	if action == ActionMonitor {
		action = ActionBlock
	}
	if action >= v.Action {
		return
	}
	v.Would, v.WouldAction, v.WouldGroup = rule, action, p.firstGroup(who, rule)
	v.WouldApp = nil
	if f.monitorApp != nil {
		v.WouldApp = f.monitorApp.App
	}
}

// lookAhead finds what could change the verdict: a user name, and a schedule.
// Only rules up to the deciding one matter, since later ones are not read.
func (p *Program) lookAhead(v *Verdict, r *Request, who *whoSet, e *epoch, base *match, derived []Host, rule int) {
	door := &e.doors[r.Door]
	limit := min(rule+1, len(p.rules))
	edge := p.nextEdge(e, who, door, base, base, limit, r, 0)
	v.NeedsUser = p.userCounts(who, door, base, base, limit, r, v.Action)
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

// first is the lowest rule below limit that is in subject, in force and in
// what the fact found, and whose ports fit; limit where there is none.
func (p *Program) first(subject, force *ruleSet, fact, base *match, limit int, r *Request) int {
	set := subject.first() & force.first() & fact.pos &^ (fact.neg | base.neg)
	if set == 0 && limit <= 64 {
		return limit
	}
	return p.lowest(set, subject, force, fact, base, limit, r)
}

// lowest is first, given word 0 of the intersection.
func (p *Program) lowest(set uint64, subject, force *ruleSet, fact, base *match, limit int, r *Request) int {
	for ; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		if i >= limit {
			return limit
		}
		if p.portFits(i, r) {
			return i
		}
	}
	if limit <= 64 {
		return limit
	}
	return p.firstFrom(64, subject, force, fact, base, limit, r)
}

// firstFrom is first for rules from an index on, over every word of the sets.
func (p *Program) firstFrom(from int, subject, force *ruleSet, fact, base *match, limit int, r *Request) int {
	if subject == nil || force == nil {
		return limit
	}
	for s := from >> 12; s < len(subject.sum); s++ {
		words := subject.sum[s] & force.summary(s) & fact.summary(s)
		for ; words != 0; words &= words - 1 {
			w := s<<6 + bits.TrailingZeros64(words)
			if w<<6 >= limit {
				return limit
			}
			if w < from>>6 {
				continue
			}
			set := subject.word(w) & force.word(w) & fact.word(w)
			if w == from>>6 {
				set &= ^uint64(0) << (from & 63)
			}
			if set == 0 {
				continue
			}
			for set &^= fact.excepted(w) | base.excepted(w); set != 0; set &= set - 1 {
				i := w<<6 + bits.TrailingZeros64(set)
				if i >= limit {
					return limit
				}
				if p.portFits(i, r) {
					return i
				}
			}
		}
	}
	return limit
}

// portFits reports whether a rule's ports take the request's. A door that sees
// no port matches no rule with ports.
func (p *Program) portFits(rule int, r *Request) bool {
	ports := p.ports[rule]
	if len(ports) == 0 {
		return true
	}
	for i := range ports {
		if ports[i].contains(r.Protocol, r.Port) {
			return true
		}
	}
	return false
}

func (pr *PortRange) contains(protocol Protocol, port uint16) bool {
	return port != 0 && (pr.Any || pr.Protocol == protocol) && pr.From <= port && port <= pr.To
}

// summary tells which words of the rules that fit are not zero. It may name a
// word too many, never one too few.
func (m *match) summary(s int) uint64 {
	sum := m.dest.pos.summary(s)
	for i := range m.extra[:m.held] {
		sum |= m.extra[i].pos.summary(s)
	}
	for i := range m.more {
		sum |= m.more[i].pos.summary(s)
	}
	return sum
}

// word is word w of the rules that fit the fact.
func (m *match) word(w int) uint64 {
	word := m.dest.pos.word(w)
	for i := range m.extra[:m.held] {
		word |= m.extra[i].pos.word(w)
	}
	for i := range m.more {
		word |= m.more[i].pos.word(w)
	}
	return word
}

// excepted is word w of the rules that the fact is excepted from.
func (m *match) excepted(w int) uint64 {
	word := m.dest.neg.word(w)
	for i := range m.extra[:m.held] {
		word |= m.extra[i].neg.word(w)
	}
	for i := range m.more {
		word |= m.more[i].neg.word(w)
	}
	return word
}

// appOf is the app through which a rule selected a fact; where it did not
// select by app, the first app that the fact belongs to; nil where there is
// none.
func appOf(rule int, m *match) *compiledApp {
	for _, app := range m.dest.apps {
		if app.rules.has(rule) {
			return app
		}
	}
	if len(m.dest.apps) > 0 {
		return m.dest.apps[0]
	}
	return nil
}
