package policy

import (
	"net/netip"
	"time"
)

// Justification is whether people say why, before they continue past a warn
// rule.
type Justification uint8

// The justifications of the policy language. A rule that says nothing leaves
// it to people whether they do.
const (
	JustificationOptional Justification = iota
	JustificationRequired
	JustificationNone // nobody is asked
)

// String is the justification's name in policies.
func (j Justification) String() string {
	switch j {
	case JustificationRequired:
		return "required"
	case JustificationNone:
		return "none"
	default:
		return "optional"
	}
}

// Holder is whom a grant is for: the user where one is known, and else
// whoever is at the client's address. Exactly one of the two is set, save in
// the zero Holder, which holds nothing.
type Holder struct {
	User   string     // lower case, as in Identity
	Client netip.Addr // unmapped, without zone
}

// Holder is whom a grant to this identity would be for; zero where neither a
// user nor an address is known.
func (id *Identity) Holder() Holder {
	if id.User != "" {
		return Holder{User: id.User}
	}
	return Holder{Client: unmapped(id.Addr).WithZone("")}
}

// IsZero reports whether the holder is nobody.
func (h Holder) IsZero() bool { return h == Holder{} }

// String is the user's name, or the address.
func (h Holder) String() string {
	if h.User != "" || !h.Client.IsValid() {
		return h.User
	}
	return h.Client.String()
}

// GrantKey is what a grant is for: one warn rule, of one app, for one holder.
// App is the id of the app that the verdict names; empty where it names none:
// the grant then holds for all that the rule finds and that is no app's.
type GrantKey struct {
	Holder
	Rule string
	App  string
}

// GrantKey is what a grant would have to be for to let a subject past the rule
// that decided.
func (v *Verdict) GrantKey(s *Subject) GrantKey {
	return GrantKey{Holder: s.Identity.Holder(), Rule: v.RuleName(), App: v.AppID()}
}

// Grants knows who has chosen to continue past a warn rule. An [Engine] asks
// it wherever such a rule would refuse, and nowhere else: a rule that the
// policy no longer has, or that blocks now, is past all grants.
//
// Holds reports whether the key is granted at an instant, and until when. The
// end is exclusive. It must be safe for concurrent use, quick, and without
// allocation: refusals wait for it.
type Grants interface {
	Holds(key GrantKey, at time.Time) (until time.Time, ok bool)
}

// inquiry is a Request on its way through the tables, with what is found out
// once for all of its facts.
type inquiry struct {
	r      *Request
	who    *whoSet
	epoch  *epoch
	grants Grants // nil: nobody holds any
}

// pass reports until when a grant lets the subject past a rule that matched a
// fact, if one does: the rule then acts on that fact as one that allows.
func (q *inquiry) pass(rule *Rule, app *compiledApp) (until time.Time, ok bool) {
	if rule.Action != ActionWarn || q.grants == nil {
		return time.Time{}, false
	}
	key := GrantKey{Holder: q.r.Subject.Identity.Holder(), Rule: rule.Name}
	if key.Holder.IsZero() {
		return time.Time{}, false
	}
	if app != nil {
		key.App = app.ID
	}
	return q.grants.Holds(key, q.r.At)
}

// passes is pass, and notes the end: whatever comes of the finding holds no
// longer than the grants that it leans on.
func (f *finding) passes(q *inquiry, rule *Rule, app *compiledApp) bool {
	until, ok := q.pass(rule, app)
	if ok {
		f.until = earlier(f.until, until)
	}
	return ok
}

// earlier returns the earlier of two instants, where the zero time never comes.
func earlier(a, b time.Time) time.Time {
	if b.IsZero() || !a.IsZero() && a.Before(b) {
		return a
	}
	return b
}
