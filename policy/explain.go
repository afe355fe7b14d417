package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Explanation is a verdict with the way to it. Its JSON form is the contract
// of `sallyport explain --json` and of the admin API.
type Explanation struct {
	Action       string   `json:"action"`
	Rule         string   `json:"rule"`
	App          string   `json:"app"`
	Group        string   `json:"group"`
	Fact         string   `json:"fact"`
	Reason       string   `json:"reason"`
	Message      string   `json:"message,omitempty"`
	Alternatives []string `json:"alternatives"`
	Ticket       string   `json:"ticket,omitempty"`
	Would        string   `json:"would"`
	WouldRule    string   `json:"would_rule,omitempty"`
	NeedsUser    bool     `json:"needs_user,omitempty"`
	Granted      bool     `json:"granted,omitempty"` // by a grant that the client holds; NextEdge is no later than its end
	Revision     string   `json:"revision"`
	NextEdge     string   `json:"next_edge"`
	Trace        []Step   `json:"trace"`

	// Verdict is what the data path would have been told.
	Verdict Verdict `json:"-"`
}

// Step is one rule that was read, and why it did or did not match. Deferred
// names the selector of which the door has seen nothing: ports, which the DNS
// door never sees, or devices, which the proxy door never sees and the DNS door
// only where a client proves them.
type Step struct {
	Rule     string `json:"rule"`
	Matched  bool   `json:"matched"`
	Because  string `json:"because"`
	Deferred string `json:"deferred,omitempty"`
	Action   string `json:"action,omitempty"` // of a rule that matched
	Place    string `json:"place,omitempty"`  // file:line:col of the rule
}

// Explain decides as Decide does, by the same code and tables, and says for
// every rule that was read why it did not match.
//
// As to Decide, nobody holds a grant; see [Engine.Explain].
func (p *Program) Explain(r *Request) Explanation { return p.explain(r, nil) }

func (p *Program) explain(r *Request, grants Grants) Explanation {
	q := &inquiry{r: r, epoch: p.epochAt(r.At), grants: grants}
	var verdict Verdict
	claim := p.decide(q, &verdict)
	x := Explanation{
		Action:       verdict.Action.String(),
		Rule:         verdict.RuleName(),
		App:          verdict.AppID(),
		Group:        verdict.Group,
		Fact:         verdict.Fact.String(),
		Reason:       verdict.Reason(),
		Alternatives: []string{},
		NeedsUser:    verdict.NeedsUser,
		Granted:      verdict.Granted,
		Revision:     p.revision,
		Trace:        []Step{},
		Verdict:      verdict,
	}
	if verdict.Rule != nil {
		x.Message, x.Ticket = verdict.Rule.Message, verdict.Rule.Ticket
		x.Alternatives = append(x.Alternatives, verdict.Rule.Alternatives...)
	}
	if x.Group == "" {
		x.Group = NoGroup
	}
	if verdict.Would != nil {
		x.Would, x.WouldRule = verdict.WouldAction.String(), verdict.Would.Name
	}
	if !verdict.NextEdge.IsZero() {
		x.NextEdge = verdict.NextEdge.In(p.document.Location).Format(time.RFC3339)
	}
	if verdict.Rule != nil {
		x.Trace = p.trace(q, claim, verdict.Rule)
	}
	return x
}

// tracer holds what the walk found, so that each rule can be asked about.
type tracer struct {
	p     *Program
	q     *inquiry
	r     *Request
	e     *epoch
	who   *whoSet
	base  match
	facts []match // base first
}

// trace reads the rules up to the deciding one against the sets that decided.
func (p *Program) trace(q *inquiry, claim Host, decided *Rule) []Step {
	r := q.r
	host, derived := r.Host, r.Derived
	if !claim.IsZero() {
		host, derived = claim, nil
	}
	if decided == p.canary {
		return []Step{{Rule: RuleCanary, Matched: true, Because: host.String() + " asks whether queries may go past this resolver", Action: decided.Action.String()}}
	}
	if p.refusedAlone(q, host) {
		derived = nil // as in judge
	}
	t := &tracer{p: p, q: q, r: r, e: q.epoch, who: q.who}
	p.find(&host, &t.base)
	t.facts = append(t.facts, t.base)
	for i := range derived {
		var m match
		p.findDerived(&derived[i], &m, &t.base)
		t.facts = append(t.facts, m)
	}
	var steps []Step
	for i := range p.rules {
		step := t.step(i)
		step.Rule, step.Place = p.rules[i].Name, p.rules[i].Position.String()
		steps = append(steps, step)
		if &p.rules[i] == decided {
			return steps
		}
	}
	return append(steps, Step{Rule: DefaultRule, Matched: true, Because: "no rule matched", Action: decided.Action.String()})
}

