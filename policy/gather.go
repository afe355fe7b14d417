package policy

import (
	"net/netip"
	"strings"
)

// gatherer collects every mention of a destination, by apps and by rules.
type gatherer struct {
	ds       *destinations
	byID     map[string]*compiledApp
	category map[string][]*compiledApp
	places   map[string]*place
	prefixes []prefixMentions
	lists    map[string]*listRules
	regexps  map[string]*regexpRules
}

// prefixMentions is a prefix with what it stands for.
type prefixMentions struct {
	prefix   netip.Prefix
	mentions []mention
}

// listRules are the rules that name a list.
type listRules struct{ pos, neg []int32 }

// regexpRules are the rules that name a regular expression.
type regexpRules struct {
	pattern  *Pattern
	pos, neg []int32
}

// indexApps notes every app's own names and prefixes.
func (g *gatherer) indexApps(apps []*App) {
	g.byID = make(map[string]*compiledApp, len(apps))
	g.category = map[string][]*compiledApp{}
	for i := range apps {
		app := &compiledApp{App: apps[i], order: i}
		g.byID[app.ID] = app
		for _, c := range families(app.Category) {
			g.category[c] = append(g.category[c], app)
		}
		for j := range app.Domains {
			d := &app.Domains[j]
			g.addPattern(&d.Pattern, mention{app: app, shared: d.Shared()})
		}
		for j := range app.Networks {
			n := &app.Networks[j]
			g.addPrefix(n.Prefix, mention{app: app, shared: n.Shared()})
		}
	}
}

// addRule notes what one rule selects and excepts. A rule that names no
// destination fits everywhere.
func (g *gatherer) addRule(rule int32, what *What) {
	if !what.selectsDestinations() {
		g.ds.any = append(g.ds.any, rule)
	}
	g.addSelectors(rule, what, false)
	if what.Except != nil {
		g.addSelectors(rule, what.Except, true)
	}
}

func (g *gatherer) addSelectors(rule int32, what *What, except bool) {
	for _, ref := range what.Apps {
		g.selectApp(g.byID[ref.Name], rule, except)
	}
	for _, ref := range what.Categories {
		for _, app := range g.category[ref.Name] {
			g.selectApp(app, rule, except)
		}
	}
	for _, ref := range what.Lists {
		lr := g.lists[ref.Name]
		if lr == nil {
			lr = &listRules{}
			g.lists[ref.Name] = lr
		}
		appendRule(&lr.pos, &lr.neg, rule, except)
	}
	for i := range what.Domains {
		g.addPattern(&what.Domains[i], mention{rule: rule, except: except})
	}
	for i := range what.Networks {
		g.addPrefix(what.Networks[i].Prefix, mention{rule: rule, except: except})
	}
}

func (g *gatherer) selectApp(app *compiledApp, rule int32, except bool) {
	into := &app.pos
	if except {
		into = &app.neg
	}
	// Rules come in order, so a rule that names an app twice does so in a row.
	if n := len(*into); n > 0 && (*into)[n-1] == rule {
		return
	}
	*into = append(*into, rule)
}

func appendRule(pos, neg *[]int32, rule int32, except bool) {
	if except {
		*neg = append(*neg, rule)
		return
	}
	*pos = append(*pos, rule)
}

func (g *gatherer) addPattern(pattern *Pattern, m mention) {
	if pattern.Kind == PatternRegexp {
		rr := g.regexps[pattern.Text]
		if rr == nil {
			rr = &regexpRules{pattern: pattern}
			g.regexps[pattern.Text] = rr
		}
		appendRule(&rr.pos, &rr.neg, m.rule, m.except)
		return
	}
	at := g.places[pattern.Name]
	if at == nil {
		at = &place{}
		g.places[strings.Clone(pattern.Name)] = at
	}
	switch pattern.Kind {
	case PatternExact:
		at.exact = append(at.exact, m)
	case PatternBelow:
		at.below = append(at.below, m)
	default:
		at.suffix = append(at.suffix, m)
	}
}

func (g *gatherer) addPrefix(prefix netip.Prefix, m mention) {
	g.prefixes = append(g.prefixes, prefixMentions{prefix: prefix, mentions: []mention{m}})
}

// compileLists keeps the lists that some rule names.
func (g *gatherer) compileLists(sources []ListSource, lists map[string]*List, rules int) []compiledList {
	var used []compiledList
	for _, source := range sources {
		lr := g.lists[source.Name]
		if lr == nil {
			continue
		}
		used = append(used, compiledList{
			name: source.Name,
			list: lists[source.Name],
			pos:  packRules(lr.pos, rules),
			neg:  packRules(lr.neg, rules),
		})
	}
	return used
}

// addListNetworks notes the prefixes of a list for the rules that name it.
func (g *gatherer) addListNetworks(l *compiledList, rules int) {
	lr := g.lists[l.name]
	var mentions []mention
	for _, rule := range lr.pos {
		mentions = append(mentions, mention{rule: rule})
	}
	for _, rule := range lr.neg {
		mentions = append(mentions, mention{rule: rule, except: true})
	}
	for _, prefix := range l.list.Networks() {
		g.prefixes = append(g.prefixes, prefixMentions{prefix: prefix, mentions: mentions})
	}
}

func (g *gatherer) compileRegexps(rules int) []compiledRegexp {
	var all []compiledRegexp
	for _, text := range sortedKeys(g.regexps) {
		rr := g.regexps[text]
		all = append(all, compiledRegexp{
			re:  rr.pattern.Regexp,
			pos: packRules(rr.pos, rules),
			neg: packRules(rr.neg, rules),
		})
	}
	return all
}
