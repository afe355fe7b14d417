package proxy

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// targets are what clients ask for and net/http would write anew, beside what
// it leaves: to the origin, everything is to come as it was sent.
var targets = []string{
	"/", "/a/b", "/a%2Fb%20c", "/a|c|d^e'f%0d", "/%7euser/%7Euser", "/a//b", "/a/../b/./c", "/{id}`x`\"y\"<z>\\",
	"/?", "/?q", "/a?b|c=^&d=%zz", "/a?b?c", "/a??", "/a#b", "/a?b#c|", "/(x);v=1,2:3@4", "/[x]", "//a/b", "//a?b|", "/*",
}

func TestTargetsAreLeftAlone(t *testing.T) {
	s := newScripted(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false)
	d := open(t, nil)
	for _, target := range targets {
		response, body, _ := d.say("GET http://" + s.where.String() + target + " HTTP/1.1\r\nHost: " + s.where.String() + "\r\n\r\n")
		if response.StatusCode != http.StatusOK || body != "ok" {
			t.Errorf("%s: %s %q", target, response.Status, body)
			continue
		}
		heads := s.seen()
		if line, _, _ := strings.Cut(heads[len(heads)-1], "\r\n"); line != "GET "+target+" HTTP/1.1" {
			t.Errorf("%s: the origin was asked %q", target, line)
		}
	}
}

// sentLine is the request line that net/http writes for a request that was read
// with this target.
func sentLine(t *testing.T, target string) (string, bool) {
	t.Helper()
	// As net/http reads the :path of HTTP/2, in which more may stand than in a
	// line of HTTP/1.1.
	parsed, err := url.ParseRequestURI(target)
	if err != nil {
		return "", false
	}
	r := &http.Request{RequestURI: target}
	parsed.Scheme, parsed.Host = "http", "a.example"
	keepTarget(r, parsed)
	out := &http.Request{Method: http.MethodGet, URL: parsed, Header: http.Header{}}
	var b bytes.Buffer
	if err := out.Write(&b); err != nil {
		t.Fatalf("%q: %v", target, err)
	}
	line, _, _ := strings.Cut(b.String(), "\r\n")
	return line, true
}

// FuzzTarget: whatever a client of HTTP/2 asks for, the origin gets one request
// line, with nothing changed that a line can hold.
func FuzzTarget(f *testing.F) {
	for _, target := range targets {
		f.Add(target)
	}
	f.Add("/a HTTP/1.1")
	f.Add("/a?b HTTP/1.0")
	f.Add("//a?b c|\xff")
	f.Add("/\xc3\xa9|")
	f.Add("*")
	f.Fuzz(func(t *testing.T, target string) {
		if !strings.HasPrefix(target, "/") && target != "*" {
			return
		}
		line, ok := sentLine(t, target)
		if !ok {
			return // which net/http refuses
		}
		sent, isLine := strings.CutPrefix(line, "GET ")
		sent, ends := strings.CutSuffix(sent, " HTTP/1.1")
		if !isLine || !ends || strings.ContainsFunc(sent, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
			t.Fatalf("%q is sent as %q", target, line)
		}
		if strings.HasPrefix(target, "//") {
			return // of which a byte that belongs into no path is encoded
		}
		if want := encodeWhere(target, strayInLine); sent != want {
			t.Errorf("%q is sent as %q, want %q", target, sent, want)
		}
	})
}
