package policy

import (
	"cmp"
	"math/bits"
	"slices"
	"strings"
)

// Named is the destinations that rules name, laid out for somebody who cannot
// ask the Program: a table of names, ranges of addresses, and ports. What the
// rules except is taken out.
type Named struct {
	// Names tell of names and of what is under them. The longest one that a
	// host is, or is under, decides; where there is none the host is not named.
	// Sorted, and none says what a shorter one says already.
	Names []NamedName

	// Addrs are sorted, apart from one another, IPv4 first.
	Addrs []AddrRange

	// Ports are those of rules that name ports and no destination.
	Ports []PortRange

	// Whole is why nothing of the above can be relied on; everything must be
	// taken for named then. The other fields are filled as far as it goes.
	Whole Whole

	// Cause is the first rule for which Whole is set.
	Cause *Rule
}

// NamedName is what is to be said of a name.
type NamedName struct {
	Name   string // canonical
	Itself bool   // the name itself is named
	Under  bool   // names under it are
}

// Whole says why destinations cannot be listed.
type Whole uint8

// The reasons. The zero value is none.
const (
	WholeNot     Whole = iota
	WholeDefault       // the policy's default refuses
	WholeRule          // a rule names no destination, so it is about every one
	WholeRegexp        // a rule has a regular expression
	WholeTooMany       // there are more names than were asked for
)

// String is the reason in words, about "a rule" or "the policy".
func (w Whole) String() string {
	switch w {
	case WholeDefault:
		return "the policy's default refuses"
	case WholeRule:
		return "a rule names no destination, so it is about every one"
	case WholeRegexp:
		return "a rule has a regular expression"
	case WholeTooMany:
		return "the rules name too many destinations"
	default:
		return ""
	}
}

// Named lists what the rules name that fit the subject as it is: at most so
// many names, counting those of big lists. The default is one of these rules.
func (sc Scope) Named(most int) Named {
	n := sc.program.namedBy(sc.present, most)
	if fallback := sc.program.fallback; fallback.Action.Refuses() {
		n.Whole, n.Cause = WholeDefault, fallback
	}
	return n
}

// NamedLater is Named of the rules that may come to fit once the subject's
// user is known, and do not yet.
func (sc Scope) NamedLater(most int) Named { return sc.program.namedBy(sc.later, most) }

// Unlisted is a rule that Named cannot list the destinations of.
type Unlisted struct {
	Rule *Rule
	Why  Whole
}

// Unlisted are those rules of the scope that Named cannot list, most names or
// fewer each. Together they may still name too many.
func (sc Scope) Unlisted(most int) []Unlisted {
	var all []Unlisted
	for i := range sc.program.rules {
		why := WholeNot
		if sc.present.has(i) || sc.later.has(i) {
			why = sc.program.whyUnlisted(i, most)
		}
		if why != WholeNot {
			all = append(all, Unlisted{&sc.program.rules[i], why})
		}
	}
	return all
}

// whyUnlisted is why the rule i alone cannot be listed.
func (p *Program) whyUnlisted(i, most int) Whole {
	what := &p.rules[i].What
	if !what.selectsDestinations() {
		if len(what.Ports) > 0 {
			return WholeNot
		}
		return WholeRule
	}
	for r := range p.regexps {
		if p.regexps[r].pos.has(i) {
			return WholeRegexp
		}
	}
	for l := range p.lists {
		if p.lists[l].pos.has(i) && p.lists[l].list.names.count > most {
			return WholeTooMany
		}
	}
	return WholeNot
}

