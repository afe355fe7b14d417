package policy

import "math/bits"

// judged reports whether any rule that is or may turn out to be for a subject
// names the destination, be it in force now or at this door or not, and whether
// such a rule asks for HTTP/3 to be stripped. Whoever is nobody at the DNS door
// may sign in at the proxy's, and be refused there. Rules that name no
// destination are left aside: they judge everything, and so tell nothing of
// this one.
func (p *Program) judged(who *whoSet, base *match) (judged, stripH3 bool) {
	if base.dest == p.anywhere && base.held == 0 {
		return false, false
	}
	named := (who.rules.first() | who.userMay.first()) & base.pos &^ base.neg &^ p.anywhere.pos.first()
	judged, stripH3 = named != 0, named&p.stripH3.first() != 0
	if len(p.rules) <= 64 || judged && (stripH3 || p.stripH3 == nil) {
		return judged, stripH3
	}
	for s := range (len(p.rules) + 1<<12 - 1) >> 12 {
		for words := who.maySummary(s) & base.summary(s); words != 0; words &= words - 1 {
			w := s<<6 + bits.TrailingZeros64(words)
			named := who.mayWord(w) & base.word(w) &^ base.excepted(w) &^ p.anywhere.pos.word(w)
			judged = judged || named != 0
			stripH3 = stripH3 || named&p.stripH3.word(w) != 0
		}
	}
	return judged, stripH3
}

// maySummary is word s of the summary of mayWord. It may name a word too many,
// never one too few.
func (w *whoSet) maySummary(s int) uint64 { return w.rules.summary(s) | w.userMay.summary(s) }

// mayWord is word i of the rules that fit the subject as it is, or may once its
// user is known.
func (w *whoSet) mayWord(i int) uint64 { return w.rules.word(i) | w.userMay.word(i) }
