package audit

import (
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/sallyport/sallyport/policy"
)

// What happened to a grant, as "event" says it.
const (
	eventGrant    = "grant"
	eventGrantEnd = "grant_end"
)

// actionContinue is what an entry of a grant has for an action.
const actionContinue = "continue"

// Why a grant ended.
const (
	EndedByTime       = "time"
	EndedByRevocation = "revoked"
)

// Grant is what the log is told of a grant: that somebody has continued past a
// warning, or that the time for that is over.
type Grant struct {
	// Decision is the warning: who was warned, where, by which rule. Its ID is
	// that of the refusal, and joins the entries.
	Decision *policy.Decision

	Time          time.Time // of what is told; zero: the present
	ID            string    // of the grant
	Given         time.Time // when it was given, where it has ended; zero: Time
	Until         time.Time // when it ends, or would have ended
	Justification string    // that was given; "" where none was
	EndedBy       string    // EndedByTime or EndedByRevocation; "" where it was given
}

// RecordGrant queues the entry of a grant that was given, or has ended. Such
// entries are always written, and count as no decision. What is said of Record
// holds, except that it allocates a little.
func (l *Log) RecordGrant(g *Grant) {
	at := l.instant(g.Time)
	told := *g
	told.Decision = nil // its contents are in the record
	r, place, ok := l.lines.Claim(true)
	if !ok {
		return // and counted
	}
	r.fill(g.Decision, at)
	if !g.Given.IsZero() {
		r.since = g.Given.UnixNano() // one pseudonym from its beginning to its end
	}
	r.grant = &told
	l.lines.Publish(place)
}

func (e *encoder) marshalGrant(o zapcore.ObjectEncoder, r *record) error {
	verdict := policy.Verdict{Action: r.action, Rule: r.rule}
	event := eventGrant
	if r.grant.EndedBy != "" {
		event = eventGrantEnd
	}
	e.addID(o, r)
	o.AddString("tenant", e.tenant)
	o.AddString("event", event)
	if err := e.addClient(o, r); err != nil {
		return err
	}
	e.addHost(o, r)
	o.AddString("app", appID(r.app))
	o.AddString("rule", verdict.RuleName())
	if r.grant.EndedBy == "" {
		o.AddString("action", actionContinue)
	}
	o.AddString("grant", r.grant.ID)
	o.AddString("until", r.grant.Until.UTC().Format(time.RFC3339))
	o.AddString("justification", e.justification(r.grant))
	if r.grant.EndedBy != "" {
		o.AddString("ended_by", r.grant.EndedBy)
	}
	return nil
}

// justification is what was given for one. People write their names there, and
// what only they can know: where the log is to tell neither address nor user
// it is left out.
func (e *encoder) justification(g *Grant) string {
	if e.mask.HidesPeople() {
		return ""
	}
	return g.Justification
}
