package outbound

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Bounds of a parent's answer.
const (
	maxAnswerHead = 64 << 10
	maxInterim    = 8   // answers of the 1xx class before the one that counts
	maxReason     = 100 // bytes of its text that are shown
	maxSchemes    = 4
)

// answerHead is the head of a parent's answer to CONNECT, as far as it matters.
type answerHead struct {
	status  int
	reason  string   // printable ASCII
	schemes []string // that it would take credentials by (RFC 9110 §11.7.1)
}

// headEnd finds the end of a head, piece by piece: an empty line, ended by LF
// or CRLF (RFC 9112 §2.2).
type headEnd struct {
	state int // 0: inside a line; 1: behind LF; 2: behind LF CR
}

// find is how many bytes of the piece belong to the head, and whether it ends
// with them.
func (h *headEnd) find(piece []byte) (n int, done bool) {
	for i, c := range piece {
		switch {
		case c == '\n' && h.state != 0:
			return i + 1, true
		case c == '\n':
			h.state = 1
		case c == '\r' && h.state == 1:
			h.state = 2
		default:
			h.state = 0
		}
	}
	return len(piece), false
}

// errHeadTooLong ends the reading of a head.
var errHeadTooLong = fmt.Errorf("the answer's head is longer than %d bytes", maxAnswerHead)

// readHeadBytewise reads one head from r, and not a byte more. It is for
// readers that keep what they have read from the wire themselves, as TLS does.
func readHeadBytewise(r io.Reader) ([]byte, error) {
	var end headEnd
	var head []byte
	var one [1]byte
	for len(head) < maxAnswerHead {
		if _, err := io.ReadFull(r, one[:]); err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
		head = append(head, one[0])
		if _, done := end.find(one[:]); done {
			return head, nil
		}
	}
	return nil, errHeadTooLong
}

// parseAnswerHead reads a head whose end was found.
func parseAnswerHead(head []byte) (answerHead, error) {
	line, rest, _ := bytes.Cut(head, []byte("\n"))
	status, reason, err := parseStatusLine(string(bytes.TrimSuffix(line, []byte("\r"))))
	if err != nil {
		return answerHead{}, err
	}
	a := answerHead{status: status, reason: reason}
	for field := range bytes.Lines(rest) {
		name, value, found := bytes.Cut(field, []byte(":"))
		if !found || !bytes.EqualFold(name, []byte("Proxy-Authenticate")) {
			continue
		}
		a.offer(string(value))
	}
	return a, nil
}

// offer notes what a Proxy-Authenticate field asks for.
func (a *answerHead) offer(value string) {
	scheme, _, _ := strings.Cut(strings.TrimSpace(value), " ")
	if scheme = printable(scheme); scheme != "" && len(a.schemes) < maxSchemes {
		a.schemes = append(a.schemes, scheme)
	}
}

// parseStatusLine reads HTTP/1.x, a status and perhaps a reason (RFC 9112 §4).
func parseStatusLine(line string) (status int, reason string, err error) {
	version, rest, _ := strings.Cut(line, " ")
	code, reason, _ := strings.Cut(rest, " ")
	if len(version) != len("HTTP/1.1") || !strings.HasPrefix(version, "HTTP/1.") || len(code) != 3 {
		return 0, "", errNotHTTP
	}
	for _, c := range []byte(code) {
		if c < '0' || c > '9' {
			return 0, "", errNotHTTP
		}
		status = status*10 + int(c-'0')
	}
	if status < 100 {
		return 0, "", errNotHTTP
	}
	return status, printable(reason), nil
}

// errNotHTTP is why an answer is none.
var errNotHTTP = errors.New("the answer is not HTTP/1: is that an HTTP proxy?")

// printable is what may be shown of a text that somebody else wrote.
func printable(text string) string {
	shown := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, text[:min(len(text), maxReason)])
	return strings.TrimSpace(shown)
}

// kind sorts a final answer that is not of the 2xx class.
func (a answerHead) kind() answerKind {
	switch {
	case a.status == 407:
		return kindCredentials
	case a.status == 504:
		return kindTimeout
	case a.status >= 500:
		return kindUnreachable
	default:
		return kindDenied
	}
}

// String is the answer for admins.
func (a answerHead) String() string {
	text := strings.TrimSpace(fmt.Sprintf("HTTP %d %s", a.status, a.reason))
	if len(a.schemes) > 0 {
		text += ", asking for " + strings.Join(a.schemes, " or ")
	}
	return text
}
