package policy

import "time"

// Verdict is the answer to a Request. Its zero value blocks. The pointers lead
// to parts of an immutable Program: do not write through them; they stay valid
// after a policy swap, and keep the rules of the old policy but none of its
// tables.
type Verdict struct {
	Action Action
	Rule   *Rule  // the rule that decided; nil in the zero Verdict, otherwise never nil
	App    *App   // the app that the fact belongs to; nil where none matched
	Group  string // first group in policy order through which the client matched; "" where none
	Fact   Host   // the name or address that decided

	// Would is set when a monitoring or report-only rule matched on the way
	// and would have refused what the verdict lets through: WouldAction is
	// what it would have done. Nil otherwise.
	Would       *Rule
	WouldApp    *App
	WouldGroup  string
	WouldAction Action

	// NeedsUser is true when the client has no user name and knowing it could
	// change this verdict: the proxy door asks for credentials only then.
	NeedsUser bool

	// Judged is true when some rule for this client names the destination,
	// whatever its door, ports and hours, and be it for the client only once
	// its user is known: the proxy door, or the next hour, may decide
	// otherwise, and must be able to see the name then. StripH3 is true when
	// such a rule asks for strip_h3. Of the request's own host, at the DNS door
	// only; [Facts.Judged] adds what derives from it.
	Judged  bool
	StripH3 bool

	// Granted is true where the verdict allows because the client holds a grant:
	// for the rule that decided, or for one that would have refused what is
	// judged beside the Fact. NextEdge is no later than the grant's end.
	Granted bool

	// NextEdge is the earliest instant after Request.At at which a schedule, or
	// the end of a grant, could change this verdict; zero where none can.
	NextEdge time.Time

	Revision     string        // of the Program that decided
	Organisation *Organisation // shown to people who are refused; never nil from a Program

	program *programID // that decided; nil in the zero Verdict
	index   int        // of Rule among its rules
}

// DefaultRule is the name that a verdict carries where no rule decided.
const DefaultRule = "default"

// Names that stand in logs and metric labels where there is nothing to name.
const (
	NoApp           = "none"
	NoGroup         = "unidentified"
	GroupUnclaimed  = NoGroup // the special group of clients that nothing claims
	noPolicyMessage = "no policy is loaded"
)

// RuleName is the name of the rule that decided, or "default".
func (v *Verdict) RuleName() string {
	if v.Rule == nil {
		return DefaultRule
	}
	return v.Rule.Name
}

// AppID is the id of the app that matched, or "".
func (v *Verdict) AppID() string {
	if v.App == nil {
		return ""
	}
	return v.App.ID
}

// Reason is the rule's one-line reason, or a sentence that says which rule
// decided where the policy gives none.
func (v *Verdict) Reason() string {
	switch {
	case v.Rule == nil:
		return noPolicyMessage
	case v.Rule.Reason != "":
		return v.Rule.Reason
	case v.Rule.Name == DefaultRule && v.Action.Refuses():
		return "not on the list of approved destinations"
	default:
		return ""
	}
}

// Stricter returns the more restrictive of two verdicts, block before warn
// before allow; the first where they are equal. What either would have done
// and the earlier edge are kept.
func Stricter(a, b Verdict) Verdict {
	strict, other := a, b
	if b.Action < a.Action {
		strict, other = b, a
	}
	if strict.Would == nil && other.Would != nil && other.WouldAction < strict.Action {
		strict.Would, strict.WouldApp, strict.WouldGroup, strict.WouldAction =
			other.Would, other.WouldApp, other.WouldGroup, other.WouldAction
	}
	if !other.NextEdge.IsZero() && (strict.NextEdge.IsZero() || other.NextEdge.Before(strict.NextEdge)) {
		strict.NextEdge = other.NextEdge
	}
	strict.NeedsUser = strict.NeedsUser || other.NeedsUser
	strict.Granted = !strict.Action.Refuses() && (strict.Granted || other.Granted)
	return strict
}
