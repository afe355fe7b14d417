package localdata

import (
	"slices"

	"github.com/miekg/dns"
)

// tree holds the names of records and zones, with every name above them, by
// lower-case wire name. So the walk from the root ends at the first label that
// is not there, which for most names is the first. Immutable once built.
type tree struct {
	nodes map[string]*node
}

// node is one name.
type node struct {
	sets      [][]dns.RR // by type; none for a name that is only above others
	exists    bool       // it or a name below it has records, or is forwarded
	wildcard  *node      // the "*" below it
	zone      *zone      // begins here
	forwarded bool       // zone of other resolvers begins here
}

// set returns the records of one type.
func (n *node) set(qtype uint16) []dns.RR {
	for _, set := range n.sets {
		if set[0].Header().Rrtype == qtype {
			return set
		}
	}
	return nil
}

// zone is a part of the name space that is answered here.
type zone struct {
	name string // lower wire
	kind zoneKind
	soa  *dns.SOA // of its negative answers
}

type zoneKind uint8

const (
	zoneOrdinary zoneKind = iota // what is not there is NXDOMAIN
	zoneNowhere                  // not even the zone's own name exists
	zoneSilent                   // every name exists and says nothing
	zoneLoopback                 // every name is this machine
)

// place is where a name lies in the tree.
type place struct {
	node   *node // of the name itself
	source *node // the wildcard that stands for it
	zone   *zone // the deepest that covers it; nil: upstream's
	apex   bool  // it is that zone's own name
}

// find walks from the root towards name, one map look-up a label, and stops at
// the first that is missing: the closest encloser (RFC 4592 §3.3.1).
func (t *tree) find(name string) place {
	var starts [maxLabels + 1]uint8
	labels := 0
	for at := 0; at < len(name) && name[at] != 0 && labels < len(starts); at += 1 + int(name[at]) {
		starts[labels] = uint8(at)
		labels++
	}
	var p place
	for i := labels - 1; i >= 0; i-- {
		n, ok := t.nodes[name[starts[i]:]]
		if !ok {
			return p
		}
		if n.zone != nil || n.forwarded {
			p.zone, p.apex = n.zone, n.zone != nil && i == 0
		}
		p.source = n.wildcard
		if i == 0 {
			p.node, p.source = n, nil
		}
	}
	return p
}

// node returns the node of a name, made where it is not there yet, with all
// above it.
func (t *tree) node(name string) *node {
	if n, ok := t.nodes[name]; ok {
		return n
	}
	n := &node{}
	t.nodes[name] = n
	if name == "\x00" {
		return n
	}
	above := t.node(parent(name))
	if _, ok := wildcard(name); ok {
		above.wildcard = n
	}
	return n
}

// touch marks a name and all above it as existing.
func (t *tree) touch(name string) *node {
	n := t.node(name)
	for at := name; at != "" && !t.node(at).exists; at = parent(at) {
		t.node(at).exists = true
	}
	return n
}

// add appends a record to its set. What is there twice stays once; a set has
// one TTL, the lowest (RFC 2181 §5.2).
func (t *tree) add(name string, rr dns.RR) {
	n := t.touch(name)
	for i, set := range n.sets {
		if set[0].Header().Rrtype != rr.Header().Rrtype {
			continue
		}
		if !slices.ContainsFunc(set, func(other dns.RR) bool { return dns.IsDuplicate(other, rr) }) {
			set = append(set, rr)
		}
		ttl := min(set[0].Header().Ttl, rr.Header().Ttl)
		for _, member := range set {
			member.Header().Ttl = ttl
		}
		n.sets[i] = set
		return
	}
	n.sets = append(n.sets, []dns.RR{rr})
}
