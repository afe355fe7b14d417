package dnsfilter

import "github.com/sallyport/sallyport/policy"

// canaries decides the names by which clients ask whether this network minds
// if they send their queries past it. NXDOMAIN says that it does, and the
// client then stays with this resolver. They are refused before any rule is
// read, so that no allow rule can open that way by accident.
//
// The refusal is recorded like every other: a block by a rule of its own, named
// "canary", which belongs to this package and stands in no policy.
type canaries struct {
	rule *policy.Rule
}

// canaryRule is the name of the built-in rule in logs and metric labels.
const canaryRule = "canary"

func newCanaries() canaries {
	return canaries{rule: &policy.Rule{
		Name:   canaryRule,
		Action: policy.ActionBlock,
		Doors:  []policy.Door{policy.DoorDNS},
		Answer: policy.AnswerNXDOMAIN, // the one answer that clients understand
		Reason: "names are resolved by this network's own resolver",
	}}
}

// isCanary reports whether a canonical name asks that question.
func isCanary(name string) bool {
	switch name {
	case "use-application-dns.net", // Firefox: DNS over HTTPS by default
		"mask.icloud.com", "mask-h2.icloud.com": // iCloud Private Relay
		return true
	}
	return false
}

// overrule turns the verdict that the policy has for a canary name into this
// package's own. Revision and organisation stay: the policy was in force.
func (c canaries) overrule(v policy.Verdict, asked policy.Host) policy.Verdict {
	return policy.Verdict{
		Action:       policy.ActionBlock,
		Rule:         c.rule,
		Group:        v.Group,
		Fact:         asked,
		Revision:     v.Revision,
		Organisation: v.Organisation,
	}
}
