package policy

import "encoding/binary"

// Scope is the rules of one door that would refuse, coach or record what a
// subject asks for: those that fit the subject as it is, and those that may
// come to fit once its user is known. Rules that allow are not among them. When
// a rule is in force does not count: whoever acts on a Scope may do so for
// hours. A Scope keeps its Program alive, so it is not to be kept. Immutable;
// safe for concurrent use.
type Scope struct {
	program *Program
	present ruleBits // fit now
	later   ruleBits // do not, and may once the subject signs in
}

// Scope is the scope of a subject at a door. signIn tells whether the subject
// may yet turn out to be some user.
func (p *Program) Scope(s *Subject, door Door, signIn bool) Scope {
	who := p.whoOf(s)
	sc := Scope{program: p, present: newRuleBits(len(p.rules)), later: newRuleBits(len(p.rules))}
	for i := range p.rules {
		switch {
		case !p.rules[i].Action.Refuses() || !p.rules[i].atDoor(door):
		case who.rules.has(i):
			sc.present.add(i)
		case signIn && who.userMay.has(i):
			sc.later.add(i)
		}
	}
	return sc
}

// WholeScope is the scope of everybody together.
func (p *Program) WholeScope(door Door) Scope {
	sc := Scope{program: p, present: newRuleBits(len(p.rules)), later: newRuleBits(len(p.rules))}
	for i := range p.rules {
		if p.rules[i].Action.Refuses() && p.rules[i].atDoor(door) {
			sc.present.add(i)
		}
	}
	return sc
}

// Key tells the scopes of one Program apart: equal keys, equal rules.
func (sc Scope) Key() string {
	key := make([]byte, 0, 16*len(sc.present))
	for _, words := range []ruleBits{sc.present, sc.later} {
		for _, w := range words {
			key = binary.LittleEndian.AppendUint64(key, w)
		}
	}
	return string(key)
}
