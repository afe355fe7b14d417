package policy

import "math/bits"

// Facts are derived facts made ready for one Program: the rules that any of
// them could run into are known beforehand, so that whoever holds an answer
// learns with a mask test that it has nothing in it to judge. They may be kept
// as long as the answer is: they do not keep their Program alive. Immutable;
// safe for concurrent use.
type Facts struct {
	program *programID
	concern *ruleSet // rules that could refuse or would record any of the hosts, whoever asks and whenever
	named   *ruleSet // rules that name any of the hosts, what they allow included
	stripH3 *ruleSet // every rule of the Program that asks for it
}

// Prepare makes facts ready for this Program. It costs about as much as
// judging them once.
func (p *Program) Prepare(hosts []Host) *Facts {
	concern, named := newRuleBits(len(p.rules)), newRuleBits(len(p.rules))
	for i := range hosts {
		var m match
		p.find(&hosts[i], &m)
		for w := range concern {
			// What names no destination has judged the host itself already.
			fit := m.word(w) &^ p.anywhere.pos.word(w)
			concern[w] |= fit
			named[w] |= fit &^ m.excepted(w)
		}
	}
	for i := range p.rules {
		// What allows changes nothing: a derived fact never opens anything.
		if p.rules[i].Action == ActionAllow {
			concern[i>>6] &^= 1 << (i & 63)
		}
	}
	return &Facts{program: p.id, concern: concern.pack(), named: named.pack(), stripH3: p.stripH3}
}

// Prepare makes facts ready for the program in force; nil without one.
func (e *Engine) Prepare(hosts []Host) *Facts {
	p := e.program.Load()
	if p == nil {
		return nil
	}
	return p.Prepare(hosts)
}

// Ready reports whether the facts were made ready for the Program that gave a
// verdict. Those of another Program, and nil ones, tell nothing.
func (f *Facts) Ready(v *Verdict) bool { return f != nil && f.program == v.program }

// Moot reports whether judging the facts could not change a verdict that their
// host got alone, now or at any time up to its next edge. It errs on the side
// of judging, and does so for a subject that another Program resolved. The
// facts must be Ready for the verdict, and the subject must be the one that it
// was given to. NeedsUser is not considered: where nobody can be asked it has
// no meaning.
func (f *Facts) Moot(s *Subject, v *Verdict) bool {
	if f.concern == nil {
		return true
	}
	if s.program != f.program {
		return false
	}
	who := s.who
	if v.index <= 64 {
		below := uint64(1)<<v.index - 1 // all of them at 64
		return who.rules.first()&f.concern.first()&below == 0
	}
	if who.rules == nil {
		return true
	}
	for g := range f.concern.sum {
		for words := f.concern.sum[g] & who.rules.summary(g); words != 0; words &= words - 1 {
			w := g<<6 + bits.TrailingZeros64(words)
			if w<<6 >= v.index {
				return true
			}
			set := f.concern.word(w) & who.rules.word(w)
			if set != 0 && w<<6+bits.TrailingZeros64(set) < v.index {
				return false
			}
		}
	}
	return true
}

// Judged is [Verdict.Judged] and [Verdict.StripH3] of a verdict's host together
// with the facts: a name that leads into an app is judged by the rules that
// name the app, too. What excepts the host from a rule does not count here,
// since the facts may be asked for by their own names. It errs on the side of
// judged: where the facts are not Ready for the verdict, or the subject was
// resolved by another Program. Nil facts add nothing. It allocates nothing.
func (f *Facts) Judged(s *Subject, v *Verdict) (judged, stripH3 bool) {
	judged, stripH3 = v.Judged, v.StripH3
	if f == nil {
		return judged, stripH3
	}
	if s.program != f.program || v.program != f.program {
		return true, stripH3 || f.stripH3 != nil
	}
	if f.named == nil || judged && (stripH3 || f.stripH3 == nil) {
		return judged, stripH3
	}
	for g := range f.named.sum {
		for words := f.named.sum[g] & s.who.maySummary(g); words != 0; words &= words - 1 {
			w := g<<6 + bits.TrailingZeros64(words)
			named := f.named.word(w) & s.who.mayWord(w)
			judged = judged || named != 0
			stripH3 = stripH3 || named&f.stripH3.word(w) != 0
		}
	}
	return judged, stripH3
}
