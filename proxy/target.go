package proxy

import (
	"net/http"
	"net/url"
	"strings"
)

// keepTarget has a request sent on with path and query as they came, byte for
// byte: a proxy must not modify them (RFC 9110 §7.7), and origins compare and
// sign them. net/http would write a path anew in which it finds one byte that
// belongs into none.
//
// What no request line can hold is percent-encoded, and nothing else: a space,
// by which a client of HTTP/2 could write a line of its own, and bytes above
// ASCII.
func keepTarget(r *http.Request, target *url.URL) {
	if r.RequestURI == "*" {
		return
	}
	came := encodeWhere(pathOf(r.RequestURI), strayInLine)
	if target.RequestURI() == came {
		return
	}
	if !strings.HasPrefix(came, "//") {
		target.Opaque, target.RawQuery, target.ForceQuery = came, "", false
		return
	}
	// An opaque part that begins so would be an authority.
	path, query, _ := strings.Cut(came, "?")
	path = encodeWhere(path, strayInPath)
	plain, err := url.PathUnescape(path)
	if err != nil {
		return // net/http has read it, so that this cannot be
	}
	target.Path, target.RawPath, target.RawQuery = plain, path, query
}

// strayInLine are the bytes that would end the target of a request line, or are
// no text.
func strayInLine(c byte) bool { return c <= ' ' || c >= 0x7f }

// strayInPath are the bytes that net/http leaves in no path (RFC 3986 §3.3, and
// the brackets, which it lets pass).
func strayInPath(c byte) bool {
	return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~!$&'()*+,;=:@/%[]", c) >= 0)
}

// encodeWhere percent-encodes the bytes that are stray.
func encodeWhere(text string, stray func(byte) bool) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	from := 0 // of what is not written yet
	for i := range len(text) {
		if c := text[i]; stray(c) {
			b.WriteString(text[from:i])
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
			from = i + 1
		}
	}
	if from == 0 {
		return text
	}
	b.WriteString(text[from:])
	return b.String()
}
