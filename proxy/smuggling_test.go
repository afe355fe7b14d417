package proxy

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// smuggled is one case of testdata/smuggling.txtar: bytes that a client sends,
// what it is answered, and which requests reach the origin.
type smuggled struct {
	raw     string
	answers []string
	open    bool     // the connection serves another request afterwards
	origin  []string // path and content of each request
}

// readSmuggled reads a case. Its first lines are settings, and behind an empty
// line each line is sent with CR LF at its end, or without where it ends with \.
// Escapes are Go's; ORIGIN is the origin's address.
func readSmuggled(t *testing.T, text, origin string) smuggled {
	t.Helper()
	settings, request, _ := strings.Cut(strings.ReplaceAll(text, "ORIGIN", origin), "\n\n")
	var s smuggled
	for line := range strings.SplitSeq(settings, "\n") {
		key, value, _ := strings.Cut(line, ":")
		switch value = strings.TrimSpace(value); key {
		case "answers":
			s.answers = strings.Fields(value)
		case "then":
			s.open = value == "open"
		case "origin":
			for request := range strings.SplitSeq(value, ",") {
				s.origin = append(s.origin, strings.TrimSpace(request))
			}
		default:
			t.Fatalf("no setting %q", key)
		}
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(request, "\n"), "\n") {
		end := `\r\n`
		if rest, ok := strings.CutSuffix(line, `\`); ok {
			line, end = rest, ""
		}
		piece, err := strconv.Unquote(`"` + strings.ReplaceAll(line, `"`, `\"`) + end + `"`)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		s.raw += piece
	}
	return s
}

// witness is an origin that writes down what reaches it.
type witness struct {
	mu   sync.Mutex
	seen []string
}

func (w *witness) serve(conn *net.TCPConn) {
	reader := newReader(conn)
	for {
		r, err := http.ReadRequest(reader)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				w.note("broken: " + err.Error())
			}
			return
		}
		content, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client's content was broken: there is no whole request
		}
		w.note(strings.TrimSpace(r.URL.Path + " " + string(content)))
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
			return
		}
	}
}

func (w *witness) note(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, what)
}

// TestSmuggling sends what is meant to be read in one way by us, and in another
// by whoever is behind us.
func TestSmuggling(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/smuggling.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(archive.Files) < 40 {
		t.Fatalf("%d cases", len(archive.Files))
	}
	for _, file := range archive.Files {
		t.Run(file.Name, func(t *testing.T) {
			w := &witness{}
			where := origin(t, w.serve)
			test := readSmuggled(t, string(file.Data), where.String())
			d := open(t, func(c *Config, _ *Dependencies) { c.Timeouts.Header = 300 * time.Millisecond })
			c := d.client()
			c.t = t
			c.send(test.raw)
			for i, want := range test.answers {
				response, err := http.ReadResponse(c.reader, &http.Request{Method: http.MethodGet})
				if err != nil {
					t.Fatalf("answer %d: %v", i, err)
				}
				_, _ = io.Copy(io.Discard, response.Body)
				if got := strconv.Itoa(response.StatusCode); got != want {
					t.Fatalf("answer %d is %s, want %s", i, response.Status, want)
				}
			}
			if test.open {
				c.send(getting("http://" + where.String() + "/next"))
				if response, _ := c.answer(http.MethodGet); response.StatusCode != http.StatusOK {
					t.Errorf("then %s", response.Status)
				}
				test.origin = append(test.origin, "/next")
			} else if rest := c.rest(); rest != "" {
				t.Errorf("then %q", rest)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if !slices.Equal(w.seen, test.origin) {
				t.Errorf("the origin saw %q, want %q", w.seen, test.origin)
			}
		})
	}
}

// The cases stay what they are: an editor that knows better about the ends of
// lines would make them pass for the wrong reason.
func TestSmugglingCasesAreText(t *testing.T) {
	data, err := os.ReadFile("testdata/smuggling.txtar")
	if err != nil || strings.ContainsRune(string(data), '\r') {
		t.Errorf("CR in the file, or %v", err)
	}
}
