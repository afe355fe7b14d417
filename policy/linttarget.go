package policy

import (
	"net/netip"
	"slices"
	"strings"
)

// target is one selector of a what; the zero target is everything.
type target struct {
	app, category, list string
	pattern             *Pattern
	network             netip.Prefix
}

// targetsOf lists the selectors of a what, ports and except aside.
func targetsOf(w *What) []target {
	var all []target
	for _, ref := range w.Apps {
		all = append(all, target{app: ref.Name})
	}
	for _, ref := range w.Categories {
		all = append(all, target{category: ref.Name})
	}
	for i := range w.Domains {
		all = append(all, target{pattern: &w.Domains[i]})
	}
	for _, ref := range w.Lists {
		all = append(all, target{list: ref.Name})
	}
	for _, n := range w.Networks {
		all = append(all, target{network: n.Prefix})
	}
	if all == nil {
		return []target{{}}
	}
	return all
}

// appName is a name of an app, as targetCover keeps it.
type appName struct {
	app    string
	kind   PatternKind
	shared bool
}

// targetCover answers which destinations a what takes.
type targetCover struct {
	categories map[string]string // app -> category
	names      map[string][]appName
	shared     map[string][]string // app -> its shared names
	work       *int
}

func newTargetCover(apps []*App, work *int) *targetCover {
	c := &targetCover{categories: map[string]string{}, names: map[string][]appName{}, shared: map[string][]string{}, work: work}
	for _, app := range apps {
		c.categories[app.ID] = app.Category
		for _, d := range app.Domains {
			c.names[d.Name] = append(c.names[d.Name], appName{app.ID, d.Kind, d.Shared()})
			if d.Shared() {
				c.shared[app.ID] = append(c.shared[app.ID], d.Name)
			}
		}
	}
	return c
}

// Keys of the index of terminal rules.
const (
	keyEverything = "everything"
	keyNetwork    = "network"
	keyApp        = "app "
	keyCategory   = "category "
	keyDomain     = "domain "
	keyRegexp     = "regexp "
	keyList       = "list "
)

// keysOf lists the keys under which a rule with this what is found.
func (c *targetCover) keysOf(w *What) []string {
	var keys []string
	for _, t := range targetsOf(w) {
		switch {
		case t.app != "":
			keys = append(keys, keyApp+t.app)
		case t.category != "":
			keys = append(keys, keyCategory+t.category)
		case t.list != "":
			keys = append(keys, keyList+t.list)
		case t.network.IsValid():
			keys = append(keys, keyNetwork)
		case t.pattern == nil:
			keys = append(keys, keyEverything)
		case t.pattern.Kind == PatternRegexp:
			keys = append(keys, keyRegexp+t.pattern.Text)
		default:
			keys = append(keys, keyDomain+t.pattern.Name)
		}
	}
	return keys
}

// keysTaking lists the keys under which the rules are found that could take a
// target.
func (c *targetCover) keysTaking(t target) []string {
	keys := []string{keyEverything}
	appKeys := func(app string) {
		keys = append(keys, keyApp+app)
		for _, family := range families(c.categories[app]) {
			keys = append(keys, keyCategory+family)
		}
	}
	switch {
	case t.app != "":
		appKeys(t.app)
	case t.category != "":
		for _, family := range families(t.category) {
			keys = append(keys, keyCategory+family)
		}
	case t.list != "":
		keys = append(keys, keyList+t.list)
	case t.network.IsValid():
		keys = append(keys, keyNetwork)
	case t.pattern == nil:
	case t.pattern.Kind == PatternRegexp:
		keys = append(keys, keyRegexp+t.pattern.Text)
	default:
		for name := range parents(t.pattern.Name) {
			keys = append(keys, keyDomain+name)
		}
		for _, app := range c.owners(t.pattern) {
			appKeys(app)
		}
	}
	return keys
}

// parents gives a name and the names that it is under, longest first.
func parents(name string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for yield(name) {
			_, parent, more := strings.Cut(name, ".")
			if !more {
				return
			}
			name = parent
		}
	}
}

// takes reports whether the earlier what takes a target of the later one. What
// earlier leaves out, later must leave out too.
func (c *targetCover) takes(earlier, later *What, t target) bool {
	if earlier.Except != nil {
		if later.Except == nil {
			return false
		}
		for _, excepted := range targetsOf(earlier.Except) {
			if !c.includes(later.Except, excepted) {
				return false
			}
		}
	}
	return c.includes(earlier, t)
}

// includes reports whether a target is certainly among a what's selectors.
func (c *targetCover) includes(w *What, t target) bool {
	*c.work -= 1 + len(w.Apps) + len(w.Categories) + len(w.Domains) + len(w.Lists) + len(w.Networks)
	switch {
	case !w.selectsDestinations():
		return true
	case t.app != "":
		return c.includesApp(w, t.app)
	case t.category != "":
		return includesCategory(w, t.category)
	case t.list != "":
		return named(w.Lists, t.list)
	case t.network.IsValid():
		return slices.ContainsFunc(w.Networks, func(n Network) bool { return takesPrefix(n.Prefix, t.network) })
	case t.pattern == nil:
		return false // everything is more than any selector
	default:
		return slices.ContainsFunc(w.Domains, func(p Pattern) bool { return p.takes(t.pattern) }) ||
			slices.ContainsFunc(c.owners(t.pattern), func(app string) bool { return c.includesApp(w, app) })
	}
}

func (c *targetCover) includesApp(w *What, app string) bool {
	return named(w.Apps, app) || includesCategory(w, c.categories[app])
}

func includesCategory(w *What, category string) bool {
	return slices.ContainsFunc(families(category), func(family string) bool { return named(w.Categories, family) })
}

// takes reports whether every name that other matches is matched by p.
func (p *Pattern) takes(other *Pattern) bool {
	if p.Kind == PatternRegexp || other.Kind == PatternRegexp {
		return p.Kind == other.Kind && p.Text == other.Text
	}
	switch p.Kind {
	case PatternExact:
		return other.Kind == PatternExact && other.Name == p.Name
	case PatternBelow:
		return isBelow(other.Name, p.Name) || other.Kind == PatternBelow && other.Name == p.Name
	default:
		return other.Name == p.Name || isBelow(other.Name, p.Name)
	}
}

// owners are the apps of which every name that the pattern matches is one:
// within an app the longest name decides, and a shared one is not the app's. That
// a shared name of an app might lead (by CNAME) to one of its own, which then does
// not count for it, is left out of account: it is nothing to plan a rule for.
func (c *targetCover) owners(p *Pattern) []string {
	if p.Kind == PatternRegexp {
		return nil
	}
	decided := map[string]bool{}
	var apps []string
	for name := range parents(p.Name) {
		for _, n := range c.names[name] {
			if decided[n.app] {
				continue
			}
			decided[n.app] = true
			at := Pattern{Kind: n.kind, Name: name}
			if at.takes(p) && !n.shared && !c.sharesBelow(n.app, p) && !c.ambiguous(n.app, name) {
				apps = append(apps, n.app)
			}
		}
	}
	return apps
}

// ambiguous reports whether an app has two patterns with one name: which of
// them decides depends on what is asked, and lint does not guess.
func (c *targetCover) ambiguous(app, name string) bool {
	count := 0
	for _, n := range c.names[name] {
		if n.app == app {
			count++
		}
	}
	return count > 1
}

// sharesBelow reports whether an app has a shared name at or under a pattern's.
func (c *targetCover) sharesBelow(app string, p *Pattern) bool {
	return slices.ContainsFunc(c.shared[app], func(name string) bool {
		return name == p.Name || isBelow(name, p.Name)
	})
}
