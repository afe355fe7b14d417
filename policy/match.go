package policy

// match is what one fact (a name or an address) finds in the tables.
type match struct {
	host     *Host
	dest     *destination
	pos, neg uint64                // word 0 of the rules that fit, and of those excepted
	extra    [extraRoom]extraRules // lists and regular expressions that fit: the first few,
	held     int                   // how many of these there are,
	more     []extraRules          // and the rest
}

// extraRules are the rules that a list or a regular expression brings.
type extraRules struct{ pos, neg *ruleSet }

// extraRoom is how many lists and expressions one fact may fit before the
// decision has to allocate.
const extraRoom = 2

// set begins a match with what the tables hold for the fact.
func (m *match) set(d *destination) { m.dest, m.pos, m.neg = d, d.pos.first(), d.neg.first() }

// replace puts another destination in the place of the first one, and keeps
// the lists and expressions.
func (m *match) replace(d *destination) {
	m.set(d)
	for i := range m.held {
		m.pos |= m.extra[i].pos.first()
		m.neg |= m.extra[i].neg.first()
	}
	for i := range m.more {
		m.pos |= m.more[i].pos.first()
		m.neg |= m.more[i].neg.first()
	}
}

// add notes that a list or an expression fits. The first few stay inside the
// match, which lives on the stack.
func (m *match) add(e extraRules) {
	m.pos |= e.pos.first()
	m.neg |= e.neg.first()
	if m.held < extraRoom {
		m.extra[m.held] = e
		m.held++
		return
	}
	m.more = append(m.more, e)
}

// summary tells which words of the rules that fit are not zero. It may name a
// word too many, never one too few.
func (m *match) summary(s int) uint64 {
	sum := m.dest.pos.summary(s)
	for i := range m.extra[:m.held] {
		sum |= m.extra[i].pos.summary(s)
	}
	for i := range m.more {
		sum |= m.more[i].pos.summary(s)
	}
	return sum
}

// word is word w of the rules that fit the fact.
func (m *match) word(w int) uint64 {
	word := m.dest.pos.word(w)
	for i := range m.extra[:m.held] {
		word |= m.extra[i].pos.word(w)
	}
	for i := range m.more {
		word |= m.more[i].pos.word(w)
	}
	return word
}

// excepted is word w of the rules that the fact is excepted from.
func (m *match) excepted(w int) uint64 {
	word := m.dest.neg.word(w)
	for i := range m.extra[:m.held] {
		word |= m.extra[i].neg.word(w)
	}
	for i := range m.more {
		word |= m.more[i].neg.word(w)
	}
	return word
}

// appOf is the app through which a rule selected a fact; where it did not
// select by app, the first app that the fact belongs to; nil where there is
// none.
func appOf(rule int, m *match) *compiledApp {
	for _, app := range m.dest.apps {
		if app.rules.has(rule) {
			return app
		}
	}
	if len(m.dest.apps) > 0 {
		return m.dest.apps[0]
	}
	return nil
}
