package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// destination is everything that the policy says of one spot in the space of
// names or addresses: computed once for each spot that can be told apart, so
// that a decision finds it with one walk.
type destination struct {
	pos    *ruleSet       // rules whose what fits here, app selectors included
	neg    *ruleSet       // rules whose what.except fits here
	direct *ruleSet       // pos without what the apps contribute
	apps   []*compiledApp // apps that match here, in catalogue and policy order
	shared []*compiledApp // apps for which this is a shared name or prefix
}

// compiledApp is an app with the rules that select it, by id or category.
type compiledApp struct {
	*App
	order    int
	pos, neg []int32
	rules    *ruleSet // pos, packed
}

// nameNode is one name that the policy or an app mentions.
type nameNode struct {
	exact *destination // what the name itself is
	below *destination // what names under it are, unless a deeper node says
}

// compiledList is a big list that rules refer to.
type compiledList struct {
	name     string
	list     *List
	pos, neg *ruleSet
}

// compiledRegexp is a regular expression that rules refer to.
type compiledRegexp struct {
	re       *regexp.Regexp
	pos, neg *ruleSet
}

// mention is one selector that fits a name or a prefix.
type mention struct {
	app    *compiledApp // set for an app's own name or prefix
	shared bool
	rule   int32 // for a rule's selector
	except bool
}

// place collects what is said of one name before it is compiled.
type place struct {
	suffix, exact, below []mention
}

// destinations compiles mentions into destination values, one for each
// distinct combination.
type destinations struct {
	rules    int
	any      []int32 // rules that name no destination: they fit everywhere
	interned map[string]*destination
}

// of returns the destination for mentions that run from the widest to the
// longest: inside an app the last one wins.
func (ds *destinations) of(chain []mention) *destination {
	var apps, shared []*compiledApp
	var direct, neg []int32
	verdicts := map[*compiledApp]bool{} // app -> shared, as the longest name has it
	for _, m := range chain {
		switch {
		case m.app != nil:
			verdicts[m.app] = m.shared
		case m.except:
			neg = append(neg, m.rule)
		default:
			direct = append(direct, m.rule)
		}
	}
	for app, isShared := range verdicts {
		if isShared {
			shared = append(shared, app)
		} else {
			apps = append(apps, app)
		}
	}
	byOrder := func(a, b *compiledApp) int { return a.order - b.order }
	slices.SortFunc(apps, byOrder)
	slices.SortFunc(shared, byOrder)
	return ds.intern(apps, shared, sortedRules(direct), sortedRules(neg))
}

func sortedRules(list []int32) []int32 {
	slices.Sort(list)
	return slices.Compact(list)
}

func (ds *destinations) intern(apps, shared []*compiledApp, direct, neg []int32) *destination {
	var key strings.Builder
	for _, a := range apps {
		fmt.Fprintf(&key, "+%d", a.order)
	}
	for _, a := range shared {
		fmt.Fprintf(&key, "-%d", a.order)
	}
	fmt.Fprint(&key, direct, neg)
	if known, ok := ds.interned[key.String()]; ok {
		return known
	}
	pos, except := newRuleBits(ds.rules), newRuleBits(ds.rules)
	pos.addAll(ds.any)
	pos.addAll(direct)
	except.addAll(neg)
	d := &destination{apps: apps, shared: shared, direct: pos.pack()}
	for _, a := range apps {
		pos.addAll(a.pos)
		except.addAll(a.neg)
	}
	d.pos, d.neg = pos.pack(), except.pack()
	ds.interned[key.String()] = d
	return d
}

// addAncestors makes a place for every name above a mentioned one, so that a
// walk from the right may stop at the first name that is not in the table.
func addAncestors(places map[string]*place) {
	for _, name := range sortedKeys(places) {
		for dot := strings.IndexByte(name, '.'); dot >= 0; dot = strings.IndexByte(name, '.') {
			name = name[dot+1:]
			if places[name] != nil {
				break // and so are those above it, now or when its turn comes
			}
			places[name] = &place{}
		}
	}
}

// compileNames builds the table of every name mentioned outside big lists.
func (ds *destinations) compileNames(places map[string]*place) (*nameTable, []nameNode) {
	addAncestors(places)
	table := newNameTable(len(places))
	nodes := make([]nameNode, 0, len(places))
	for _, name := range sortedKeys(places) {
		inherited := inheritedMentions(places, name)
		own := places[name]
		// At one name, exact beats suffix: the later mention wins inside an app.
		exact := slices.Concat(inherited, own.suffix, own.exact)
		below := slices.Concat(inherited, own.suffix, own.below)
		table.insert(hashName(name), name, uint32(len(nodes)))
		nodes = append(nodes, nameNode{exact: ds.of(exact), below: ds.of(below)})
	}
	return table, nodes
}

// inheritedMentions are those of the names above, the widest first.
func inheritedMentions(places map[string]*place, name string) []mention {
	var chain []mention
	for dot := strings.LastIndexByte(name, '.'); dot >= 0; dot = strings.LastIndexByte(name[:dot], '.') {
		if above := places[name[dot+1:]]; above != nil {
			chain = append(chain, above.suffix...)
			chain = append(chain, above.below...)
		}
	}
	return chain
}

// lastDot is the index of the last dot in s, or -1. Written out because names
// are short and this is the inner loop of a decision.
func lastDot(s string) int {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == '.' {
			return i
		}
	}
	return -1
}
