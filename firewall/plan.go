package firewall

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// Settings are what an administrator decides. The zero value refuses UDP that
// the policy refuses to everybody at an address now.
type Settings struct {
	At time.Time // when it is asked; the zero time is one, too

	// TCP has TCP refused as well as UDP: for a network in which nothing but
	// the proxy may reach these addresses.
	TCP bool

	// Strict refuses also what the policy opens to some people of an address:
	// users who sign in, and whoever continues past a warning. They can still
	// come by the proxy, which knows them.
	Strict bool

	// SignIn tells that people can sign in at the proxy. Where nobody can, what
	// a rule says of users opens nothing.
	SignIn bool
}

// Plan is what is to be refused. Its JSON form is that of `sallyport export
// nftables --json`.
type Plan struct {
	Revision string    `json:"revision"` // of the policy
	Until    string    `json:"until"`    // when the policy's clock changes the plan, RFC 3339; empty: never
	Refusals []Refusal `json:"refusals"`
	LeftOut  []Omitted `json:"left_out"`
}

// Refusal is packets of some clients to some destinations. Its addresses are of
// one family, sorted, and apart from one another.
type Refusal struct {
	Protocol     string   `json:"protocol"`          // udp or tcp
	Clients      []string `json:"clients,omitempty"` // prefixes and ranges (first-last); none: every address
	Ports        []string `json:"ports,omitempty"`   // of the destination; none: every port
	Destinations []string `json:"destinations"`      // prefixes and ranges
	Because      []Reason `json:"because"`

	six bool
}

// Reason is a rule that refuses, and for which app; empty where it names the
// addresses itself.
type Reason struct {
	Rule string `json:"rule"`
	App  string `json:"app,omitempty"`
}

// Make asks a policy what is to be refused.
func Make(p *policy.Program, s Settings) *Plan {
	a := newAsker(p, s)
	plan := &Plan{Revision: p.Revision(), Refusals: []Refusal{}, LeftOut: []Omitted{}}
	protocols := []policy.Protocol{policy.ProtocolUDP}
	if s.TCP {
		protocols = append(protocols, policy.ProtocolTCP)
	}
	for _, six := range []bool{false, true} {
		for _, protocol := range protocols {
			plan.Refusals = append(plan.Refusals, a.refusals(six, protocol)...)
		}
	}
	plan.LeftOut = append(plan.LeftOut, a.omitted()...)
	if !a.edge.IsZero() {
		plan.Until = a.edge.In(p.Document().Location).Format(time.RFC3339)
	}
	return plan
}

// refusals asks port by port, and puts together the ports for which the answer
// is the same.
func (a *asker) refusals(six bool, protocol policy.Protocol) []Refusal {
	of := &a.families[0]
	if six {
		of = &a.families[1]
	}
	type answer struct {
		ports   []policy.PortRange
		classes []*class
	}
	var answers []*answer
	byKey := map[string]*answer{}
	spans := portSpans(a.program, protocol)
	for _, ports := range spans {
		classes, key := a.atPort(of, protocol, ports.From)
		if byKey[key] == nil {
			byKey[key] = &answer{classes: classes}
			answers = append(answers, byKey[key])
		}
		byKey[key].ports = append(byKey[key].ports, ports)
	}
	var all []Refusal
	written := map[string][]string{} // many answers may be about the same destinations
	for _, got := range answers {
		for _, c := range got.classes {
			key := keyOf(c.destinations)
			if written[key] == nil {
				written[key] = texts(spansOf(of.destinations, c.destinations))
			}
			r := Refusal{Protocol: protocol.String(), Destinations: written[key], Because: c.because, six: six}
			if len(c.clients) < len(of.clients) {
				r.Clients = texts(spansOf(of.clients, c.clients))
			}
			if len(got.ports) < len(spans) {
				r.Ports = portTexts(got.ports)
			}
			all = append(all, r)
		}
	}
	return all
}

// class is clients who are refused the same destinations, both by kind.
type class struct {
	clients      []int
	destinations []int
	because      []Reason
}

// atPort asks for every kind of client, and puts together those that are refused the
// same. The key tells results apart.
func (a *asker) atPort(of *family, protocol policy.Protocol, port uint16) ([]*class, string) {
	var classes []*class
	byKey := map[string]*class{}
	for i := range of.clients {
		destinations, because := a.refused(of.clients[i].example, of.destinations, protocol, port)
		if len(destinations) == 0 {
			continue
		}
		key := keyOf(destinations)
		if byKey[key] == nil {
			byKey[key] = &class{destinations: destinations}
			classes = append(classes, byKey[key])
		}
		c := byKey[key]
		c.clients = append(c.clients, i)
		c.because = unite(c.because, because)
	}
	var key strings.Builder
	for _, c := range classes {
		key.WriteString(keyOf(c.clients) + ">" + keyOf(c.destinations) + ";")
	}
	return classes, key.String()
}

// joined puts together ranges that touch one another. They must be sorted.
func joined(all []policy.AddrRange) []policy.AddrRange {
	var out []policy.AddrRange
	for _, r := range all {
		if n := len(out); n > 0 && out[n-1].Last.Next() == r.First {
			out[n-1].Last = r.Last
			continue
		}
		out = append(out, r)
	}
	return out
}

// unite adds reasons that are not there yet, in order.
func unite(all, more []Reason) []Reason {
	all = append(slices.Clone(all), more...)
	slices.SortFunc(all, func(a, b Reason) int {
		return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.App, b.App))
	})
	return slices.Compact(all)
}

// texts writes ranges as prefixes, where they are such, and else as first-last.
func texts(all []policy.AddrRange) []string {
	var out []string
	for _, r := range all {
		out = append(out, rangeText(r))
	}
	return out
}

func rangeText(r policy.AddrRange) string {
	if r.First == r.Last {
		return r.First.String()
	}
	for bits := range r.First.BitLen() {
		prefix := netip.PrefixFrom(r.First, bits)
		if prefix.Masked() == prefix && lastOf(prefix) == r.Last {
			return prefix.String()
		}
	}
	return r.First.String() + "-" + r.Last.String()
}

// lastOf is the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	bytes := p.Addr().AsSlice()
	for bit := p.Bits(); bit < p.Addr().BitLen(); bit++ {
		bytes[bit/8] |= 1 << (7 - bit%8)
	}
	last, _ := netip.AddrFromSlice(bytes) // of 4 or 16 bytes, as it was
	return last
}
