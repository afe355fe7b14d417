package accesslog

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/privacy"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	start = time.Date(2020, 3, 28, 9, 0, 0, 123_456_000, time.FixedZone("PDT", -7*3600))
	desk  = netip.MustParseAddr("10.4.7.7")
	far   = netip.MustParseAddr("203.0.113.9")
)

// page is a plain request with everything that a real one has.
func page() Entry {
	return Entry{
		End: start, Duration: 42*time.Millisecond + 900*time.Microsecond, Client: desk, User: "alice@corp.example",
		Result: ResultMiss, Status: 200, Sent: 378, SentBody: 120,
		Method: "GET", URL: "http://www.rockets.example/launch?id=7&token=secret", Major: 1, Minor: 1,
		Server: far, ContentType: "text/html; charset=utf-8",
		Referer: "http://www.rockets.example/", UserAgent: "Mozilla/5.0 (X11; Linux x86_64)",
	}
}

// tunnel is a meeting of an hour.
func tunnel() Entry {
	return Entry{
		End: start, Duration: time.Hour, Client: desk, Result: ResultTunnel, Status: 200, Sent: 987_654_360, SentBody: 987_654_321,
		Method: "CONNECT", URL: "teams.microsoft.com:443", Major: 1, Minor: 1, Server: far, UserAgent: "Teams/1.5",
	}
}

// sample is what the golden files show, a line each.
func sample() []Entry {
	with := func(e Entry, change func(*Entry)) Entry {
		change(&e)
		return e
	}
	refused := Entry{
		End: start, Client: desk, Result: ResultDenied, Status: 403, Sent: 3407, SentBody: 3059,
		Method: "CONNECT", URL: "us04web.zoom.us:443", Major: 1, Minor: 1, ContentType: "text/html; charset=utf-8",
	}
	return []Entry{
		page(),
		with(page(), func(e *Entry) { e.Aborted, e.Sent, e.SentBody = true, 20264, 20000 }),
		with(page(), func(e *Entry) { e.Aborted, e.Status, e.Sent, e.SentBody, e.ContentType = true, 0, 0, 0, "" }),
		with(page(), func(e *Entry) { e.Status, e.Sent, e.SentBody, e.ContentType = 304, 207, 0, "" }),
		with(page(), func(e *Entry) { e.Status, e.Server, e.Method, e.Minor = 502, netip.Addr{}, "POST", 0 }),
		with(page(), func(e *Entry) { e.Parent, e.Server = true, netip.MustParseAddr("10.0.0.40") }),
		with(page(), func(e *Entry) { e.URL = "http://alice:apogee@[2001:db8::1]:8080/a@b" }),
		tunnel(),
		with(tunnel(), func(e *Entry) { e.Client = netip.MustParseAddr("fd00:28::7"); e.Major, e.Minor = 0, 0 }),
		with(tunnel(), func(e *Entry) { e.Result, e.Status, e.Sent, e.SentBody = ResultNone, 503, 0, 0 }),
		with(tunnel(), func(e *Entry) { e.Method, e.URL, e.Status = "GET", "http://chat.example/socket", 101 }),
		refused,
		with(refused, func(e *Entry) { e.Status = 407 }),
		with(refused, func(e *Entry) { e.Duration = -time.Second }), // a clock was set back
		{End: start, Client: desk, Status: 400, Sent: 300, SentBody: 100, Method: "GARBAGE", ContentType: "text/plain"},
		{End: start, Client: desk},
		{},
		with(page(), func(e *Entry) { e.Referer = "https://alice:apogee@www.rockets.example/search?q=alice" }),
		// What tries to be more than one line, or more than one field.
		with(page(), func(e *Entry) {
			e.Method, e.User = "G T\"", "eve\r\n10.0.0.1 - \"%[x]\\ \x00"
			e.URL = "http://x.example/\"\r\n1.2 3 \x7f\xc3\xa9%41\\#?\n"
			e.ContentType = "te\nxt/\"html\x01 ; x"
			e.Referer, e.UserAgent = "\" \"-\" \\", "a\tb\vc\bd\fe\x1b[31m\xff\""
		}),
	}
}

func TestGolden(t *testing.T) {
	zone := time.FixedZone("PDT", -7*3600)
	for _, test := range []struct {
		file   string
		append func(line []byte, e *Entry) []byte
	}{
		{"squid.log", (&form{}).appendSquid},
		{"squid-query.log", (&form{keepQuery: true}).appendSquid},
		{"combined.log", (&form{zone: zone}).appendCombined},
		{"combined-utc.log", (&form{keepQuery: true, zone: time.UTC}).appendCombined},
		{"squid-pseudonym.log", (&form{mask: masked(t, privacy.Pseudonym)}).appendSquid},
		{"combined-pseudonym.log", (&form{mask: masked(t, privacy.Pseudonym), zone: zone}).appendCombined},
		{"squid-none.log", (&form{mask: masked(t, privacy.None)}).appendSquid},
		{"combined-none.log", (&form{mask: masked(t, privacy.None), zone: zone}).appendCombined},
	} {
		var got []byte
		for _, e := range sample() {
			got = append(test.append(got, &e), '\n')
		}
		path := filepath.Join("testdata", test.file)
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", test.file, got, want)
		}
	}
}

