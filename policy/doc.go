// Package policy is the decision point: it turns a YAML policy and a request
// into a verdict, and can say why.
//
// The package is pure. Bytes and requests go in, verdicts come out; it opens
// no file and no socket, and it reads no clock: time is part of the request.
// It imports the standard library, the IDNA tables of x/net, and of ours only
// strictyaml, which reads YAML with positions.
//
// A policy goes through four steps:
//
//	Parse    files -> *Document, every problem with file, line and column
//	Compile  *Document -> *Program, immutable tables
//	RunTests the policy's own tests against the compiled program
//	Decide   *Request -> Verdict, in nanoseconds and without allocation
//
// An [Engine] holds the program in force behind one atomic pointer, so that
// both doors see a new policy at the same instant.
//
// The language itself is described for admins in docs/policy-language.md.
package policy
