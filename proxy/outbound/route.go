package outbound

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// step is one way: a parent, or nil for none.
type step = *parent

// route is how some destinations are reached.
type route struct {
	steps []step
}

// routes finds the first Route that a destination fits. What fits a name is
// found by one look-up for each of its labels, however many routes there are.
type routes struct {
	list     []*route
	exact    map[string]int // name to the first route that is for it
	below    map[string]int // name to the first route that is for what is under it
	prefixes []prefixRoute  // in the order of routes
	rest     int            // the first route that is for everything
}

// prefixRoute is a network, and the route that is for it.
type prefixRoute struct {
	prefix netip.Prefix
	route  int
}

// newRoutes checks the routes, and finds their parents.
func newRoutes(config []Route, parents map[string]*parent) (*routes, error) {
	t := &routes{exact: map[string]int{}, below: map[string]int{}, rest: len(config)}
	for i, c := range config {
		r := &route{}
		for _, name := range c.Via {
			p, known := parents[name]
			if !known && name != Direct {
				return nil, fmt.Errorf("outbound: route %d: unknown parent %q", i+1, name)
			}
			if slices.Contains(r.steps, p) {
				return nil, fmt.Errorf("outbound: route %d: %q is there twice", i+1, name)
			}
			r.steps = append(r.steps, p)
		}
		if len(r.steps) == 0 {
			return nil, fmt.Errorf("outbound: route %d leads nowhere: name a parent, or %s", i+1, Direct)
		}
		t.list = append(t.list, r)
		if len(c.To) == 0 {
			t.rest = min(t.rest, i)
		}
		for _, to := range c.To {
			if err := t.add(to, i); err != nil {
				return nil, fmt.Errorf("outbound: route %d: %w", i+1, err)
			}
		}
	}
	return t, nil
}

// add says that a destination is for a route, unless an earlier one has it.
func (t *routes) add(to Destination, route int) error {
	put := func(into map[string]int) {
		if _, taken := into[to.Name]; !taken {
			into[to.Name] = route
		}
	}
	switch {
	case to.Name == "" && !to.Prefix.IsValid():
		return errors.New("a destination that is neither name nor network")
	case to.Name == "":
		t.prefixes = append(t.prefixes, prefixRoute{to.Prefix, route})
		return nil
	}
	if to.Match != MatchBelow {
		put(t.exact)
	}
	if to.Match != MatchExact {
		put(t.below)
	}
	return nil
}

// find is the route of a destination; nil: there is none, and it is reached
// directly.
func (t *routes) find(host string, addresses []netip.Addr) *route {
	if len(t.list) == 0 {
		return nil
	}
	first := min(t.rest, t.byName(host))
	for _, p := range t.prefixes {
		if p.route >= first {
			break
		}
		if slices.ContainsFunc(addresses, func(a netip.Addr) bool { return p.prefix.Contains(a.Unmap()) }) {
			first = p.route
		}
	}
	if first == len(t.list) {
		return nil
	}
	return t.list[first]
}

// byName is the first route for a name; the number of routes where there is none.
func (t *routes) byName(host string) int {
	first := len(t.list)
	if i, ok := t.exact[host]; ok {
		first = i
	}
	for name := host; ; {
		_, rest, found := strings.Cut(name, ".")
		if !found {
			return first
		}
		if i, ok := t.below[rest]; ok {
			first = min(first, i)
		}
		name = rest
	}
}

// needsAddrs reports whether some way of the route wants addresses from here.
func (r *route) needsAddrs() bool {
	return r == nil || slices.ContainsFunc(r.steps, func(p step) bool { return p == nil || !p.findsNames })
}
