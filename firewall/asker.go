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
	program      *policy.Program
	clients      []policy.AddrRange
	destinations []policy.AddrRange // those that some refusing rule names

	edge   time.Time                      // the first at which some answer changes
	opened map[string]map[string][]string // why something is left out -> rule -> apps
}

func newAsker(p *policy.Program, s Settings) *asker {
	a := &asker{Settings: s, program: p, clients: p.ClientSpans(), opened: map[string]map[string][]string{}}
	named := p.WholeScope(policy.DoorProxy).Named(0).Addrs
	for _, span := range p.DestinationSpans() {
		if within(named, span.First) {
			a.destinations = append(a.destinations, span)
		}
	}
	return a
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

// refused are the destinations that a client is refused at a port, and why.
func (a *asker) refused(client netip.Addr, six bool, protocol policy.Protocol, port uint16) ([]policy.AddrRange, []Reason) {
	var refused []policy.AddrRange
	var because []Reason
	subject := a.program.Subject(policy.Identity{Addr: client})
	for _, span := range family(a.destinations, six) {
		v := a.program.Decide(&policy.Request{
			Subject: subject, Door: policy.DoorProxy, At: a.At,
			Protocol: protocol, Port: port, Host: policy.HostFromAddr(span.First),
		})
		if a.passes(&v) {
			continue
		}
		refused = append(refused, span)
		if reason := (Reason{v.RuleName(), v.AppID()}); !slices.Contains(because, reason) {
			because = append(because, reason)
		}
	}
	return joined(refused), unite(nil, because)
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
