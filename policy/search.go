package policy

import "math/bits"

// first is the lowest rule below limit that is in subject, in force and in
// what the fact found, and whose ports fit; limit where there is none.
func (p *Program) first(subject, force *ruleSet, fact, base *match, limit int, r *Request) int {
	set := subject.first() & force.first() & fact.pos &^ (fact.neg | base.neg)
	if set == 0 && limit <= 64 {
		return limit
	}
	return p.lowest(set, subject, force, fact, base, limit, r)
}

// lowest is first, given word 0 of the intersection.
func (p *Program) lowest(set uint64, subject, force *ruleSet, fact, base *match, limit int, r *Request) int {
	for ; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		if i >= limit {
			return limit
		}
		if p.portFits(i, r) {
			return i
		}
	}
	if limit <= 64 {
		return limit
	}
	return p.firstFrom(64, subject, force, fact, base, limit, r)
}

// firstFrom is first for rules from an index on, over every word of the sets.
func (p *Program) firstFrom(from int, subject, force *ruleSet, fact, base *match, limit int, r *Request) int {
	if subject == nil || force == nil {
		return limit
	}
	for s := from >> 12; s < len(subject.sum); s++ {
		words := subject.sum[s] & force.summary(s) & fact.summary(s)
		for ; words != 0; words &= words - 1 {
			w := s<<6 + bits.TrailingZeros64(words)
			if w<<6 >= limit {
				return limit
			}
			if w < from>>6 {
				continue
			}
			set := subject.word(w) & force.word(w) & fact.word(w)
			if w == from>>6 {
				set &= ^uint64(0) << (from & 63)
			}
			if set == 0 {
				continue
			}
			for set &^= fact.excepted(w) | base.excepted(w); set != 0; set &= set - 1 {
				i := w<<6 + bits.TrailingZeros64(set)
				if i >= limit {
					return limit
				}
				if p.portFits(i, r) {
					return i
				}
			}
		}
	}
	return limit
}

// portFits reports whether a rule's ports take the request's. A door that sees
// no port matches no rule with ports.
func (p *Program) portFits(rule int, r *Request) bool {
	ports := p.ports[rule]
	if len(ports) == 0 {
		return true
	}
	for i := range ports {
		if ports[i].contains(r.Protocol, r.Port) {
			return true
		}
	}
	return false
}

func (pr *PortRange) contains(protocol Protocol, port uint16) bool {
	return port != 0 && (pr.Any || pr.Protocol == protocol) && pr.From <= port && port <= pr.To
}
