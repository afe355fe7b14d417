package policy

import (
	"fmt"
	"net/netip"
)

// clientPrefix is a network that the policy gives a meaning as a client: it
// belongs to a group, or a rule's who names it.
type clientPrefix struct {
	group  int32 // -1 where a rule names it
	rule   int32
	except bool
}

// compileSubjects builds the tables that resolve identities.
func (p *Program) compileSubjects() {
	p.users, p.devices = map[string]*claimant{}, map[string]*claimant{}
	p.groups = newGroupTable(p.document.Groups)
	n := len(p.rules)
	p.whoRules = whoRules{
		groupPos:      make([][]int32, len(p.groups.names)),
		groupNeg:      make([][]int32, len(p.groups.names)),
		userDependent: newRuleBits(n),
		userRemovable: newRuleBits(n),
	}
	var prefixes []netip.Prefix
	var meanings []clientPrefix
	addNetworks := func(networks []Network, meaning clientPrefix) {
		for _, network := range networks {
			prefixes = append(prefixes, network.Prefix)
			meanings = append(meanings, meaning)
		}
	}
	for g := range p.document.Groups {
		group := &p.document.Groups[g]
		addNetworks(group.Networks, clientPrefix{group: int32(g), rule: -1})
		claimGroup(p.users, group.Users, int32(g))
		claimGroup(p.devices, group.Devices, int32(g))
	}
	takesUser := p.groups.takingUsers(p.document.Groups)
	for i := range p.rules {
		who := &p.rules[i].Who
		if who.isEveryone() {
			p.whoRules.everyone = append(p.whoRules.everyone, int32(i))
		}
		p.addWho(int32(i), who, false, takesUser)
		addNetworks(who.Networks, clientPrefix{group: -1, rule: int32(i)})
		if who.Except != nil {
			p.addWho(int32(i), who.Except, true, takesUser)
			addNetworks(who.Except.Networks, clientPrefix{group: -1, rule: int32(i), except: true})
		}
	}
	p.compileClients(prefixes, meanings)
}

// isEveryone reports whether no selector narrows the who; except may remove.
func (w *Who) isEveryone() bool {
	return len(w.Groups) == 0 && len(w.Users) == 0 && len(w.Networks) == 0 && len(w.Devices) == 0
}

func newGroupTable(groups []Group) groupTable {
	t := groupTable{index: make(map[string]int32, len(groups)), directory: map[string][]int32{}, within: make([][]int32, len(groups))}
	for g := range groups {
		t.names = append(t.names, groups[g].Name)
		t.index[groups[g].Name] = int32(g)
		for _, d := range groups[g].Directory {
			t.directory[d.Name] = append(t.directory[d.Name], int32(g))
		}
	}
	around := make([][]int32, len(groups)) // around[g]: the groups that list g
	for g := range groups {
		for _, nested := range groups[g].Groups {
			n := t.index[nested.Name]
			around[n] = append(around[n], int32(g))
		}
	}
	for g := range groups {
		t.within[g] = reach(around, int32(g))
	}
	return t
}

// reach lists g and everything that can be reached from it along edges.
func reach(edges [][]int32, g int32) []int32 {
	all := []int32{g}
	seen := map[int32]bool{g: true}
	for i := 0; i < len(all); i++ {
		for _, next := range edges[all[i]] {
			if !seen[next] {
				seen[next] = true
				all = append(all, next)
			}
		}
	}
	return all
}

// takingUsers tells, by group, whether signing in can make a client a member.
func (t *groupTable) takingUsers(groups []Group) []bool {
	takes := make([]bool, len(groups))
	for g := range groups {
		if len(groups[g].Users) == 0 && len(groups[g].Directory) == 0 {
			continue
		}
		for _, around := range t.within[g] {
			takes[around] = true
		}
	}
	return takes
}

func claimGroup(into map[string]*claimant, names []Reference, group int32) {
	for _, ref := range names {
		c := claimantOf(into, ref.Name)
		c.groups = append(c.groups, group)
	}
}

func claimantOf(into map[string]*claimant, name string) *claimant {
	c := into[name]
	if c == nil {
		c = &claimant{}
		into[name] = c
	}
	return c
}

// addWho notes one who, or the except of one, for every kind of selector but
// networks.
func (p *Program) addWho(rule int32, who *Who, except bool, takesUser []bool) {
	w := &p.whoRules
	byUser, byAbsence := w.userDependent, w.userRemovable
	if except {
		byUser, byAbsence = byAbsence, byUser
	}
	for _, ref := range who.Groups {
		if ref.Name == GroupUnclaimed {
			appendRule(&w.unclaimedPos, &w.unclaimedNeg, rule, except)
			byAbsence.add(int(rule))
			continue
		}
		g := p.groups.index[ref.Name]
		appendRule(&w.groupPos[g], &w.groupNeg[g], rule, except)
		if takesUser[g] {
			byUser.add(int(rule))
		}
	}
	for _, ref := range who.Users {
		c := claimantOf(p.users, ref.Name)
		appendRule(&c.pos, &c.neg, rule, except)
		byUser.add(int(rule))
	}
	for _, ref := range who.Devices {
		c := claimantOf(p.devices, ref.Name)
		appendRule(&c.pos, &c.neg, rule, except)
	}
}

// compileClients builds the table from client address to class.
func (p *Program) compileClients(prefixes []netip.Prefix, meanings []clientPrefix) {
	var contents []clientClass
	known := map[string]uint32{}
	p.clients = buildPrefixTable(prefixes, func(chain []int32) uint32 {
		var c clientClass
		for _, at := range chain {
			switch m := meanings[at]; {
			case m.group >= 0:
				c.groups = append(c.groups, m.group)
			case m.except:
				c.neg = append(c.neg, m.rule)
			default:
				c.pos = append(c.pos, m.rule)
			}
		}
		c.groups, c.pos, c.neg = sortedRules(c.groups), sortedRules(c.pos), sortedRules(c.neg)
		key := fmt.Sprint(c.groups, c.pos, c.neg)
		class, ok := known[key]
		if !ok {
			class = uint32(len(contents))
			known[key] = class
			contents = append(contents, clientClass{groups: c.groups, pos: c.pos, neg: c.neg})
		}
		return class
	})
	p.classes = contents
}
