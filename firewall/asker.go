package firewall

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// asker puts questions to a policy, and notes what came up on the way.
type asker struct {
	Settings
	program  *policy.Program
	families [2]family // IPv4, IPv6

	edge   time.Time                      // the first at which some answer changes
	opened map[string]map[string][]string // why something is left out -> rule -> apps
}

// family is the addresses of IPv4, or those of IPv6.
type family struct {
	clients      []kind
	destinations []kind // those that some refusing rule names
}

func newAsker(p *policy.Program, s Settings) *asker {
	a := &asker{Settings: s, program: p, opened: map[string]map[string][]string{}}
	named := p.WholeScope(policy.DoorProxy).Named(0).Addrs
	var destinations []policy.AddrRange
	for _, span := range p.DestinationSpans() {
		if within(named, span.First) {
			destinations = append(destinations, span)
		}
	}
	clients4, clients6 := byFamily(p.ClientSpans())
	destinations4, destinations6 := byFamily(destinations)
	a.families = [2]family{
		{kinds(clients4, p.ClientClass), kinds(destinations4, p.DestinationClass)},
		{kinds(clients6, p.ClientClass), kinds(destinations6, p.DestinationClass)},
	}
	return a
}

// byFamily are the ranges of IPv4, and those of IPv6 behind them.
func byFamily(all []policy.AddrRange) (v4, v6 []policy.AddrRange) {
	from, _ := slices.BinarySearchFunc(all, true, func(r policy.AddrRange, _ bool) int {
		if r.First.Is4() {
			return -1
		}
		return 0
	})
	return all[:from], all[from:]
}

// within reports whether an address is in one of some ranges, which are sorted,
// IPv4 first.
func within(ranges []policy.AddrRange, addr netip.Addr) bool {
	_, found := slices.BinarySearchFunc(ranges, addr, func(r policy.AddrRange, addr netip.Addr) int {
		switch {
		case r.Last.Less(addr):
			return -1
		case addr.Less(r.First):
			return 1
		default:
			return 0
		}
	})
	return found
}

// refused are the kinds of destinations that a client is refused at a port, and why.
func (a *asker) refused(client netip.Addr, destinations []kind, protocol policy.Protocol, port uint16) ([]int, []Reason) {
	var refused []int
	var because []Reason
	subject := a.program.Subject(policy.Identity{Addr: client})
	for i := range destinations {
		v := a.program.Decide(&policy.Request{
			Subject: subject, Door: policy.DoorProxy, At: a.At,
			Protocol: protocol, Port: port, Host: policy.HostFromAddr(destinations[i].example),
		})
		if a.passes(&v) {
			continue
		}
		refused = append(refused, i)
		if reason := (Reason{v.RuleName(), v.AppID()}); !slices.Contains(because, reason) {
			because = append(because, reason)
		}
	}
	return refused, unite(nil, because)
}

// passes reports whether a verdict lets packets through, and notes why something
// is left out that the policy does refuse to somebody.
func (a *asker) passes(v *policy.Verdict) bool {
	if !v.NextEdge.IsZero() && (a.edge.IsZero() || v.NextEdge.Before(a.edge)) {
		a.edge = v.NextEdge
	}
	users := v.NeedsUser && a.SignIn
	switch {
	case !v.Action.Refuses() && users:
		a.note("refused to some users only", v)
		return true
	case !v.Action.Refuses():
		return true
	case a.Strict:
		return false
	case v.Action == policy.ActionWarn:
		a.note("open to whoever continues past the warning", v)
		return true
	case users:
		a.note("open to users who sign in", v)
		return true
	default:
		return false
	}
}

func (a *asker) note(why string, v *policy.Verdict) {
	rules := a.opened[why]
	if rules == nil {
		rules = map[string][]string{}
		a.opened[why] = rules
	}
	app := v.AppID()
	if !slices.Contains(rules[v.RuleName()], app) {
		rules[v.RuleName()] = append(rules[v.RuleName()], app)
		slices.SortFunc(rules[v.RuleName()], strings.Compare)
	}
}
