package policy

import (
	"net/netip"
	"slices"
	"sort"
	"strings"
	"sync/atomic"
)

// maxWhoMemo bounds the memory for resolved users; beyond it subjects are
// resolved anew each time, which is slower and just as right.
const maxWhoMemo = 1 << 16

// whoSet is a resolved subject: the rules whose who it satisfies. It does not
// refer to its Program, which a kept Subject must not keep alive.
type whoSet struct {
	rules   *ruleSet
	userMay *ruleSet // rules that could match, or cease to, if the user were known
	groups  []int32  // indexes into groupTable.names, in policy order
	names   []string // the same as names
}

// groupTable holds the policy's groups by index in policy order.
type groupTable struct {
	names     []string
	index     map[string]int32
	directory map[string][]int32 // directory name -> groups that list it
	within    [][]int32          // within[g]: g and every group that it is nested in
}

// claimant is a user or device that the policy names.
type claimant struct {
	groups   []int32 // groups that list it
	pos, neg []int32 // rules whose who, or who.except, names it
}

// clientClass is everything that the policy says of a range of addresses.
// Clients of one class and nothing else known share one resolved whoSet.
type clientClass struct {
	groups   []int32 // groups with a network around the range
	pos, neg []int32 // rules with such a network in who, or who.except
	resolved atomic.Pointer[whoSet]
}

// whoRules are the rules by kind of selector in their who.
type whoRules struct {
	everyone                     []int32   // no positive selector
	groupPos, groupNeg           [][]int32 // by group
	unclaimedPos, unclaimedNeg   []int32   // the special group unidentified
	userDependent, userRemovable ruleBits  // could come to match, or cease to, with a user
}

// Subject resolves an identity: one prefix lookup and one atomic load for a
// client of whom only the address is known, a memo lookup otherwise.
func (p *Program) Subject(id Identity) Subject {
	return Subject{Identity: id, program: p.id, who: p.resolve(&id)}
}

// GroupNames lists the policy groups of the subject in policy order. The
// slice is shared: do not change it.
func (s *Subject) GroupNames() []string {
	if s.who == nil {
		return nil
	}
	return s.who.names
}

// SameProgram reports whether one Program resolved both subjects, or none
// did. A subject of another Program than the one that decides is no mistake:
// Decide resolves it again, which costs more.
func (s *Subject) SameProgram(other *Subject) bool { return s.program == other.program }

// whoOf is the resolved form of a request's subject in this program.
func (p *Program) whoOf(s *Subject) *whoSet {
	if s.program == p.id && s.who != nil {
		return s.who
	}
	return p.resolve(&s.Identity)
}

func (p *Program) resolve(id *Identity) *whoSet {
	class := p.clients.lookup(unmapped(id.Addr))
	if id.User == "" && len(id.Groups) == 0 && len(id.Directory) == 0 && len(id.Devices) == 0 {
		return p.resolveClass(class)
	}
	key := memoKey(class, id)
	if known, ok := p.whoMemo.Load(key); ok {
		return known.(*whoSet)
	}
	who := p.newWhoSet(&p.classes[class], id)
	if p.whoCount.Add(1) <= maxWhoMemo {
		p.whoMemo.Store(key, who)
	}
	return who
}

// resolveClass is kept apart from resolve so that the common case, an address
// and nothing else, allocates nothing.
func (p *Program) resolveClass(class uint32) *whoSet {
	c := &p.classes[class]
	if who := c.resolved.Load(); who != nil {
		return who
	}
	who := p.newWhoSet(c, &Identity{})
	c.resolved.Store(who)
	return who
}

func unmapped(a netip.Addr) netip.Addr {
	if a.Is4In6() {
		return a.Unmap()
	}
	return a
}

func memoKey(class uint32, id *Identity) string {
	var b strings.Builder
	b.WriteByte(byte(class))
	b.WriteByte(byte(class >> 8))
	b.WriteByte(byte(class >> 16))
	b.WriteByte(byte(class >> 24))
	for _, part := range [][]string{{id.User}, id.Groups, id.Directory, id.Devices} {
		b.WriteByte(1)
		for _, s := range part {
			b.WriteString(s)
			b.WriteByte(0)
		}
	}
	return b.String()
}

// newWhoSet evaluates every who for one subject.
func (p *Program) newWhoSet(class *clientClass, id *Identity) *whoSet {
	claims := p.claimsOf(class, id)
	groups := p.groups.closure(claims.groups)
	pos, neg := newRuleBits(len(p.rules)), newRuleBits(len(p.rules))
	pos.addAll(p.whoRules.everyone)
	pos.addAll(claims.pos)
	neg.addAll(claims.neg)
	for _, g := range groups {
		pos.addAll(p.whoRules.groupPos[g])
		neg.addAll(p.whoRules.groupNeg[g])
	}
	if len(groups) == 0 && id.User == "" && len(id.Devices) == 0 {
		pos.addAll(p.whoRules.unclaimedPos)
		neg.addAll(p.whoRules.unclaimedNeg)
	}
	pos.remove(neg)
	who := &whoSet{rules: pos.pack(), groups: groups}
	for _, g := range groups {
		who.names = append(who.names, p.groups.names[g])
	}
	if id.User == "" {
		who.userMay = p.whoRules.changedByUser(pos)
	}
	return who
}

// claimsOf gathers what class, user, devices and asserted groups contribute.
func (p *Program) claimsOf(class *clientClass, id *Identity) claimant {
	all := claimant{groups: slices.Clone(class.groups), pos: slices.Clone(class.pos), neg: slices.Clone(class.neg)}
	add := func(c *claimant) {
		if c == nil {
			return
		}
		all.groups = append(all.groups, c.groups...)
		all.pos = append(all.pos, c.pos...)
		all.neg = append(all.neg, c.neg...)
	}
	if id.User != "" {
		add(p.users[id.User])
	}
	for _, d := range id.Devices {
		add(p.devices[d])
	}
	for _, name := range id.Groups {
		if g, ok := p.groups.index[name]; ok {
			all.groups = append(all.groups, g)
		}
	}
	for _, name := range id.Directory {
		all.groups = append(all.groups, p.groups.directory[name]...)
	}
	return all
}

// closure adds the groups around each group, and sorts into policy order.
func (t *groupTable) closure(direct []int32) []int32 {
	var all []int32
	for _, g := range direct {
		all = append(all, t.within[g]...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// changedByUser is the set of rules whose match could change if the user of a
// subject were known, given the rules that it matches without.
func (w *whoRules) changedByUser(matched ruleBits) *ruleSet {
	may := make(ruleBits, len(matched))
	for i := range may {
		may[i] = w.userDependent[i]&^matched[i] | w.userRemovable[i]&matched[i]
	}
	return may.pack()
}

// firstGroup names the first group in policy order through which a subject
// matched a rule; where the rule names no group of the subject, the subject's
// first group; "" where it has none.
func (p *Program) firstGroup(who *whoSet, rule *Rule) string {
	if len(who.groups) == 0 {
		return ""
	}
	for _, g := range who.groups {
		for i := range rule.Who.Groups {
			if rule.Who.Groups[i].Name == p.groups.names[g] {
				return p.groups.names[g]
			}
		}
	}
	return p.groups.names[who.groups[0]]
}

// sortedKeys lists a map's keys in order, for errors and tables that must not
// depend on map order.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
