package dnsfilter

import (
	"fmt"

	"github.com/sallyport/sallyport/policy"
)

// StripMode says from whose HTTPS and SVCB records the ech parameter (RFC 9848)
// is taken: with it a client hides the name that it connects to from the proxy
// door, which then could judge the address only.
type StripMode uint8

// The modes. HTTP/3 is stripped where a rule asks for it, whatever the mode.
const (
	StripJudged StripMode = iota // of names that a rule of the policy judges for this client
	StripAll
	StripNever
)

// ParseStripMode reads a StripMode's name; "" is StripJudged.
func ParseStripMode(s string) (StripMode, error) {
	switch s {
	case "", "judged":
		return StripJudged, nil
	case "all":
		return StripAll, nil
	case "never":
		return StripNever, nil
	default:
		return 0, fmt.Errorf("strip_ech %q: use judged, all or never", s)
	}
}

// form is the form of an answer that a client gets under a verdict.
func (m StripMode) form(v *policy.Verdict) int {
	which := formWhole
	if m == StripAll || m == StripJudged && v.Judged {
		which |= formNoECH
	}
	if v.StripH3 {
		which |= formNoH3
	}
	return which
}