// refusedAlone reports whether the terminal rules refuse a host without what
// derives from it.
func (p *Program) refusedAlone(q *inquiry, host Host) bool {
	var base match
	p.find(&host, &base)
	i := p.first(q.who.rules, q.epoch.doors[q.r.Door].terminal, &base, &base, len(p.rules), q.r)
	rule := p.ruleAt(i)
	if !rule.Action.Refuses() {
		return false
	}
	_, granted := q.pass(rule, appOf(i, &base))
	return !granted
}

// step asks in the order of the language: who, what, when, doors, ports.
func (t *tracer) step(i int) Step {
	rule := &t.p.rules[i]
	if !t.who.rules.has(i) {
		return t.whoFails(i, rule)
	}
	fact, because := t.whatFits(i)
	if fact == nil {
		return Step{Because: because}
	}
	if !t.e.active.has(i) {
		return Step{Because: rule.When.whyNot(t.r.At, t.p.document.Location)}
	}
	if !rule.atDoor(t.r.Door) {
		return Step{Because: fmt.Sprintf("the rule is not enforced at the %s door", t.r.Door)}
	}
	if !t.p.portFits(i, t.r) {
		return t.portFails(rule)
	}
	action := rule.Action.String()
	if t.p.monitors[i] {
		because = fmt.Sprintf("%s; recorded only, matching goes on", because)
		if rule.Action.Refuses() && rule.Action != ActionMonitor {
			action = rule.Action.String() + " (report-only)"
		}
		return Step{Matched: true, Because: because, Action: action}
	}
	if until, granted := t.q.pass(rule, appOf(i, fact)); granted {
		because += "; " + t.grantedUntil(until)
		action += " (granted)"
	}
	return Step{Matched: true, Because: because, Action: action}
}

func (t *tracer) grantedUntil(until time.Time) string {
	return "granted until " + until.In(t.p.document.Location).Format(time.RFC3339)
}

func (t *tracer) whoFails(i int, rule *Rule) Step {
	id := &t.r.Subject.Identity
	name := "client " + id.Addr.String()
	switch {
	case id.User != "":
		name = "user " + id.User
	case !id.Addr.IsValid():
		name = "the client"
	}
	if t.who.userMay.has(i) && !rule.Who.isEveryone() {
		return Step{Because: name + " not in who; signing in could change that"}
	}
	if len(id.Devices) == 0 && t.p.selectsDevices(&rule.Who) {
		return Step{Because: name + " not in who; " + deviceUnknown(t.r.Door), Deferred: "devices"}
	}
	if rule.Who.isEveryone() {
		return Step{Because: name + " is in who.except"}
	}
	if rule.Who.Except != nil {
		return Step{Because: name + " not in who, or in who.except"}
	}
	return Step{Because: name + " not in who"}
}

// deviceUnknown says why a door may know no device of a client.
func deviceUnknown(d Door) string {
	if d == DoorDNS {
		return "its device is not known, which it would have to prove over DoT, DoH or DoQ"
	}
	return fmt.Sprintf("the %s door does not see devices", d)
}

// selectsDevices reports whether a Who names devices, itself or by its groups.
func (p *Program) selectsDevices(w *Who) bool {
	if len(w.Devices) > 0 {
		return true
	}
	looked := map[string]bool{} // into each group once, however they are nested
	waiting := w.Groups
	for len(waiting) > 0 {
		name := waiting[0].Name
		waiting = waiting[1:]
		g := slices.IndexFunc(p.document.Groups, func(g Group) bool { return g.Name == name })
		if g < 0 || looked[name] {
			continue
		}
		group := &p.document.Groups[g]
		if len(group.Devices) > 0 {
			return true
		}
		looked[name] = true
		waiting = slices.Concat(waiting, group.Groups)
	}
	return false
}

