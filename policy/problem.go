package policy

import "github.com/sallyport/sallyport/strictyaml"

// Position is a place in a source file.
type Position = strictyaml.Position

// Severity says whether a Problem keeps a policy from being loaded.
type Severity = strictyaml.Severity

// The severities. The zero value is the grave one.
const (
	SeverityError   = strictyaml.SeverityError
	SeverityWarning = strictyaml.SeverityWarning
)

// Problem is something wrong, or doubtful, in a source file: where, what, and
// what would be right.
type Problem = strictyaml.Problem

// Problems is a list of problems, in source order where a function of this
// package returns it.
type Problems = strictyaml.Problems
