package policy

import "sync/atomic"

// Engine holds the program in force behind one atomic pointer. Both doors ask
// the same Engine, so a swap reaches both at the same instant. Safe for
// concurrent use.
type Engine struct {
	program atomic.Pointer[Program]
	grants  Grants
}

// NewEngine makes an Engine that decides with p.
func NewEngine(p *Program) *Engine {
	e := &Engine{}
	e.program.Store(p)
	return e
}

// SetGrants makes the Engine ask g wherever a warn rule would refuse. It is to
// be called before the Engine is shared; without it nobody holds a grant. It
// is not safe for use beside other methods.
func (e *Engine) SetGrants(g Grants) { e.grants = g }

// Program is the program in force; nil where none was ever loaded.
func (e *Engine) Program() *Program { return e.program.Load() }

// Swap puts p in force and returns what was in force before. It cannot fail
// and loses no request: a Decide under way finishes with the program it
// started with.
func (e *Engine) Swap(p *Program) *Program { return e.program.Swap(p) }

// Decide answers with the program in force. Without one it blocks.
func (e *Engine) Decide(r *Request) (v Verdict) {
	p := e.program.Load()
	if p == nil {
		return Verdict{Organisation: &Organisation{}}
	}
	p.decide(&inquiry{r: r, epoch: p.keepEpochAt(r.At), grants: e.grants}, &v)
	return v
}

// Explain is [Program.Explain] by the program in force, with the grants that
// Decide would ask for. Without a program it explains that there is none.
func (e *Engine) Explain(r *Request) Explanation {
	p := e.program.Load()
	if p == nil {
		return Explanation{Action: ActionBlock.String(), Rule: DefaultRule, Group: NoGroup, Reason: noPolicyMessage,
			Alternatives: []string{}, Trace: []Step{}}
	}
	return p.explain(r, e.grants)
}

// Subject resolves an identity against the program in force. Without one it
// returns the identity unresolved, which no rule but those for everyone fits.
func (e *Engine) Subject(id Identity) Subject {
	p := e.program.Load()
	if p == nil {
		return Subject{Identity: id}
	}
	return p.Subject(id)
}
