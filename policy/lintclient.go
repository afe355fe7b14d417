package policy

import (
	"net/netip"
	"slices"
)

// client is one selector of a who; the zero client is everyone.
type client struct {
	group, user, device string
	network             netip.Prefix
}

// clientsOf lists the selectors of a who, except aside.
func clientsOf(w *Who) []client {
	var all []client
	for _, ref := range w.Groups {
		all = append(all, client{group: ref.Name})
	}
	for _, ref := range w.Users {
		all = append(all, client{user: ref.Name})
	}
	for _, n := range w.Networks {
		all = append(all, client{network: n.Prefix})
	}
	for _, ref := range w.Devices {
		all = append(all, client{device: ref.Name})
	}
	if all == nil {
		return []client{{}}
	}
	return all
}

// clientCover answers which clients a who takes.
type clientCover struct {
	within   map[string][]string // group -> itself and the groups that it is part of
	users    map[string][]string // user -> groups that list it
	devices  map[string][]string // device -> groups that list it
	networks map[string][]Network
	groups   map[string]*Group
	work     *int
}

func newClientCover(groups []Group, work *int) *clientCover {
	c := &clientCover{
		within:   map[string][]string{},
		users:    map[string][]string{},
		devices:  map[string][]string{},
		networks: map[string][]Network{},
		groups:   map[string]*Group{},
		work:     work,
	}
	around := map[string][]string{}
	for i := range groups {
		g := &groups[i]
		c.groups[g.Name] = g
		for _, ref := range g.Groups {
			around[ref.Name] = append(around[ref.Name], g.Name)
		}
		for _, ref := range g.Users {
			c.users[ref.Name] = append(c.users[ref.Name], g.Name)
		}
		for _, ref := range g.Devices {
			c.devices[ref.Name] = append(c.devices[ref.Name], g.Name)
		}
	}
	for name := range c.groups {
		c.within[name] = closure(name, func(g string) []string { return around[g] })
	}
	for name, g := range c.groups {
		if len(g.Networks) == 0 {
			continue
		}
		for _, outer := range c.within[name] {
			c.networks[outer] = append(c.networks[outer], g.Networks...)
		}
	}
	return c
}

// closure lists start and everything that can be reached from it.
func closure(start string, next func(string) []string) []string {
	all := []string{start}
	seen := map[string]bool{start: true}
	for i := 0; i < len(all); i++ {
		for _, name := range next(all[i]) {
			if !seen[name] {
				seen[name] = true
				all = append(all, name)
			}
		}
	}
	return all
}

// takes reports whether the earlier who takes a client of the later one. What
// earlier leaves out, later must leave out too. A door that cannot see devices
// skips a rule that asks for one, so that such a rule takes nothing from rules
// that do not.
func (c *clientCover) takes(earlier, later *Who, one client) bool {
	if earlier.asksDevice() && !later.asksDevice() {
		return false
	}
	if earlier.Except != nil {
		if later.Except == nil {
			return false
		}
		for _, excepted := range clientsOf(earlier.Except) {
			if !c.includes(later.Except, excepted) {
				return false
			}
		}
	}
	return c.includes(earlier, one)
}

func (w *Who) asksDevice() bool {
	return len(w.Devices) > 0 || w.Except != nil && len(w.Except.Devices) > 0
}

// includes reports whether a client is certainly among a who's selectors.
func (c *clientCover) includes(w *Who, one client) bool {
	*c.work -= 1 + len(w.Groups) + len(w.Users) + len(w.Networks) + len(w.Devices)
	switch {
	case w.isEveryone():
		return true
	case one.group == GroupUnclaimed:
		return named(w.Groups, GroupUnclaimed)
	case one.group != "":
		return c.inGroups(w, []string{one.group})
	case one.user != "":
		return named(w.Users, one.user) || c.inGroups(w, c.users[one.user])
	case one.device != "":
		return named(w.Devices, one.device) || c.inGroups(w, c.devices[one.device])
	case one.network.IsValid():
		return c.inNetworks(w, one.network)
	default:
		return false
	}
}

// inGroups reports whether w names one of the groups, or one around them.
func (c *clientCover) inGroups(w *Who, groups []string) bool {
	for _, group := range groups {
		for _, outer := range c.within[group] {
			if named(w.Groups, outer) {
				return true
			}
		}
	}
	return false
}

// inNetworks reports whether a network lies within one of w's, or of its
// groups'.
func (c *clientCover) inNetworks(w *Who, inner netip.Prefix) bool {
	holds := func(n Network) bool { return takesPrefix(n.Prefix, inner) }
	if slices.ContainsFunc(w.Networks, holds) {
		return true
	}
	for _, ref := range w.Groups {
		*c.work -= len(c.networks[ref.Name])
		if slices.ContainsFunc(c.networks[ref.Name], holds) {
			return true
		}
	}
	return false
}

func named(refs []Reference, name string) bool {
	return slices.ContainsFunc(refs, func(ref Reference) bool { return ref.Name == name })
}

// takesPrefix reports whether inner lies within outer.
func takesPrefix(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}
