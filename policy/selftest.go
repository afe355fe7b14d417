package policy

import (
	"fmt"
	"time"
)

// TestFailure is one test of a policy that came out otherwise than it wanted.
type TestFailure struct {
	Test        *Test
	Door        Door
	Message     string
	Explanation Explanation
}

// String writes file:line:col: message.
func (f TestFailure) String() string { return f.Test.Position.String() + ": " + f.Message }

// RunTests runs the policy's own tests, by the code that decides. now stands
// in for the time of a test that names none. A test that names neither door
// nor port must come out the same at both doors; one with a port is asked at
// the proxy door, the one that sees ports.
func (p *Program) RunTests(now time.Time) []TestFailure {
	var failures []TestFailure
	for i := range p.document.Tests {
		test := &p.document.Tests[i]
		for _, door := range test.doors() {
			if f, failed := p.runTest(test, door, now); failed {
				failures = append(failures, f)
				break
			}
		}
	}
	return failures
}

func (t *Test) doors() []Door {
	switch {
	case t.Door != 0:
		return []Door{t.Door}
	case t.Port != 0:
		return []Door{DoorProxy}
	default:
		return Doors()
	}
}

func (p *Program) runTest(test *Test, door Door, now time.Time) (TestFailure, bool) {
	at := test.At
	if at.IsZero() {
		at = now
	}
	x := p.Explain(&Request{
		Subject: p.Subject(test.Who),
		Door:    door,
		At:      at,
		Port:    test.Port,
		Host:    test.Host,
	})
	if message := test.judge(&x.Verdict, door); message != "" {
		return TestFailure{Test: test, Door: door, Message: message, Explanation: x}, true
	}
	return TestFailure{}, false
}

// judge says what is wrong with a verdict, or "".
func (t *Test) judge(v *Verdict, door Door) string {
	action, by := v.Action, v.RuleName()
	if t.Want == ActionMonitor && v.Would != nil {
		action, by = ActionMonitor, v.Would.Name
	}
	switch {
	case action != t.Want:
		return fmt.Sprintf("%s: want %s, got %s by %s at the %s door", t.Text, t.Want, action, by, door)
	case t.By != "" && t.By != by:
		return fmt.Sprintf("%s: want %s by %s, got it by %s at the %s door", t.Text, t.Want, t.By, by, door)
	default:
		return ""
	}
}
