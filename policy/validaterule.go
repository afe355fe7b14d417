package policy

import "slices"

// checkRule checks one rule or exception by itself, and its name against those
// above it.
func (v *validator) checkRule(r *Rule) {
	v.checkRuleName(r)
	v.checkWho(&r.Who)
	v.checkWhat(&r.What)
	v.checkExtent(r)
	w := &r.When
	if !w.From.IsZero() && !w.Until.IsZero() && !w.From.Before(w.Until) {
		v.problems.Errorf(w.Position, "\"until\" (%s) is not after \"from\" (%s): the rule could never match",
			w.Until.In(v.doc.Location).Format(instantFormat), w.From.In(v.doc.Location).Format(instantFormat))
	}
}

// instantFormat is how instants stand in messages.
const instantFormat = "2006-01-02T15:04:05Z07:00"

func (v *validator) checkRuleName(r *Rule) {
	if r.Name == "" {
		return // reported by Parse
	}
	if r.Name == DefaultRule {
		v.problems.Errorf(r.Position, "a rule cannot be called %q: that name stands for what happens where no rule matches", DefaultRule)
		return
	}
	if slices.Contains(reservedRuleNames(), r.Name) {
		v.problems.Errorf(r.Position, "a rule cannot be called %q: that name stands for a rule of the gateway's own in logs and metrics", r.Name)
		return
	}
	if first, twice := v.rules[r.Name]; twice {
		v.problems.Errorf(r.Position, "%s %q has the name of another, at %s: names are unique over rules and exceptions", r.kind(), r.Name, first)
		return
	}
	v.rules[r.Name] = r.Position
}

// checkExtent reports a rule that would match everything by accident. A rule
// that is limited in time only is a lockdown, and meant; without any limit it
// is what default is for. An exception always ends, so that its time says
// nothing: it must name somebody or something.
func (v *validator) checkExtent(r *Rule) {
	if !r.Who.isEveryone() || r.Who.Except != nil || r.What.selects() || r.What.Except != nil {
		return
	}
	if r.Who.Position != (Position{}) || r.What.Position != (Position{}) {
		return // written but not understood: reported by Parse
	}
	switch {
	case r.Exception:
		v.problems.Errorf(r.Position, "exception %q is empty: it has neither who nor what, and would switch the whole policy off", r.Name)
	case r.When.Position == (Position{}):
		v.problems.Errorf(r.Position, "rule %q is empty: it has neither who, what nor when; for every request, write \"default\" instead", r.Name)
	}
}

func (v *validator) checkWho(w *Who) {
	v.refer("group", w.Groups, v.groups)
	if w.Except != nil {
		v.checkWho(w.Except)
	}
}

func (v *validator) checkWhat(w *What) {
	v.refer("app", w.Apps, v.apps)
	v.refer("category", w.Categories, v.categories)
	v.refer("list", w.Lists, v.lists)
	if w.Except != nil {
		v.checkWhat(w.Except)
	}
}
