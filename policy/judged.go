package policy

// judged reports whether any rule for a subject names the destination, be it
// in force now or at this door or not, and whether such a rule asks for HTTP/3
// to be stripped. Rules that name no destination are left aside: they judge
// everything, and so tell nothing of this one.
func (p *Program) judged(who *whoSet, base *match) (judged, stripH3 bool) {
	if base.dest == p.anywhere && base.held == 0 {
		return false, false
	}
	named := who.rules.first() & base.pos &^ base.neg &^ p.anywhere.pos.first()
	judged, stripH3 = named != 0, named&p.stripH3.first() != 0
	if len(p.rules) <= 64 || judged && (stripH3 || p.stripH3 == nil) || who.rules == nil {
		return judged, stripH3
	}
	for s := range who.rules.sum {
		words := who.rules.sum[s] & base.summary(s)
		for w := s << 6; words != 0; w, words = w+1, words>>1 {
			if words&1 == 0 {
				continue
			}
			named := who.rules.word(w) & base.word(w) &^ base.excepted(w) &^ p.anywhere.pos.word(w)
			judged = judged || named != 0
			stripH3 = stripH3 || named&p.stripH3.word(w) != 0
		}
	}
	return judged, stripH3
}
