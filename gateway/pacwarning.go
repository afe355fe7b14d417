package gateway

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/pac"
	"github.com/sallyport/sallyport/policy"
)

// directNames is how many names of a list are held against portal.pac.direct.
const directNames = 10_000

// policyWarnings are what is to be said of a policy under this configuration.
func (c *Config) policyWarnings(p *policy.Program) policy.Problems {
	return slices.Concat(c.pageWarnings(p.Document()), c.coachingWarnings(p.Document()), c.pacWarnings(p), c.bandwidthWarnings(p), c.authorityWarnings(p))
}

// pacWarnings are the rules that a proxy auto-configuration file cannot hold,
// and those that it leads past.
func (c *Config) pacWarnings(p *policy.Program) policy.Problems {
	if c.Portal.Listen == "" {
		return nil
	}
	var problems policy.Problems
	scope := p.WholeScope(policy.DoorProxy)
	if c.Portal.PAC.Judged {
		if p.Document().Default.Refuses() {
			problems.Warnf(policy.Position{File: c.Path}, "portal.pac.mode is judged, and the policy's default refuses: everything goes to the proxy, as with all")
		}
		for _, u := range scope.Unlisted(pac.MaxNames) {
			problems.Warnf(u.Rule.Position, "portal.pac.mode is judged, and rule %q cannot be written into a file for browsers (%s): clients that it is for send everything to the proxy",
				u.Rule.Name, u.Why)
		}
	}
	return append(problems, c.directWarnings(scope)...)
}

// directWarnings are the entries of portal.pac.direct that some rule is about.
func (c *Config) directWarnings(scope policy.Scope) policy.Problems {
	direct := &c.Portal.PAC
	if len(direct.Direct) == 0 && len(direct.Networks) == 0 {
		return nil
	}
	var problems policy.Problems
	warn := func(at policy.Position, entry, about string) {
		problems.Warnf(at, "portal.pac.direct has %q, and rules of the policy are about %s: browsers go there past the proxy, where only the DNS door can refuse it", entry, about)
	}
	named := scope.Named(directNames)
	byName := make(map[string]policy.NamedName, len(named.Names))
	for _, n := range named.Names {
		byName[n.Name] = n
	}
	for i := range direct.Direct {
		if about := namedUnder(&direct.Direct[i], named.Names, byName); about != "" {
			warn(direct.Direct[i].Position, direct.Direct[i].Text, about)
		}
	}
	for _, network := range direct.Networks {
		for _, r := range named.Addrs {
			if network.Prefix.Contains(r.First) || r.First.Compare(network.Prefix.Addr()) <= 0 && network.Prefix.Addr().Compare(r.Last) <= 0 {
				warn(network.Position, network.Prefix.String(), fmt.Sprintf("the addresses from %s to %s", r.First, r.Last))
				break
			}
		}
	}
	return problems
}

// namedUnder is a name that both a pattern and a rule are about; "" where there
// is none.
func namedUnder(pattern *policy.Pattern, names []policy.NamedName, byName map[string]policy.NamedName) string {
	own, known := byName[pattern.Name]
	if !known {
		for _, above, ok := strings.Cut(pattern.Name, "."); ok && !known; _, above, ok = strings.Cut(above, ".") {
			own, known = byName[above]
		}
		own.Itself = own.Under
	}
	switch {
	case own.Itself && pattern.Kind != policy.PatternBelow:
		return pattern.Name
	case pattern.Kind == policy.PatternExact:
		return ""
	case own.Under:
		return "what is under " + pattern.Name
	}
	for _, n := range names {
		if (n.Itself || n.Under) && strings.HasSuffix(n.Name, "."+pattern.Name) {
			return n.Name
		}
	}
	return ""
}
