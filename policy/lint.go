package policy

import (
	"strings"
	"time"

	"github.com/sallyport/sallyport/strictyaml"
)

// linter looks for what is allowed but probably not meant.
type linter struct {
	doc       *Document
	catalogue []App
	now       time.Time
	problems  Problems
}

// Lint reports what is allowed but doubtful: rules that can never match, rules
// that refuse names which other services share, exceptions that are over,
// groups and lists that nothing uses, and patterns that are slow or easily
// mistaken. It reports warnings only, in source order, and rather none than a
// wrong one. The document must have passed Validate.
func Lint(doc *Document, catalogue []App, now time.Time) Problems {
	if doc == nil {
		return nil
	}
	l := &linter{doc: doc, catalogue: catalogue, now: now}
	l.overdue()
	l.unusedGroups()
	l.unusedLists()
	l.plainLists()
	l.newCategories()
	l.patterns()
	l.shared()
	l.shadowed()
	l.problems.Sort(doc.Files)
	return l.problems
}

// eachRule visits exceptions and rules in the order in which they are read.
func (l *linter) eachRule(visit func(*Rule)) {
	for i := range l.doc.Exceptions {
		visit(&l.doc.Exceptions[i])
	}
	for i := range l.doc.Rules {
		visit(&l.doc.Rules[i])
	}
}

// kind is what a rule is called in messages.
func (r *Rule) kind() string {
	if r.Exception {
		return "exception"
	}
	return "rule"
}

// overdue reports exceptions and rules whose time is over.
func (l *linter) overdue() {
	l.eachRule(func(r *Rule) {
		if !r.When.Until.IsZero() && !r.When.Until.After(l.now) {
			l.problems.Warnf(r.Position, "%s %q ended on %s: remove it", r.kind(), r.Name, r.When.Until.In(l.doc.Location).Format(instantFormat))
		}
	})
}

// unusedGroups reports groups that no rule names, not even through a group
// that they are part of.
func (l *linter) unusedGroups() {
	nested := map[string][]Reference{}
	for i := range l.doc.Groups {
		nested[l.doc.Groups[i].Name] = l.doc.Groups[i].Groups
	}
	used := map[string]bool{}
	var use func(refs []Reference)
	use = func(refs []Reference) {
		for _, ref := range refs {
			if !used[ref.Name] {
				used[ref.Name] = true
				use(nested[ref.Name])
			}
		}
	}
	l.eachRule(func(r *Rule) {
		use(r.Who.Groups)
		if r.Who.Except != nil {
			use(r.Who.Except.Groups)
		}
	})
	for i := range l.doc.Groups {
		g := &l.doc.Groups[i]
		if !used[g.Name] {
			l.problems.Warnf(g.Position, "group %q is used by no rule", g.Name)
		}
		if len(g.Networks)+len(g.Users)+len(g.Devices)+len(g.Directory)+len(g.Groups) == 0 {
			l.problems.Warnf(g.Position, "group %q has no members", g.Name)
		}
	}
}

// newCategories reports a category of the policy's own that is one slip away
// from one of the catalogue: rules for the catalogue's would not cover it.
func (l *linter) newCategories() {
	var names []string
	known := map[string]bool{}
	for i := range l.catalogue {
		if category := l.catalogue[i].Category; category != "" && !known[category] {
			known[category] = true
			names = append(names, category)
		}
	}
	for i := range l.doc.Apps {
		app := &l.doc.Apps[i]
		if app.Category == "" || known[app.Category] {
			continue
		}
		if near := strictyaml.Nearest(app.Category, names); near != "" {
			l.problems.Warnf(app.Position, "app %q has the new category %q: did you mean %q?", app.ID, app.Category, near)
		}
	}
}

// patterns reports domains that are slow or easily mistaken.
func (l *linter) patterns() {
	known := l.appNames()
	check := func(p *Pattern) {
		switch {
		case p.Kind == PatternRegexp:
			l.problems.Warnf(p.Position, "%s is a regular expression: it is tried on every request; write domains where they say the same", p.Text)
			return
		case p.Kind != PatternExact && !strings.Contains(p.Name, "."):
			l.problems.Warnf(p.Position, "%q is every name that ends in .%s", p.Text, p.Name)
		}
		if twin := lookAlike(p.Name); twin != "" {
			also := ""
			if app := known[twin]; app != "" {
				also = ", which belongs to app " + app
			}
			l.problems.Warnf(p.Position, "%q (%s) looks like %q%s, but is another name", p.Text, p.Name, twin, also)
		}
	}
	l.eachRule(func(r *Rule) {
		for w := &r.What; w != nil; w = w.Except {
			for i := range w.Domains {
				check(&w.Domains[i])
			}
		}
	})
	for i := range l.doc.Apps {
		for j := range l.doc.Apps[i].Domains {
			check(&l.doc.Apps[i].Domains[j].Pattern)
		}
	}
}

// appNames maps every name of an app to the app's id.
func (l *linter) appNames() map[string]string {
	names := map[string]string{}
	for _, apps := range [][]App{l.catalogue, l.doc.Apps} {
		for i := range apps {
			for _, d := range apps[i].Domains {
				names[d.Name] = apps[i].ID
			}
		}
	}
	return names
}
