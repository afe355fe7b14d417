package firewall

import (
	"fmt"
	"math"
	"slices"

	"github.com/sallyport/sallyport/policy"
)

// portSpans are all ports of a protocol, cut wherever a rule says something else
// of them.
func portSpans(p *policy.Program, protocol policy.Protocol) []policy.PortRange {
	starts := []int{1}
	for _, rule := range p.Rules() {
		for _, r := range rule.What.Ports {
			if r.Any || r.Protocol == protocol {
				starts = append(starts, max(int(r.From), 1), int(r.To)+1)
			}
		}
	}
	slices.Sort(starts)
	starts = slices.Compact(starts)
	var all []policy.PortRange
	for i, start := range starts {
		if start > math.MaxUint16 {
			break
		}
		last := math.MaxUint16
		if i+1 < len(starts) {
			last = starts[i+1] - 1
		}
		all = append(all, policy.PortRange{Protocol: protocol, From: uint16(start), To: uint16(last)})
	}
	return all
}

// portTexts writes sorted ranges, those that touch one another as one.
func portTexts(all []policy.PortRange) []string {
	var merged []policy.PortRange
	for _, r := range all {
		if n := len(merged); n > 0 && int(merged[n-1].To)+1 == int(r.From) {
			merged[n-1].To = r.To
			continue
		}
		merged = append(merged, r)
	}
	var out []string
	for _, r := range merged {
		if r.From == r.To {
			out = append(out, fmt.Sprint(r.From))
			continue
		}
		out = append(out, fmt.Sprintf("%d-%d", r.From, r.To))
	}
	return out
}
