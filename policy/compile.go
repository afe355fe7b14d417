package policy

import (
	"fmt"
	"net/netip"
	"slices"
)

// maxLists bounds the lists that rules may refer to: a decision keeps one bit
// for each.
const maxLists = 64

// Compile turns a document into a Program. It reports every problem of
// reference first (Validate); a document with errors is not compiled and the
// Program is nil. The document belongs to the Program afterwards.
func Compile(doc *Document, s Sources) (*Program, Problems) {
	problems := Validate(doc, s.Catalogue)
	problems = append(problems, missingLists(doc, s.Lists)...)
	if problems.HasErrors() {
		return nil, problems
	}
	canary := canaryRule()
	p := &Program{
		id:       &programID{},
		revision: s.Revision,
		document: doc,
		rules:    slices.Concat(doc.Exceptions, doc.Rules),
		canary:   &canary,
		fallback: &Rule{Name: DefaultRule, Action: doc.Default, ReportOnly: doc.ReportOnly},
	}
	p.apps = joinApps(doc, s.Catalogue)
	p.compileRules()
	p.compileSubjects()
	p.compileDestinations(s.Lists)
	return p, problems
}

// missingLists reports the lists that the caller did not bring.
func missingLists(doc *Document, lists map[string]*List) Problems {
	var problems Problems
	for _, l := range doc.Lists {
		if lists[l.Name] == nil {
			problems = append(problems, Problem{Position: l.Position, Message: fmt.Sprintf("list %q was not loaded", l.Name)})
		}
	}
	if len(doc.Lists) > maxLists {
		problems = append(problems, Problem{
			Position: doc.Lists[maxLists].Position,
			Message:  fmt.Sprintf("%d lists: at most %d can be used at once; join some of them in one file", len(doc.Lists), maxLists),
		})
	}
	return problems
}

// joinApps is the catalogue with the policy's own apps: an entry with extends
// and the same id takes the place of the one that it widens.
func joinApps(doc *Document, catalogue []App) []*App {
	apps := make([]*App, 0, len(catalogue)+len(doc.Apps))
	index := map[string]int{}
	for i := range catalogue {
		app := catalogue[i]
		app.BuiltIn = true
		index[app.ID] = len(apps)
		apps = append(apps, &app)
	}
	for i := range doc.Apps {
		app := doc.Apps[i]
		base, extends := index[app.Extends]
		if !extends {
			index[app.ID] = len(apps)
			apps = append(apps, &app)
			continue
		}
		wide := widen(apps[base], &app)
		if app.ID == app.Extends {
			apps[base] = wide
			continue
		}
		index[app.ID] = len(apps)
		apps = append(apps, wide)
	}
	return apps
}

// widen makes the app that has all of base and what more adds. What the policy
// says comes last, so that it wins over the catalogue at the same name.
func widen(base, more *App) *App {
	wide := *base
	wide.Position, wide.ID, wide.Extends, wide.BuiltIn = more.Position, more.ID, more.Extends, false
	if more.Name != "" {
		wide.Name = more.Name
	}
	if more.Category != "" {
		wide.Category = more.Category
	}
	wide.Domains = slices.Concat(base.Domains, more.Domains)
	wide.Networks = slices.Concat(base.Networks, more.Networks)
	wide.Ports = slices.Concat(base.Ports, more.Ports)
	return &wide
}

// compileRules prepares what a decision asks of a rule by its index.
func (p *Program) compileRules() {
	p.monitors = make([]bool, len(p.rules))
	p.ports = make([][]PortRange, len(p.rules))
	stripH3 := newRuleBits(len(p.rules))
	for i := range p.rules {
		r := &p.rules[i]
		reportOnly := r.ReportOnly || p.document.ReportOnly
		p.monitors[i] = r.Action == ActionMonitor || (reportOnly && r.Action.Refuses())
		p.ports[i] = r.What.Ports
		if r.StripH3 {
			stripH3.add(i)
		}
		if !r.When.IsZero() {
			p.scheduledRules = append(p.scheduledRules, int32(i))
		}
	}
	p.stripH3 = stripH3.pack()
}

// compileDestinations builds the tables of names and addresses.
func (p *Program) compileDestinations(lists map[string]*List) {
	ds := &destinations{
		rules:    len(p.rules),
		interned: map[string]*destination{},
	}
	g := &gatherer{places: map[string]*place{}, lists: map[string]*listRules{}, regexps: map[string]*regexpRules{}, ds: ds}
	g.indexApps(p.apps)
	for i := range p.rules {
		g.addRule(int32(i), &p.rules[i].What)
	}
	p.anywhere = ds.of(nil)
	p.names, p.nodes = ds.compileNames(g.places)
	p.lists = g.compileLists(p.document.Lists, lists, len(p.rules))
	p.regexps = g.compileRegexps(len(p.rules))
	p.compileAddresses(ds, g)
	for _, app := range g.byID {
		app.rules = packRules(app.pos, len(p.rules))
	}
}

// compileAddresses builds the table of destination prefixes, the lists' own
// included.
func (p *Program) compileAddresses(ds *destinations, g *gatherer) {
	for i := range p.lists {
		g.addListNetworks(&p.lists[i], len(p.rules))
	}
	prefixes := make([]netip.Prefix, len(g.prefixes))
	for i := range g.prefixes {
		prefixes[i] = g.prefixes[i].prefix
	}
	index := map[*destination]uint32{}
	p.addrs = buildPrefixTable(prefixes, func(chain []int32) uint32 {
		var mentions []mention
		for _, c := range chain {
			mentions = append(mentions, g.prefixes[c].mentions...)
		}
		dest := ds.of(mentions)
		class, known := index[dest]
		if !known {
			class = uint32(len(p.addrDest))
			index[dest] = class
			p.addrDest = append(p.addrDest, dest)
		}
		return class
	})
}
