package policy

// The gateway's own rules. Their names stand in logs and metric labels, so no
// rule of a policy may have them.
const (
	// RuleCanary refuses the names by which clients ask whether this network
	// minds if they send their queries past its resolver. See isCanary.
	RuleCanary = "canary"
	// RuleDenyNetworks refuses destinations that the proxy door never dials.
	RuleDenyNetworks = "deny-networks"
	// RuleClientHello refuses a tunnel that begins with a TLS greeting or a plain
	// request whose host cannot be read.
	RuleClientHello = "client-hello"
	// RuleSignIn refuses a TLS server name whose verdict depends on who asks, in
	// a tunnel that was opened without saying so.
	RuleSignIn = "sign-in"
	// RuleMismatch refuses a connection whose parts name different destinations,
	// where the configuration says so.
	RuleMismatch = "mismatch"
)

// reservedRuleNames lists the names that no rule of a policy may have.
func reservedRuleNames() []string {
	return []string{DefaultRule, RuleCanary, RuleDenyNetworks, RuleClientHello, RuleSignIn, RuleMismatch}
}

// canaryRule is read before every exception and rule, so that no allow opens
// that way by accident.
func canaryRule() Rule {
	return Rule{
		Name:   RuleCanary,
		Action: ActionBlock,
		Answer: AnswerNXDOMAIN, // the one answer that clients understand
		Reason: "names are resolved by this network's own resolver",
	}
}

// isCanary reports whether a client asks by this name whether it may take its
// queries elsewhere; a refusal says that it may not, and the client then stays
// with this resolver.
func isCanary(name string) bool {
	switch name {
	case "use-application-dns.net", // Firefox: DNS over HTTPS by default
		"mask.icloud.com", "mask-h2.icloud.com", // iCloud Private Relay
		"mask-canary.icloud.com": // and as releases under test ask
		return true
	default:
		return false
	}
}
