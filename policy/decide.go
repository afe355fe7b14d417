package policy

import "time"

// Decide answers a request. It allocates nothing, takes no lock, and gives the
// same verdict for the same facts and time at every door that can see them.
//
// A Program knows of no grants: whoever is warned is refused. An [Engine] may.
func (p *Program) Decide(r *Request) (v Verdict) {
	p.decide(&inquiry{r: r, epoch: p.keepEpochAt(r.At)}, &v)
	return v
}

// decide fills v, which must be zero, and returns the claimed host that the
// verdict is about: zero for the request's own. Verdicts are large: they are
// written where they are wanted rather than handed up.
func (p *Program) decide(q *inquiry, v *Verdict) (about Host) {
	r := q.r
	v.Revision, v.Organisation, v.program = p.revision, &p.document.Organisation, p.id
	if r.Door != DoorDNS && r.Door != DoorProxy {
		return Host{}
	}
	q.who = p.whoOf(&r.Subject)
	p.judge(q, &r.Host, r.Derived, v)
	for i := range r.Claimed {
		if r.Claimed[i] == r.Host {
			continue
		}
		own := Verdict{Revision: v.Revision, Organisation: v.Organisation}
		p.judge(q, &r.Claimed[i], nil, &own)
		if own.Action < v.Action {
			about = r.Claimed[i]
		}
		*v = Stricter(*v, own)
	}
	return about
}

// judge decides about one host together with what derives from it. The first
// rule that matches the host decides; a derived fact can turn its allow into a
// refusal, never the other way round: the owner of a name chooses where it
// leads, and must not be able to talk it out of a ban. A warn rule for which
// the subject holds a grant is, for that fact, a rule that allows.
func (p *Program) judge(q *inquiry, host *Host, derived []Host, v *Verdict) {
	r, who := q.r, q.who
	if isCanary(host.name) {
		v.Rule, v.Action, v.Fact = p.canary, p.canary.Action, *host
		v.Group = p.firstGroup(who, v.Rule)
		return
	}
	door := &q.epoch.doors[r.Door]
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
	alone := found.rule
	if decides := p.ruleAt(alone); decides.Action.Refuses() {
		found.granted = decides.Action == ActionWarn && found.passes(q, decides, found.app)
		if !found.granted {
			derived = nil
		}
	}
	if len(derived) > 0 {
		p.judgeDerived(q, door, &base, derived, &found)
	}
	p.fill(v, who, &found)
	if r.Door == DoorDNS {
		v.Judged, v.StripH3 = p.judged(who, &base)
	}
	if who.userMay != nil || door.scheduled != nil {
		p.lookAhead(v, q, &base, alone, derived, found.rule)
	}
	if !found.until.IsZero() {
		v.NextEdge, v.Granted = earlier(v.NextEdge, found.until), v.Action == ActionAllow
	}
}

// finding is what a walk over the facts has come to.
type finding struct {
	rule, monitor   int // the deciding rule, and the first monitoring one before it
	fact            *Host
	app, monitorApp *compiledApp

	granted bool      // the deciding rule warns, and a grant makes it allow
	until   time.Time // the first end of the grants that were leant on; zero: none was
}

// judgeDerived judges each derived fact by the first rule that matches it. One
// that refuses, and stands before the rule that allowed the host itself, takes
// its place. One that allows lets that fact pass and no other: whoever owns a
// name may add a record that some rule allows beside one that leads into a ban.
func (p *Program) judgeDerived(q *inquiry, door *doorRules, base *match, derived []Host, f *finding) {
	r, who := q.r, q.who
	var fact match
	for i := range derived {
		p.findDerived(&derived[i], &fact, base)
		rule := p.first(who.rules, door.terminal, &fact, base, f.rule, r)
		if door.monitor != nil {
			limit := min(f.monitor, rule)
			if monitor := p.first(who.rules, door.monitor, &fact, base, limit, r); monitor < limit {
				f.monitor, f.monitorApp = monitor, appOf(monitor, &fact)
			}
		}
		if rule >= f.rule || !p.rules[rule].Action.Refuses() {
			continue
		}
		app := appOf(rule, &fact)
		if p.rules[rule].Action == ActionWarn && f.passes(q, &p.rules[rule], app) {
			continue
		}
		f.rule, f.fact, f.app, f.granted = rule, &derived[i], app, false
	}
}

// fill writes what the deciding rule says into a verdict. A default that
// blocks lets through, and says so, while the whole policy is rehearsed.
func (p *Program) fill(v *Verdict, who *whoSet, f *finding) {
	v.Rule, v.index = p.ruleAt(f.rule), f.rule
	v.Action = v.Rule.Action
	v.Fact = *f.fact
	v.Group = p.firstGroup(who, v.Rule)
	if f.app != nil {
		v.App = f.app.App
	}
	if f.granted {
		v.Action = ActionAllow
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
