package proxy

import "github.com/sallyport/sallyport/policy"

// Names of the rules that are the door's own. They stand in logs, metrics and
// X-Sallyport-Rule where no rule of the policy is to be named.
const (
	ruleDenyNetworks = policy.RuleDenyNetworks
	ruleClientHello  = policy.RuleClientHello
	ruleSignIn       = policy.RuleSignIn
	ruleMismatch     = policy.RuleMismatch
)

// deniedNetwork turns what the policy allowed into a refusal, because of where
// the destination is. It does not say where that is.
func deniedNetwork(allowed policy.Verdict, host policy.Host) policy.Verdict {
	return ownRefusal(allowed, host, &policy.Rule{
		Name:   ruleDenyNetworks,
		Reason: "the proxy does not connect to private networks",
	})
}

// unreadableHello refuses a tunnel that begins with a TLS handshake or a plain
// request whose host cannot be read: nobody sends one by accident.
func unreadableHello(allowed policy.Verdict, host policy.Host) policy.Verdict {
	return ownRefusal(allowed, host, &policy.Rule{
		Name:   ruleClientHello,
		Reason: "the start of the connection could not be read",
	})
}

// needsSignIn refuses a server name that depends on who asks, in a tunnel that
// was opened without saying so: it is too late to ask.
func needsSignIn(allowed policy.Verdict, name policy.Host) policy.Verdict {
	return ownRefusal(allowed, name, &policy.Rule{
		Name:   ruleSignIn,
		Reason: "this destination needs a user name",
	})
}

// contradiction refuses a connection that contradicts itself.
func contradiction(allowed policy.Verdict, named policy.Host, kind mismatch) policy.Verdict {
	reason := "the connection names another destination than the one that was asked for"
	switch kind {
	case mismatchECH:
		reason = "the connection hides its destination"
	case mismatchProtocol:
		reason = "the connection is not encrypted as it should be on this port"
	}
	return ownRefusal(allowed, named, &policy.Rule{Name: ruleMismatch, Reason: reason})
}

func ownRefusal(allowed policy.Verdict, fact policy.Host, rule *policy.Rule) policy.Verdict {
	rule.Action = policy.ActionBlock
	return policy.Verdict{
		Action:       policy.ActionBlock,
		Rule:         rule,
		Group:        allowed.Group,
		Fact:         fact,
		Revision:     allowed.Revision,
		Organisation: allowed.Organisation,
	}
}