// whatFits finds the first fact that the rule selects.
func (t *tracer) whatFits(i int) (*match, string) {
	w, bit := i>>6, uint64(1)<<(i&63)
	passes := "" // why a fact that the rule would refuse does pass
	if t.base.excepted(w)&bit != 0 {
		return nil, fmt.Sprintf("%s is in what.except", t.base.host)
	}
	for f := range t.facts {
		fact := &t.facts[f]
		if fact.word(w)&bit == 0 || fact.excepted(w)&bit != 0 {
			continue
		}
		if f > 0 && !t.p.monitors[i] {
			first := t.firstOf(fact)
			if first < i || !t.p.rules[i].Action.Refuses() {
				continue // it cannot decide through a derived fact
			}
			if until, granted := t.q.pass(&t.p.rules[i], appOf(i, fact)); granted && first == i {
				passes = t.describe(i, fact, true) + "; " + t.grantedUntil(until) + ", which lets it pass"
				continue
			}
		}
		return fact, t.describe(i, fact, f > 0)
	}
	if passes != "" {
		return nil, passes
	}
	if len(t.facts) > 1 {
		return nil, fmt.Sprintf("%s, and what it resolves to, not in what", t.base.host)
	}
	return nil, fmt.Sprintf("%s not in what", t.base.host)
}

// firstOf is the first terminal rule that matches a fact.
func (t *tracer) firstOf(fact *match) int {
	return t.p.first(t.who.rules, t.e.doors[t.r.Door].terminal, fact, &t.base, len(t.p.rules), t.r)
}

func (t *tracer) describe(i int, fact *match, derived bool) string {
	var b strings.Builder
	b.WriteString(fact.host.String())
	if derived {
		fmt.Fprintf(&b, " (which %s leads to)", t.base.host)
	}
	if !t.p.rules[i].What.selectsDestinations() {
		if len(t.p.rules[i].What.Ports) > 0 {
			fmt.Fprintf(&b, ": port %s/%d is in what.ports", t.r.Protocol, t.r.Port)
			return b.String()
		}
		b.WriteString(" matched: the rule names no destination")
		return b.String()
	}
	if app := appOf(i, fact); app != nil && app.rules.has(i) {
		fmt.Fprintf(&b, " belongs to %s", app.ID)
		return b.String()
	}
	b.WriteString(t.selector(i, fact.host))
	return b.String()
}

// selector names the domain, network or list of a rule that fits a host.
func (t *tracer) selector(i int, host *Host) string {
	what := &t.p.rules[i].What
	for d := range what.Domains {
		if what.Domains[d].fits(host.name) {
			return fmt.Sprintf(" fits %s", what.Domains[d].Text)
		}
	}
	for _, network := range what.Networks {
		if network.Prefix.Contains(host.addr) {
			return fmt.Sprintf(" is in %s", network.Prefix)
		}
	}
	for l := range t.p.lists {
		if t.p.lists[l].pos.has(i) && t.p.lists[l].list.contains(*host) {
			return fmt.Sprintf(" is in list %s", t.p.lists[l].name)
		}
	}
	return " is in what"
}

// fits reports whether the pattern matches a canonical name.
func (p *Pattern) fits(name string) bool {
	under := strings.HasSuffix(name, "."+p.Name)
	switch p.Kind {
	case PatternExact:
		return name == p.Name
	case PatternBelow:
		return under
	case PatternRegexp:
		return name != "" && p.Regexp.MatchString(name)
	default:
		return under || name == p.Name
	}
}

func (t *tracer) portFails(rule *Rule) Step {
	if t.r.Port == 0 {
		return Step{Because: fmt.Sprintf("the %s door does not see the port", t.r.Door), Deferred: "ports"}
	}
	return Step{Because: fmt.Sprintf("port %s/%d not in what.ports", t.r.Protocol, t.r.Port)}
}

// whyNot says why a When does not hold at an instant.
func (w *When) whyNot(at time.Time, zone *time.Location) string {
	if !w.From.IsZero() && at.Before(w.From) {
		return "not yet: from " + w.From.In(zone).Format(time.RFC3339)
	}
	if !w.Until.IsZero() && !at.Before(w.Until) {
		return "ended: until " + w.Until.In(zone).Format(time.RFC3339)
	}
	texts := make([]string, len(w.Hours))
	for i := range w.Hours {
		texts[i] = w.Hours[i].Text
	}
	return "outside hours " + strings.Join(texts, ", ")
}
