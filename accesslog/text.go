package accesslog

import (
	"cmp"
	"net/netip"
	"strings"
)

// Bounds of texts that clients choose, in bytes before any escaping.
const (
	maxText = 8 << 10 // of a URL, as at Squid; of a Referer, of a User-Agent
	maxWord = 256     // of a method, a user, a media type
)

const (
	upperHex = "0123456789ABCDEF" // of a URL (RFC 3986 §2.1)
	lowerHex = "0123456789abcdef" // of Squid and Apache
)

func cut(text string, most int) string { return text[:min(len(text), most)] }

// orHyphen is text, or what stands for none.
func orHyphen(text string) string { return cmp.Or(text, "-") }

// status is what the client was sent, 0 where that is nothing or no status.
func (e *Entry) status() int64 {
	if e.Status < 100 || e.Status > 999 {
		return 0
	}
	return int64(e.Status)
}

// unreadable stands where Squid writes a URL and there is none.
const unreadable = "error:invalid-request"

// loggedURL is the URL of a request as it is logged, in two pieces.
func loggedURL(e *Entry, keepQuery bool) (scheme, rest string) {
	scheme, rest = publicURL(e.URL, keepQuery || e.Method == "CONNECT")
	if scheme == "" && rest == "" {
		return "", unreadable
	}
	return scheme, rest
}

// publicURL is a URL in two pieces, between which the credentials were, and,
// unless keepQuery, with nothing behind its question mark, which stays, as at
// Squid.
func publicURL(url string, keepQuery bool) (scheme, rest string) {
	rest = url
	if i := strings.Index(rest, "://"); i >= 0 {
		scheme, rest = rest[:i+len("://")], rest[i+len("://"):]
	}
	authority := rest
	if i := strings.IndexAny(authority, "/?#"); i >= 0 {
		authority = authority[:i]
	}
	rest = rest[strings.LastIndexByte(authority, '@')+1:]
	if i := strings.IndexByte(rest, '?'); i >= 0 && !keepQuery {
		rest = rest[:i+1]
	}
	return cut(scheme, maxWord), cut(rest, maxText)
}

func appendAddr(line []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return append(line, '-')
	}
	return a.Unmap().WithZone("").AppendTo(line)
}

// appendEncoded percent-encodes what is not printable ASCII, and the space.
func appendEncoded(line []byte, text string) []byte {
	from := 0 // of what needs no encoding
	for i := range len(text) {
		c := text[i]
		if c > ' ' && c < 0x7f {
			continue
		}
		line = append(line, text[from:i]...)
		line = append(line, '%', upperHex[c>>4], upperHex[c&15])
		from = i + 1
	}
	return append(line, text[from:]...)
}

// appendSquidUser appends a user as Squid does (Quoting.cc), with the one
// difference that a space, which would end the field, is encoded too.
func appendSquidUser(line []byte, user string) []byte {
	for i := range len(user) {
		switch c := user[i]; {
		case c == '\r':
			line = append(line, `\r`...)
		case c == '\n':
			line = append(line, `\n`...)
		case c == '\\':
			line = append(line, `\\`...)
		case c <= ' ' || c >= 0x7f || c == '%' || c == '[' || c == ']':
			line = append(line, '%', lowerHex[c>>4], lowerHex[c&15])
		default:
			line = append(line, c)
		}
	}
	return line
}

// appendEscaped escapes as Apache's ap_escape_logitem does. What stands for a
// space is the caller's to say: Apache leaves it, which is well between quotes.
func appendEscaped(line []byte, text, space string) []byte {
	from := 0 // of what needs no escaping
	for i := range len(text) {
		c := text[i]
		if c > ' ' && c < 0x7f && c != '"' && c != '\\' {
			continue
		}
		line = append(line, text[from:i]...)
		from = i + 1
		switch {
		case c == ' ':
			line = append(line, space...)
		case c == '"' || c == '\\':
			line = append(line, '\\', c)
		case c >= '\b' && c <= '\v':
			line = append(line, '\\', "btnv"[c-'\b'])
		case c == '\r':
			line = append(line, `\r`...)
		default:
			line = append(line, '\\', 'x', lowerHex[c>>4], lowerHex[c&15])
		}
	}
	return append(line, text[from:]...)
}
