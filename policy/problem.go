package policy

import "fmt"

// Position is a place in a source file. Line and Column count from 1; zero
// where the place is not known.
type Position struct {
	File   string
	Line   int
	Column int
}

// String writes file:line:col, leaving out what is not known.
func (p Position) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	default:
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	}
}

// Severity says whether a Problem keeps a policy from being loaded.
type Severity uint8

// The severities. The zero value is the grave one.
const (
	SeverityError   Severity = 0
	SeverityWarning Severity = 1
)

// String is the severity's name in JSON output.
func (s Severity) String() string {
	if s == SeverityWarning {
		return "warning"
	}
	return "error"
}

// Problem is something wrong, or doubtful, in a source file: where, what, and
// what would be right.
type Problem struct {
	Position
	Severity Severity
	Message  string
}

// String writes "file:line:col: message", with "warning: " before a warning's
// message.
func (p Problem) String() string {
	if p.Severity == SeverityWarning {
		return p.Position.String() + ": warning: " + p.Message
	}
	return p.Position.String() + ": " + p.Message
}

// Problems is a list of problems in source order.
type Problems []Problem

// HasErrors reports whether one of the problems is an error.
func (ps Problems) HasErrors() bool {
	for _, p := range ps {
		if p.Severity == SeverityError {
			return true
		}
	}
	return false
}
