package blockpage

import (
	"time"

	"github.com/sallyport/sallyport/policy"
)

// Refusal is everything that is told about one refused request. Every field
// may be empty. All text is data: it is escaped for the form it is shown in,
// so it may hold anything.
type Refusal struct {
	Action       policy.Action // ActionBlock or ActionWarn
	App          string        // id of the app, empty where none matched
	AppName      string        // the app's name for people
	Host         string        // what was asked for
	Rule         string        // name of the rule that decided
	Reason       string        // the rule's reason, one line
	Message      string        // the rule's message, paragraphs
	Alternatives []string      // what to use instead
	Organisation string        // who says so
	Contact      string        // whom to ask: a mail address, a web address or words
	Decision     string        // id under which the decision was recorded
	Revision     string        // of the policy that decided
	Time         time.Time     // of the decision; shown in its zone; zero: not shown
	Offer        Offer         // how to continue past a warning
	SignIn       bool          // a user name and a password may change the verdict
}

// FromVerdict makes the Refusal of a verdict on host. decision is the id under
// which the verdict is recorded and at the instant it was taken, which is shown in
// the organisation's zone. Its Offer has
// no URL yet: the caller may know one.
func FromVerdict(v *policy.Verdict, host policy.Host, decision string, at time.Time) Refusal {
	r := Refusal{
		Action:   v.Action,
		App:      v.AppID(),
		Host:     host.String(),
		Rule:     v.RuleName(),
		Reason:   v.Reason(),
		Decision: decision,
		Revision: v.Revision,
		Time:     at,
	}
	if v.App != nil {
		r.AppName = v.App.Name
	}
	if v.Rule != nil {
		r.Message = v.Rule.Message
		r.Alternatives = v.Rule.Alternatives
		r.Offer.Justification, r.Offer.Lasts = v.Rule.Justification, v.Rule.Grant
	}
	if v.Organisation != nil {
		r.Organisation = v.Organisation.Name
		r.Contact = v.Organisation.Contact
		if zone := v.Organisation.Zone; zone != nil && !at.IsZero() {
			r.Time = at.In(zone)
		}
	}
	return r
}

// subject is what the sentence "... is blocked on this network" is about: the
// app where one is known, else the host, else the destination in general.
func (r *Refusal) subject() string {
	switch {
	case r.AppName != "":
		return r.AppName
	case r.App != "":
		return r.App
	case r.Host != "":
		return r.Host
	default:
		return "This destination"
	}
}

// network names the network that refuses.
func (r *Refusal) network() string {
	if r.Organisation == "" {
		return "this network"
	}
	return "the network of " + r.Organisation
}

// headline is the refusal in one sentence. A warned app is refused as well,
// and the headline says so plainly, whether or not there is an offer.
func (r *Refusal) headline() string {
	switch {
	case r.Offer.Form:
		return r.subject() + " is discouraged on " + r.network()
	case r.Action == policy.ActionWarn:
		return r.subject() + " is discouraged on " + r.network() + " and was not opened"
	}
	return r.subject() + " is blocked on " + r.network()
}
