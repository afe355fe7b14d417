package policy

// Program is a compiled policy: immutable tables, safe for concurrent use.
type Program struct{}

type whoSet struct{}

// Decide answers a request.
func (p *Program) Decide(*Request) Verdict { return Verdict{} }

// Subject resolves an identity.
func (p *Program) Subject(id Identity) Subject { return Subject{Identity: id, program: p} }
