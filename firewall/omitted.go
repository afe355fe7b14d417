package firewall

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/policy"
)

// Omitted is something that the policy refuses, at least to somebody, and that
// the plan does not hold.
type Omitted struct {
	Rule string   `json:"rule"`
	Apps []string `json:"apps,omitempty"`
	Why  string   `json:"why"`
}

// omitted is everything that was noted, and what no address tells of.
func (a *asker) omitted() []Omitted {
	var all []Omitted
	for _, why := range slices.Sorted(maps.Keys(a.opened)) {
		for _, rule := range slices.Sorted(maps.Keys(a.opened[why])) {
			apps := slices.DeleteFunc(a.opened[why][rule], func(app string) bool { return app == "" })
			all = append(all, Omitted{Rule: rule, Apps: apps, Why: why})
		}
	}
	all = append(all, a.withoutAddresses()...)
	scope := a.program.WholeScope(policy.DoorProxy)
	for _, u := range scope.Unlisted(0) {
		if u.Why == policy.WholeRule {
			all = append(all, Omitted{Rule: u.Rule.Name, Why: "names no destination: what it refuses is every address"})
		}
	}
	if named := scope.Named(0); named.Whole == policy.WholeDefault {
		all = append(all, Omitted{Rule: policy.DefaultRule, Why: "refuses every address that no rule names"})
	}
	return all
}

// withoutAddresses are apps that are refused to somebody by their names, and of
// which the catalogue knows no address. Whether they are refused is asked of the
// first of their names.
func (a *asker) withoutAddresses() []Omitted {
	byRule := map[string][]string{}
	for _, app := range a.program.Apps() {
		host, ok := nameOnly(app)
		if !ok {
			continue
		}
		for _, client := range slices.Concat(a.families[0].clients, a.families[1].clients) {
			v := a.program.Decide(&policy.Request{
				Subject: a.program.Subject(policy.Identity{Addr: client.example}), Door: policy.DoorProxy, At: a.At,
				Protocol: policy.ProtocolUDP, Port: 443, Host: host,
			})
			if v.Action == policy.ActionBlock && v.AppID() == app.ID && !slices.Contains(byRule[v.RuleName()], appText(app)) {
				byRule[v.RuleName()] = append(byRule[v.RuleName()], appText(app))
			}
		}
	}
	var all []Omitted
	for _, rule := range slices.Sorted(maps.Keys(byRule)) {
		slices.Sort(byRule[rule])
		all = append(all, Omitted{Rule: rule, Apps: byRule[rule], Why: "no addresses of their own are known: refused by name, at both doors"})
	}
	return all
}

// nameOnly is a name of an app that has no addresses.
func nameOnly(app *policy.App) (policy.Host, bool) {
	if slices.ContainsFunc(app.Networks, func(n policy.AppNetwork) bool { return !n.Shared() }) {
		return policy.Host{}, false
	}
	for i := range app.Domains {
		d := &app.Domains[i]
		if d.Shared() || d.Kind == policy.PatternRegexp || d.Kind == policy.PatternBelow {
			continue
		}
		return policy.HostFromCanonicalName(d.Name), true
	}
	return policy.Host{}, false
}

// appText is an app with the UDP ports that it is known to use, by which an
// administrator may want to refuse it.
func appText(app *policy.App) string {
	var ports []string
	for _, r := range app.Ports {
		switch {
		case !r.Any && r.Protocol != policy.ProtocolUDP:
		case r.From == r.To:
			ports = append(ports, fmt.Sprintf("udp/%d", r.From))
		default:
			ports = append(ports, fmt.Sprintf("udp/%d-%d", r.From, r.To))
		}
	}
	if len(ports) == 0 {
		return app.ID
	}
	return app.ID + " (" + strings.Join(ports, " ") + ")"
}
