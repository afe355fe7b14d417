package strictyaml

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxSyntaxSearch bounds the files in which the true line of a syntax error is
// searched for: the search parses the file some 20 times.
const maxSyntaxSearch = 1 << 20

// yamlLine takes the line out of an error of yaml.v3.
var yamlLine = regexp.MustCompile(`^line (\d+): `)

// syntaxProblem says where a file stops being YAML. The library names the line
// on which the enclosing block began, which may be a screen away from the
// mistake; the line named here is the first one after which the error is
// there, and the block's line is added to the message.
func syntaxProblem(name string, data []byte, err error) Problem {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	began := 0
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		began, _ = strconv.Atoi(m[1])
		message = strings.TrimPrefix(message, m[0])
	}
	lines := bytes.SplitAfter(data, []byte{'\n'})
	at := began
	if len(data) <= maxSyntaxSearch {
		at = firstFailure(data, lines, err)
	}
	p := Problem{Position: Position{File: name, Line: max(at, 1)}, Message: "not valid YAML: " + message}
	text := ""
	if p.Line <= len(lines) {
		text = string(lines[p.Line-1])
		p.Column = 1 + utf8.RuneCountInString(text) - utf8.RuneCountInString(strings.TrimLeft(text, " \t"))
	}
	if hint := syntaxHint(message, text); hint != "" {
		p.Message += ": " + hint
	}
	if began > 0 && began < p.Line {
		p.Message += " (in what begins at line " + strconv.Itoa(began) + ")"
	}
	return p
}

// firstFailure is the number of the line with which the error appears: the
// file's lines up to it fail as the whole file does. The parser stops at its
// first error, so whatever stands below cannot change the answer, and the
// search may halve.
func firstFailure(data []byte, lines [][]byte, err error) int {
	want := err.Error()
	ends := make([]int, len(lines))
	end := 0
	for i, l := range lines {
		end += len(l)
		ends[i] = end
	}
	low, high := 0, len(lines)-1
	for low < high {
		middle := (low + high) / 2
		_, _, got := decode(data[:ends[middle]])
		if got != nil && got.Error() == want {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low + 1
}

// syntaxHint says in plain words what usually causes an error of the parser on
// such a line.
func syntaxHint(message, line string) string {
	indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	switch {
	case strings.Contains(indent, "\t"):
		return "indent with spaces, not with tabs"
	case strings.Contains(message, "cannot start any token"):
		return "quote a value that begins with @, ` or %"
	case strings.Contains(message, "mapping values are not allowed"):
		return "quote a value that holds a colon, and check the indentation"
	case strings.Contains(message, "did not find expected alphabetic or numeric character"),
		strings.Contains(message, "unknown anchor"):
		return `quote a value that begins with * or &, as in "*.zoom.us"`
	case strings.Contains(message, "did not find expected"),
		strings.Contains(message, "could not find expected ':'"):
		return "check the indentation of this line and the brackets and quotes above it"
	default:
		return ""
	}
}
