package policy

import (
	"maps"
	"slices"
	"strings"
)

// validator knows every name that a policy can refer to.
type validator struct {
	doc        *Document
	problems   Problems
	groups     []string
	apps       []string
	categories []string // with the families that they belong to
	lists      []string
	rules      map[string]Position
	known      map[string]map[string]bool // by noun, what is in the slices
}

// Validate checks what Parse could not: that every name refers to something
// that the policy or the catalogue defines, that names are unique where they
// must be, and that every rule makes sense by itself. It reports errors only,
// all of them, in source order. A nil document has no problems: what is wrong
// with it was reported by Parse.
func Validate(doc *Document, catalogue []App) Problems {
	if doc == nil {
		return nil
	}
	v := &validator{doc: doc, rules: map[string]Position{DefaultRule: {}}, known: map[string]map[string]bool{}}
	v.collect(catalogue)
	v.checkGroups()
	v.checkApps(catalogue)
	for i := range doc.Exceptions {
		v.checkRule(&doc.Exceptions[i])
	}
	for i := range doc.Rules {
		v.checkRule(&doc.Rules[i])
	}
	for i := range doc.Tests {
		v.checkTest(&doc.Tests[i])
	}
	v.problems.Sort(doc.Files)
	return v.problems
}

// collect lists the names that the policy and the catalogue define.
func (v *validator) collect(catalogue []App) {
	for i := range v.doc.Groups {
		v.groups = append(v.groups, v.doc.Groups[i].Name)
	}
	v.groups = append(v.groups, GroupUnclaimed)
	for i := range v.doc.Lists {
		v.lists = append(v.lists, v.doc.Lists[i].Name)
	}
	categories := map[string]bool{}
	for _, apps := range [][]App{catalogue, v.doc.Apps} {
		for i := range apps {
			v.apps = append(v.apps, apps[i].ID)
			for _, family := range families(apps[i].Category) {
				categories[family] = true
			}
		}
	}
	v.categories = slices.Sorted(maps.Keys(categories))
	v.known["group"] = set(v.groups)
	v.known["app"] = set(v.apps)
	v.known["category"] = categories
	v.known["list"] = set(v.lists)
}

// families lists a category and those that it is a sub-category of:
// bypass-doh belongs to bypass.
func families(category string) []string {
	var all []string
	for at := range len(category) {
		if category[at] == '-' {
			all = append(all, category[:at])
		}
	}
	if category != "" {
		all = append(all, category)
	}
	return all
}

func set(names []string) map[string]bool {
	s := make(map[string]bool, len(names))
	for _, name := range names {
		s[name] = true
	}
	return s
}

// refer checks references to things of one noun.
func (v *validator) refer(noun string, refs []Reference, names []string) {
	for _, ref := range refs {
		if !v.known[noun][ref.Name] {
			v.problems.Errorf(ref.Position, "%s", unknown(noun, ref.Name, names))
		}
	}
}

// checkApps checks the policy's own apps against the catalogue and what stands
// above them.
func (v *validator) checkApps(catalogue []App) {
	builtIn, above := map[string]bool{}, map[string]bool{}
	for i := range catalogue {
		builtIn[catalogue[i].ID], above[catalogue[i].ID] = true, true
	}
	for i := range v.doc.Apps {
		app := &v.doc.Apps[i]
		switch {
		case builtIn[app.ID] && app.Extends == "":
			v.problems.Errorf(app.Position, "app %q is built in: write \"extends: %s\" to widen it, or choose another id", app.ID, app.ID)
		case builtIn[app.ID] && app.Extends != app.ID:
			v.problems.Errorf(app.Position, "app %q is built in: it can extend itself only, not %q; choose another id", app.ID, app.Extends)
		case app.Extends == "" || above[app.Extends]:
		case app.Extends == app.ID:
			v.problems.Errorf(app.Position, "app %q extends itself, but is not built in: remove \"extends\"", app.ID)
		case v.known["app"][app.Extends]:
			v.problems.Errorf(app.Position, "app %q extends %q, which is defined below it: move it there", app.ID, app.Extends)
		default:
			v.problems.Errorf(app.Position, "app %q extends an app that does not exist: %s", app.ID, unknown("app", app.Extends, v.apps))
		}
		above[app.ID] = true
	}
}

// checkTest checks what a test refers to.
func (v *validator) checkTest(t *Test) {
	for _, name := range t.Who.Groups {
		if !v.known["group"][name] {
			v.problems.Errorf(t.Position, "test: %s", unknown("group", name, v.groups))
		}
	}
	if t.By == "" {
		return
	}
	if _, ok := v.rules[t.By]; !ok {
		v.problems.Errorf(t.Position, "test: %s", unknown("rule", t.By, slices.Sorted(maps.Keys(v.rules))))
	}
}

// checkGroups checks that nested groups exist and that none contains itself.
func (v *validator) checkGroups() {
	nested := map[string][]Reference{}
	for i := range v.doc.Groups {
		g := &v.doc.Groups[i]
		nested[g.Name] = g.Groups
		for _, ref := range g.Groups {
			if ref.Name == GroupUnclaimed {
				v.problems.Errorf(ref.Position, "group %q cannot be part of a group: it is every client that no group claims; name it in a rule", GroupUnclaimed)
			}
		}
		v.refer("group", g.Groups, v.groups)
	}
	done := map[string]bool{}
	for i := range v.doc.Groups {
		v.findCycle(v.doc.Groups[i].Name, nested, done, nil)
	}
}

// findCycle follows nested groups from name and reports the first way back to
// a group on the path. What is done has been followed to its ends.
func (v *validator) findCycle(name string, nested map[string][]Reference, done map[string]bool, path []string) {
	if done[name] {
		return
	}
	path = append(path, name)
	for _, ref := range nested[name] {
		if at := slices.Index(path, ref.Name); at >= 0 {
			v.problems.Errorf(ref.Position, "group %q contains itself: %s -> %s", ref.Name, strings.Join(path[at:], " -> "), ref.Name)
			continue
		}
		v.findCycle(ref.Name, nested, done, path)
	}
	done[name] = true
}