func TestEscapes(t *testing.T) {
	var all []byte
	for c := range 256 {
		all = append(all, byte(c))
	}
	// Of Apache: what ap_escape_logitem makes of every byte.
	var apache strings.Builder
	for _, c := range all {
		switch short := map[byte]string{'\b': `\b`, '\t': `\t`, '\n': `\n`, '\v': `\v`, '\r': `\r`, '"': `\"`, '\\': `\\`}; {
		case short[c] != "":
			apache.WriteString(short[c])
		case c < ' ' || c >= 0x7f:
			apache.WriteString(`\x` + strconv.FormatUint(0x100|uint64(c), 16)[1:])
		default:
			apache.WriteByte(c)
		}
	}
	if got := string(appendEscaped(nil, string(all), " ")); got != apache.String() {
		t.Errorf("escaped as %s\nwant %s", got, apache.String())
	}
	// Of Squid: what QuoteMimeBlob makes of every byte, and the space.
	var squid strings.Builder
	for _, c := range all {
		switch {
		case c == '\r':
			squid.WriteString(`\r`)
		case c == '\n':
			squid.WriteString(`\n`)
		case c == '\\':
			squid.WriteString(`\\`)
		case c <= 0x20 || c >= 0x7f || strings.IndexByte("%[]", c) >= 0:
			squid.WriteString("%" + strconv.FormatUint(0x100|uint64(c), 16)[1:])
		default:
			squid.WriteByte(c)
		}
	}
	if got := string(appendSquidUser(nil, string(all))); got != squid.String() {
		t.Errorf("a user is written as %s\nwant %s", got, squid.String())
	}
}

func TestURLs(t *testing.T) {
	for _, test := range []struct{ method, url, stripped, kept string }{
		{"GET", "http://a.example/b?c#d", "http://a.example/b?", "http://a.example/b?c#d"},
		{"GET", "http://u@a.example/", "http://a.example/", "http://a.example/"},
		{"GET", "http://u:p@q@a.example?x@y", "http://a.example?", "http://a.example?x@y"},
		{"GET", "ftp://u:p@a.example", "ftp://a.example", "ftp://a.example"},
		{"GET", "/only/a/path@home", "/only/a/path@home", "/only/a/path@home"},
		{"CONNECT", "u:p@a.example:443", "a.example:443", "a.example:443"},
		{"CONNECT", "[2001:db8::1]:443", "[2001:db8::1]:443", "[2001:db8::1]:443"},
		{"", "", unreadable, unreadable},
	} {
		for keep, want := range map[bool]string{false: test.stripped, true: test.kept} {
			scheme, rest := loggedURL(&Entry{Method: test.method, URL: test.url}, keep)
			if got := scheme + rest; got != want {
				t.Errorf("%s %s is logged as %q, want %q (queries kept: %v)", test.method, test.url, got, want, keep)
			}
		}
	}
}

// The shapes of lines as analysers cut them up.
var (
	squidLine = regexp.MustCompile(`^ *-?\d+\.-?\d{3} +\d+ \S+ [A-Z_]+/\d{3} \d+ \S+ \S+ \S+ [A-Z_]+/\S+ \S+$`)
	// A quoted field ends at the first quote without a backslash before it.
	combinedLine = regexp.MustCompile(`^\S+ - \S+ \[[^]]+\] "(?:[^"\\]|\\.)*" \d{3} (?:\d+|-) "(?:[^"\\]|\\.)*" "(?:[^"\\]|\\.)*"$`)
	printable    = regexp.MustCompile(`^[ -~]*$`)
)

func FuzzLine(f *testing.F) {
	for _, e := range sample() {
		f.Add(e.Method, e.URL, e.User, e.ContentType, e.Referer, e.UserAgent, e.Status)
	}
	f.Add("GET", "http://h/"+strings.Repeat("\xff", maxText), "u", "", "", "", 200)
	hidden := masked(f, privacy.Pseudonym)
	f.Fuzz(func(t *testing.T, method, url, user, contentType, referer, agent string, status int) {
		e := page()
		e.Method, e.URL, e.User, e.ContentType, e.Referer, e.UserAgent, e.Status = method, url, user, contentType, referer, agent, status
		for _, f := range []form{{zone: time.UTC}, {zone: time.UTC, keepQuery: true}, {zone: time.UTC, mask: hidden}} {
			for shape, line := range map[*regexp.Regexp][]byte{
				squidLine:    f.appendSquid(nil, &e),
				combinedLine: f.appendCombined(nil, &e),
			} {
				if !printable.Match(line) {
					t.Errorf("not printable: %q", line)
				}
				if !shape.Match(line) {
					t.Errorf("not the shape of a line: %q", line)
				}
				if len(line) > 4*(3*maxText+4*maxWord)+512 {
					t.Errorf("a line of %d bytes", len(line))
				}
			}
		}
	})
}
