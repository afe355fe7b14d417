package gateway

import (
	"fmt"
	"strings"

	"github.com/sallyport/sallyport/authority"
	"github.com/sallyport/sallyport/policy"
)

// namesShown is how many names a warning lists.
const namesShown = 10

// authorityWarnings are the names that the policy refuses and the authority may
// not sign for: who goes there is refused without a page, and nobody would
// notice. What is wrong with the authority itself is said elsewhere.
func (c *Config) authorityWarnings(p *policy.Program) policy.Problems {
	if !c.Proxy.Interception.On() {
		return nil
	}
	certificate, err := authority.ReadCertificate(c.Proxy.Interception.CA)
	if err != nil {
		return nil
	}
	beyond := authority.ReachOf(p.Document(), p.Apps()).Beyond(certificate)
	if len(beyond) == 0 {
		return nil
	}
	shown := strings.Join(beyond[:min(len(beyond), namesShown)], ", ")
	if more := len(beyond) - namesShown; more > 0 {
		shown += fmt.Sprintf(" and %d more", more)
	}
	var problems policy.Problems
	problems.Warnf(policy.Position{File: c.Path}, "proxy.interception: the policy refuses names that authority %q may not sign for, and that are refused without a page: %s: sallyport ca init makes one that may",
		c.Proxy.Interception.CA, shown)
	return problems
}
