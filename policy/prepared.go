package policy

import "math/bits"

// Facts are derived facts made ready for one Program: the rules that any of
// them could run into are known beforehand, so that whoever holds an answer
// learns with a mask test that it has nothing in it to judge. Immutable; safe
// for concurrent use.
type Facts struct {
	program *Program
	concern *ruleSet // rules that could refuse or would record any of the hosts, whoever asks and whenever
}

// Prepare makes facts ready for this Program. It costs about as much as
// judging them once.
func (p *Program) Prepare(hosts []Host) *Facts {
	concern := newRuleBits(len(p.rules))
	for i := range hosts {
		var m match
		p.find(&hosts[i], &m)
		concern.addMatch(&m)
	}
	for i := range p.rules {
		// What allows changes nothing: a derived fact never opens anything. What
		// names no destination has judged the host itself already.
		if p.rules[i].Action == ActionAllow || p.anywhere.pos.has(i) {
			concern[i>>6] &^= 1 << (i & 63)
		}
	}
	return &Facts{program: p, concern: concern.pack()}
}

// addMatch adds every rule that a fact fits.
func (b ruleBits) addMatch(m *match) {
	for w := range b {
		b[w] |= m.word(w)
	}
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
// of judging. The facts must be Ready for the verdict, and the
// subject must be the one that it was given to. NeedsUser is not considered:
// where nobody can be asked it has no meaning.
func (f *Facts) Moot(s *Subject, v *Verdict) bool {
	if f.concern == nil {
		return true
	}
	who := f.program.whoOf(s)
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
