package policy

import "fmt"

// sharedName is a name that an app needs but does not own.
type sharedName struct {
	app    string
	domain *AppDomain
}

// sharedNetwork is a prefix that an app uses but does not own.
type sharedNetwork struct {
	app     string
	network *AppNetwork
}

// shared reports rules that refuse what other services need too: a shared name
// or prefix of an app, or something that covers one. An app never matches its
// shared names, so that this happens only through a rule's own domains and
// networks.
func (l *linter) shared() {
	var names []sharedName
	var networks []sharedNetwork
	for _, apps := range [][]App{l.catalogue, l.doc.Apps} {
		for i := range apps {
			app := &apps[i]
			for j := range app.Domains {
				if app.Domains[j].Shared() {
					names = append(names, sharedName{app.ID, &app.Domains[j]})
				}
			}
			for j := range app.Networks {
				if app.Networks[j].Shared() {
					networks = append(networks, sharedNetwork{app.ID, &app.Networks[j]})
				}
			}
		}
	}
	l.eachRule(func(r *Rule) {
		if !r.Action.Refuses() || r.Action == ActionMonitor {
			return
		}
		for i := range r.What.Domains {
			l.sharedDomain(r, &r.What.Domains[i], names)
		}
		for i := range r.What.Networks {
			l.sharedPrefix(r, &r.What.Networks[i], networks)
		}
	})
}

// sharedDomain reports the first shared name that a pattern covers, and counts
// the others.
func (l *linter) sharedDomain(r *Rule, p *Pattern, names []sharedName) {
	var first *sharedName
	others := 0
	for i := range names {
		switch {
		case !p.reaches(&names[i].domain.Pattern) || r.What.Except.removes(names[i].domain.Name):
		case first == nil:
			first = &names[i]
		case names[i].domain.Name != first.domain.Name:
			others++
		}
	}
	if first == nil {
		return
	}
	l.problems.Warnf(p.Position, "rule %q would %s %s, which app %s shares with other services%s%s: name what is meant, or use the app",
		r.Name, verb(r.Action), first.domain.Name, first.app, parenthesis(first.domain.Note), andMore(others))
}

// sharedPrefix does the same for a destination network.
func (l *linter) sharedPrefix(r *Rule, n *Network, networks []sharedNetwork) {
	for _, s := range networks {
		if n.Prefix.Bits() <= s.network.Prefix.Bits() && n.Prefix.Contains(s.network.Prefix.Addr()) {
			l.problems.Warnf(n.Position, "rule %q would %s %s, which app %s shares with other services%s: name what is meant, or use the app",
				r.Name, verb(r.Action), s.network.Prefix, s.app, parenthesis(s.network.Note))
			return
		}
	}
}

// verb is what a refusing action does to a destination.
func verb(a Action) string {
	if a == ActionWarn {
		return "warn about"
	}
	return a.String()
}

func parenthesis(note string) string {
	if note == "" {
		return ""
	}
	return " (" + note + ")"
}

func andMore(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", and %d more", n)
}

// matches reports whether a pattern matches a canonical name.
func (p *Pattern) matches(name string) bool {
	switch p.Kind {
	case PatternRegexp:
		return p.Regexp.MatchString(name)
	case PatternExact:
		return name == p.Name
	case PatternBelow:
		return isBelow(name, p.Name)
	default:
		return name == p.Name || isBelow(name, p.Name)
	}
}

// reaches reports whether a pattern takes another's name, or everything under
// it where the other means that too.
func (p *Pattern) reaches(other *Pattern) bool {
	return p.matches(other.Name) || p.Kind == PatternBelow && p.Name == other.Name && other.Kind != PatternExact
}

// isBelow reports whether name is under parent, on a label boundary.
func isBelow(name, parent string) bool {
	cut := len(name) - len(parent)
	return cut > 1 && name[cut-1] == '.' && name[cut:] == parent
}

// removes reports whether an except takes a name out.
func (w *What) removes(name string) bool {
	if w == nil {
		return false
	}
	for i := range w.Domains {
		if w.Domains[i].matches(name) {
			return true
		}
	}
	return false
}
