package gateway

import (
	"fmt"
	"net"

	"github.com/sallyport/sallyport/policy"
)

// pagePort is where a browser goes that was answered with the page's address.
const pagePort = "80"

// pageTrouble is why nobody would see the page of `answer: page`; empty where
// nothing is known to stand in the way.
func (c *Config) pageTrouble() string {
	if c.Portal.Listen == "" {
		return "answer: page shows nothing, since portal.listen is empty: let the portal listen on port 80, or choose another answer"
	}
	if _, port, err := net.SplitHostPort(c.Portal.Listen); err == nil && port != pagePort {
		return fmt.Sprintf("answer: page sends browsers to port 80, and portal.listen is %s: let the portal listen on port 80, or redirect that port to it", c.Portal.Listen)
	}
	return ""
}

// pageWarnings are the rules of a policy whose page nobody would see.
func (c *Config) pageWarnings(doc *policy.Document) policy.Problems {
	trouble := c.pageTrouble()
	if trouble == "" {
		return nil
	}
	var problems policy.Problems
	for i := range doc.Rules {
		if rule := &doc.Rules[i]; rule.Answer == policy.AnswerPage {
			problems.Warnf(rule.Position, "%s", trouble)
		}
	}
	return problems
}
