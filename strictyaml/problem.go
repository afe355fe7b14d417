package strictyaml

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Position is a place in a source file. Line and Column count from 1, Column
// in characters; zero where the place is not known.
type Position struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
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

// Severity says whether a Problem keeps a file from being used.
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

// MarshalText writes the name that String gives.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Problem is something wrong, or doubtful, in a source file: where, what, and
// what would be right.
type Problem struct {
	Position
	Severity Severity `json:"severity"`
	Message  string   `json:"message"`
}

// String writes "file:line:col: message", with "warning: " before a warning's
// message.
func (p Problem) String() string {
	var b strings.Builder
	if place := p.Position.String(); place != "" {
		b.WriteString(place)
		b.WriteString(": ")
	}
	if p.Severity == SeverityWarning {
		b.WriteString("warning: ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Problems is a list of problems. The zero value is empty and ready to use;
// it is not safe for concurrent use.
type Problems []Problem

// Errorf adds an error at a place.
func (ps *Problems) Errorf(at Position, format string, args ...any) {
	*ps = append(*ps, Problem{Position: at, Severity: SeverityError, Message: fmt.Sprintf(format, args...)})
}

// Warnf adds a warning at a place.
func (ps *Problems) Warnf(at Position, format string, args ...any) {
	*ps = append(*ps, Problem{Position: at, Severity: SeverityWarning, Message: fmt.Sprintf(format, args...)})
}

// HasErrors reports whether one of the problems is an error.
func (ps Problems) HasErrors() bool {
	return slices.ContainsFunc(ps, func(p Problem) bool { return p.Severity == SeverityError })
}

// Err is an error that lists the problems that are errors, one a line; nil
// where there are none.
func (ps Problems) Err() error {
	var lines []string
	for _, p := range ps {
		if p.Severity == SeverityError {
			lines = append(lines, p.String())
		}
	}
	if lines == nil {
		return nil
	}
	return errors.New(strings.Join(lines, "\n"))
}

// Sort puts the problems into source order: by file in the order given, files
// that are not named last, then by line and column. Problems at one place keep
// the order in which they were found.
func (ps Problems) Sort(files []string) {
	rank := make(map[string]int, len(files))
	for i, f := range files {
		rank[f] = i - len(files)
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(rank[a.File], rank[b.File]),
			cmp.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
		)
	})
}