func (p *Program) namedBy(rules ruleBits, most int) Named {
	var n Named
	r := &namedReader{program: p, rules: slices.Clone(rules)}
	for i := range p.rules {
		if !rules.has(i) {
			continue
		}
		if why := p.whyUnlisted(i, most); why != WholeNot && n.Whole == WholeNot {
			n.Whole, n.Cause = why, &p.rules[i]
		}
		if what := &p.rules[i].What; !what.selectsDestinations() {
			r.rules[i>>6] &^= 1 << (i & 63)
			n.Ports = append(n.Ports, what.Ports...)
		}
	}
	for i := range p.lists {
		l := &p.lists[i]
		rule := p.firstOf(r.rules, l.pos)
		if rule == nil && p.firstOf(r.rules, l.neg) == nil {
			continue
		}
		if l.list.names.count > most {
			// What such a list excepts is left in, which is on the safe side.
			if rule != nil && n.Whole == WholeNot {
				n.Whole, n.Cause = WholeTooMany, rule
			}
			continue
		}
		r.lists = append(r.lists, l)
		most -= l.list.names.count
	}
	n.Names = r.names()
	n.Addrs = p.addrs.ranges(func(class uint32) bool { return r.namesAny(p.addrDest[class].pos, p.addrDest[class].neg) })
	return n
}

// firstOf is the first of the rules that is in a set, too; nil where none is.
func (p *Program) firstOf(rules ruleBits, set *ruleSet) *Rule {
	for w := range rules {
		if both := rules[w] & set.word(w); both != 0 {
			return &p.rules[w<<6+bits.TrailingZeros64(both)]
		}
	}
	return nil
}

// namedReader reads the tables of names for some rules, all of which name
// destinations.
type namedReader struct {
	program *Program
	rules   ruleBits
	lists   []*compiledList // that the rules name or except, and that are not too big
}

func (r *namedReader) namesAny(pos, neg *ruleSet) bool {
	for w := range r.rules {
		if r.rules[w]&pos.word(w)&^neg.word(w) != 0 {
			return true
		}
	}
	return false
}

// names asks for every name that the tables know, and for what is under it,
// and keeps what differs from what the names above say.
func (r *namedReader) names() []NamedName {
	all := make([]string, 0, r.program.names.count)
	collect := func(_ uint32, name []byte) { all = append(all, string(name)) }
	r.program.names.each(collect)
	for _, l := range r.lists {
		l.list.names.each(collect)
	}
	slices.SortFunc(all, func(a, b string) int { // names above come before those under them
		return cmp.Or(strings.Count(a, ".")-strings.Count(b, "."), strings.Compare(a, b))
	})
	said := map[string]bool{} // of what is under the names that are kept
	var kept []NamedName
	for _, name := range slices.Compact(all) {
		n := NamedName{Name: name, Itself: r.named(name, true), Under: r.named(name, false)}
		if inherited := nearestAbove(said, name); n.Itself != inherited || n.Under != inherited {
			said[name] = n.Under
			kept = append(kept, n)
		}
	}
	slices.SortFunc(kept, func(a, b NamedName) int { return strings.Compare(a.Name, b.Name) })
	return kept
}

// nearestAbove is the value of the longest name above name.
func nearestAbove(of map[string]bool, name string) bool {
	for _, above, ok := strings.Cut(name, "."); ok; _, above, ok = strings.Cut(above, ".") {
		if value, known := of[above]; known {
			return value
		}
	}
	return false
}

// named reports whether any of the rules names the name itself, or else a name
// under it of which no table knows. It is the walk of [Program.findName],
// without the regular expressions: what those except is left in.
func (r *namedReader) named(name string, itself bool) bool {
	p := r.program
	var m match
	dest, deeper := p.anywhere, true
	var hash, listed uint64
	for end := len(name); end > 0; {
		start := lastDot(name[:end]) + 1
		hash = extendHash(hash, name[start:end])
		whole := itself && start == 0
		if deeper {
			var at uint32
			if at, deeper = p.names.find(hash, name[start:]); deeper {
				dest = p.nodes[at].at(whole)
			}
		}
		for i, l := range r.lists {
			if flags, ok := l.list.find(hash, name[start:]); ok {
				listed = listedAfter(listed, uint(i), flags, whole)
			}
		}
		end = start - 1
	}
	m.set(dest)
	for i, l := range r.lists {
		if listed>>i&1 == 1 {
			m.add(extraRules{l.pos, l.neg})
		}
	}
	for w := range r.rules {
		if r.rules[w]&m.word(w)&^m.excepted(w) != 0 {
			return true
		}
	}
	return false
}
