package policy

import "fmt"

// Action is what a rule does, and what a verdict says. Smaller is stricter,
// and the zero value blocks, so that a Verdict nobody filled in denies.
type Action uint8

// The actions of the policy language. ActionMonitor belongs to rules only: a
// verdict never carries it, because matching goes on behind a monitoring rule.
const (
	ActionBlock   Action = 0
	ActionWarn    Action = 1
	ActionAllow   Action = 2
	ActionMonitor Action = 3
)

// String is the action's name in policies, logs and metric labels.
func (a Action) String() string {
	switch a {
	case ActionBlock:
		return "block"
	case ActionWarn:
		return "warn"
	case ActionAllow:
		return "allow"
	case ActionMonitor:
		return "monitor"
	default:
		return "invalid"
	}
}

// ParseAction reads the name that String writes.
func ParseAction(s string) (Action, error) {
	for _, a := range []Action{ActionBlock, ActionWarn, ActionAllow, ActionMonitor} {
		if a.String() == s {
			return a, nil
		}
	}
	return ActionBlock, fmt.Errorf("unknown action %q: use allow, block, warn or monitor", s)
}

// Refuses reports whether a door turns the request away: a block, or a warn
// for which no grant is held.
func (a Action) Refuses() bool { return a != ActionAllow }
