package policy

import "slices"

// find looks a host up in every table.
func (p *Program) find(h *Host, m *match) {
	m.host, m.held, m.more = h, 0, nil
	switch {
	case h.addr.IsValid():
		m.set(p.addrDest[p.addrs.lookup(h.addr)])
	case h.name != "":
		p.findName(h.name, m)
	default:
		m.set(p.anywhere)
	}
}

// findName walks the labels of a name once, from the right. The deepest node
// of the policy's own table decides, since it holds what it inherits; nothing
// is below a name that is not in it. A list matches by its deepest entry.
func (p *Program) findName(name string, m *match) {
	dest, deeper := p.anywhere, true
	var hash, listed uint64
	for end := len(name); end > 0; {
		start := lastDot(name[:end]) + 1
		hash = extendHash(hash, name[start:end])
		if deeper {
			var at uint32
			if at, deeper = p.names.find(hash, name[start:]); deeper {
				dest = p.nodes[at].at(start == 0)
			} else if len(p.lists) == 0 {
				break
			}
		}
		for i := range p.lists {
			if flags, ok := p.lists[i].list.find(hash, name[start:]); ok {
				listed = listedAfter(listed, uint(i), flags, start == 0)
			}
		}
		end = start - 1
	}
	m.set(dest)
	for i := range p.lists {
		if listed>>i&1 == 1 {
			m.add(extraRules{p.lists[i].pos, p.lists[i].neg})
		}
	}
	for i := range p.regexps {
		if p.regexps[i].re.MatchString(name) {
			m.add(extraRules{p.regexps[i].pos, p.regexps[i].neg})
		}
	}
}

// at is what the node says of its own name, or of the names under it.
func (n *nameNode) at(itself bool) *destination {
	if itself {
		return n.exact
	}
	return n.below
}

// listedAfter updates the bit of list i for an entry with flags: whole says
// that the entry is the name itself and not one above it.
func listedAfter(listed uint64, i uint, flags uint8, whole bool) uint64 {
	in, out := flags&listBelow, flags&listNotBelow
	if whole {
		in, out = flags&listExact, flags&listNotExact
	}
	switch {
	case out != 0:
		return listed &^ (1 << i)
	case in != 0:
		return listed | 1<<i
	default:
		return listed
	}
}

// findDerived looks up a fact that derives from base. An app for which base is
// a shared name (sign-in, CDN, certificate status) does not match through
// where that name happens to lead.
func (p *Program) findDerived(h *Host, m, base *match) {
	p.find(h, m)
	if len(base.dest.shared) == 0 || len(m.dest.apps) == 0 {
		return
	}
	var kept []*compiledApp
	for _, app := range m.dest.apps {
		if !slices.Contains(base.dest.shared, app) {
			kept = append(kept, app)
		}
	}
	if len(kept) == len(m.dest.apps) {
		return
	}
	m.replace(p.destinationWithout(m.dest, kept))
}

// destinationWithout is a destination of which only the kept apps count. It is
// made anew: a shared name that leads into its own app is rare.
func (p *Program) destinationWithout(d *destination, kept []*compiledApp) *destination {
	pos := newRuleBits(len(p.rules))
	pos.addSet(d.direct)
	for _, app := range kept {
		pos.addSet(app.rules)
	}
	return &destination{pos: pos.pack(), neg: d.neg, direct: d.direct, apps: kept}
}
