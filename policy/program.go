package policy

import (
	"sync"
	"sync/atomic"
)

// Program is a compiled policy. Its tables never change after Compile; what
// it memorises (the present epoch, resolved subjects) is only ever a faster
// way to the same answer. Safe for concurrent use.
//
// Only the Program knows the big tables. What outlives it (verdicts, subjects,
// prepared facts, in caches and in tunnels that stay open for days) refers to
// its id and to parts that stand by themselves, and to no field of it, since a
// pointer into it would keep a million names of an old list in memory.
type Program struct {
	id       *programID
	revision string
	document *Document
	apps     []*App
	rules    []Rule // exceptions first, then rules; the default is not among them
	canary   *Rule  // before all of them
	fallback *Rule  // the default

	// Destinations.
	names    *nameTable // canonical name -> index into nodes
	nodes    []nameNode
	addrs    *prefixTable // address -> index into addrDests
	addrDest []*destination
	anywhere *destination // what a destination named nowhere matches
	lists    []compiledList
	regexps  []compiledRegexp

	// Subjects.
	clients  *prefixTable // client address -> index into classes
	classes  []clientClass
	groups   groupTable
	users    map[string]*claimant
	devices  map[string]*claimant
	whoRules whoRules
	whoMemo  sync.Map // string -> *whoSet
	whoCount atomic.Int64

	// Per rule.
	monitors       []bool // ActionMonitor, or report-only with a refusing action
	ports          [][]PortRange
	scheduledRules []int32
	stripH3        *ruleSet // rules that ask for it

	present atomic.Pointer[epoch]
}

// programID tells Programs apart: each has one of its own, which may outlive it.
type programID struct {
	_ byte // values without size may share one address
}

// Sources is what a policy is compiled against.
type Sources struct {
	Catalogue []App            // the built-in apps
	Lists     map[string]*List // by name; every list of the document must be there
	Revision  string           // short hash of every byte that went in; shown in verdicts
}

// Revision identifies the bytes that the program was compiled from.
func (p *Program) Revision() string { return p.revision }

// Document is the policy as written. Do not change it.
func (p *Program) Document() *Document { return p.document }

// Organisation is who speaks to people that are refused.
func (p *Program) Organisation() Organisation { return p.document.Organisation }

// Rules lists exceptions, rules and last the default, in the order in which
// they are read. Do not change them.
func (p *Program) Rules() []*Rule {
	all := make([]*Rule, 0, len(p.rules)+1)
	for i := range p.rules {
		all = append(all, &p.rules[i])
	}
	return append(all, p.fallback)
}

// Apps lists the built-in apps, as the policy widens them, and the policy's
// own. Do not change them.
func (p *Program) Apps() []*App { return p.apps }

// GroupNames lists the policy's groups in policy order.
func (p *Program) GroupNames() []string { return p.groups.names }

// ruleAt is the rule with an index; the default behind the last one.
func (p *Program) ruleAt(i int) *Rule {
	if i < len(p.rules) {
		return &p.rules[i]
	}
	return p.fallback
}
