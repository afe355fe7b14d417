package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// Requests that a client sends without waiting for answers are served, and each
// is judged by its own Host field.
func TestPipelinedHostFields(t *testing.T) {
	where := plainOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, r.URL.Path)
	})
	uri := func(path string) string { return "http://" + where.String() + path }
	get := func(path, host string) string { return "GET " + uri(path) + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n" }
	content := "\r\n\r\nGET http://x/ HTTP/1.1\r\nHost: zoom.us\r\n\r\n"
	sized := "POST " + uri("/sized") + " HTTP/1.1\r\nHost: a.example\r\nContent-Length: " + fmt.Sprint(len(content)) + "\r\n\r\n" + content
	chunked := "POST " + uri("/chunked") + " HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n" +
		fmt.Sprintf("%x;note=1\r\n%s\r\n0\r\nX-Trailer: 1\r\n\r\n", len(content), content)
	type want struct {
		status int
		body   string
	}
	ok, no := func(path string) want { return want{http.StatusOK, path} }, want{status: http.StatusForbidden}
	tests := map[string]struct {
		first, then string
		want        []want
	}{
		"two, then one":       {get("/1", "a.example") + get("/2", "b.example"), get("/3", "c.example"), []want{ok("/1"), ok("/2"), ok("/3")}},
		"second is refused":   {get("/1", "a.example") + get("/2", "zoom.us"), get("/3", "c.example"), []want{ok("/1"), no, ok("/3")}},
		"third is refused":    {get("/1", "a.example") + get("/2", "b.example"), get("/3", "zoom.us"), []want{ok("/1"), ok("/2"), no}},
		"same line twice":     {get("/1", "a.example") + get("/1", "zoom.us"), get("/1", "b.example"), []want{ok("/1"), no, ok("/1")}},
		"behind a body":       {sized + get("/2", "zoom.us"), get("/3", "b.example"), []want{ok("/sized"), no, ok("/3")}},
		"behind chunks":       {chunked + get("/2", "zoom.us"), get("/3", "b.example"), []want{ok("/chunked"), no, ok("/3")}},
		"behind a CONNECT":    {connectTo("zoom.us:443"), get("/2", "zoom.us"), []want{no, no}},
		"bodies one by one":   {sized + chunked + sized, get("/3", "b.example"), []want{ok("/sized"), ok("/chunked"), ok("/sized"), ok("/3")}},
		"a split second head": {get("/1", "a.example") + "GET " + uri("/2"), " HTTP/1.1\r\nHost: zoom.us\r\n\r\n", []want{ok("/1"), no}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := open(t, nil)
			c := d.client()
			c.t = t
			c.send(test.first)
			for i, want := range test.want {
				if i == len(test.want)-1 {
					c.send(test.then)
				}
				response, body := c.answer(http.MethodGet)
				if response.StatusCode != want.status || want.body != "" && body != want.body {
					t.Fatalf("answer %d: %s %q, want %d %q", i, response.Status, body, want.status, want.body)
				}
			}
		})
	}
}

// net/http reads on while a request is served: the head of that request must
// not be disturbed. This one is for the race detector, which takes whatever the
// handler sends for a signal to the reader: the pause leaves the third request
// time to come before that, and nothing hangs on its length.
func TestRequestArrivesWhileAnotherIsServed(t *testing.T) {
	d := open(t, nil)
	d.decide(func(r *policy.Request) policy.Verdict {
		if r.Host.Name() == "second.example" {
			time.Sleep(2 * time.Millisecond)
		}
		return refused(r.Host)
	})
	for range 20 {
		c := d.client()
		c.send(getting("http://first.example/") + getting("http://second.example/"))
		for i := range 3 {
			if response, _ := c.answer(http.MethodGet); response.StatusCode != http.StatusForbidden {
				t.Fatalf("answer %d: %s", i, response.Status)
			}
			if i == 0 {
				c.send(getting("http://third.example/"))
			}
		}
		_ = c.Close()
	}
}

// A Host field is found wherever it stands in a head that is accepted.
func TestHostFieldAtTheEndOfALongHead(t *testing.T) {
	d := open(t, nil)
	where := plainOrigin(t, func(http.ResponseWriter, *http.Request) {})
	long := strings.Repeat("X-Filler: "+strings.Repeat("f", 1000)+"\r\n", 62)
	response, _, _ := d.say("GET http://" + where.String() + "/ HTTP/1.1\r\n" + long + "Host: zoom.us\r\n\r\n")
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("got %s", response.Status)
	}
}

// Where it is not clear which host a request claims, or where it ends, it is
// refused, and nothing that follows on its connection is looked at.
func TestUnclearHeadsAreRefused(t *testing.T) {
	for name, fields := range map[string]string{
		"name that is none":  "Host: a..b\r\n",
		"userinfo":           "Host: user@zoom.us\r\n",
		"empty":              "Host:\r\n",
		"folded":             "Host:\r\n zoom.us\r\n",
		"length and chunks":  "Host: a.example\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n",
		"two equal lengths":  "Host: a.example\r\nContent-Length: 3\r\nContent-Length: 3\r\n",
		"folded length":      "Host: a.example\r\nContent-Length:\r\n 3\r\n",
		"a length that is +": "Host: a.example\r\nContent-Length: +3\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, nil)
			asked := false
			where := plainOrigin(t, func(http.ResponseWriter, *http.Request) { asked = true })
			uri := "http://" + where.String() + "/"
			response, _, c := d.say("POST " + uri + " HTTP/1.1\r\n" + fields + "\r\n0\r\n\r\n" + getting(uri))
			if response.StatusCode != http.StatusBadRequest {
				t.Errorf("got %s", response.Status)
			}
			if rest := c.rest(); rest != "" {
				t.Errorf("then %q", rest)
			}
			if asked {
				t.Error("the origin was asked")
			}
		})
	}
	t.Run("chunks in HTTP/1.0", func(t *testing.T) {
		d := open(t, nil)
		response, _, c := d.say("POST http://127.0.0.1:1/ HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
		if response.StatusCode != http.StatusBadRequest || c.rest() != "" {
			t.Errorf("got %s", response.Status)
		}
	})
}

// streams are what clients may send, by turns well and badly.
var streams = []string{
	"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost:b\r\n\r\nHEAD /3 HTTP/1.0\r\n\r\n",
	"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n\r\n\r\n.GET /2 HTTP/1.1\r\nHost: b\r\n\r\n",
	"POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=b\r\nHost:\r\n0\r\nX: y\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n",
	"POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n",
	"POST /1 HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n",
	"GET /1 HTTP/1.1\r\nHost:\r\n a\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n",
	"GET /1 HTTP/1.1\r\nX: y\r\n Host: b\r\nHost: a\r\n \r\n\r\n",
	"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\nhost:b\n\nHEAD /3 HTTP/1.0\r\n\r\n",
	"GET /1 HTTP/1.1\r\nHost: a\r\nX: y\rHost: b\r\n\n",
	"PUT /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\nabc\n0\n\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n",
	"PUT /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n 3 \r\nabc\r\n00\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n",
}

// Whatever comes, and in whatever pieces, a head that is given out for a
// request says what net/http has read for it.
func FuzzHeads(f *testing.F) {
	for _, stream := range streams {
		f.Add(stream, uint8(0))
		f.Add(stream, uint8(1))
		f.Add(stream, uint8(7))
	}
	f.Fuzz(func(t *testing.T, stream string, piece uint8) {
		h := heads{limit: 64 << 10}
		for rest := []byte(stream); len(rest) > 0; {
			n := len(rest)
			if piece > 0 {
				n = min(n, int(piece))
			}
			h.take(rest[:n])
			rest = rest[n:]
		}
		text := strings.NewReader(stream)
		reader := bufio.NewReader(text)
		for {
			begin := len(stream) - text.Len() - reader.Buffered()
			r, err := http.ReadRequest(reader)
			if err != nil {
				return
			}
			head, err := h.next(r)
			if err != nil {
				return
			}
			read := stream[begin : len(stream)-text.Len()-reader.Buffered()]
			if strings.ContainsAny(strings.ReplaceAll(read, "\r\n", ""), "\r\n\x00") {
				t.Fatalf("lines that may be read in two ways were served: %q", read)
			}
			if r.URL.Host == "" && head.host != r.Host {
				t.Fatalf("the Host field of %s %s is %q, net/http has read %q", r.Method, r.RequestURI, head.host, r.Host)
			}
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return
			}
		}
	})
}

// Good requests are all given out, in whatever pieces they come.
func TestHeadsInPieces(t *testing.T) {
	for _, stream := range streams[:4] {
		for size := 1; size <= len(stream); size++ {
			h := heads{limit: 64 << 10}
			for rest := []byte(stream); len(rest) > 0; {
				n := min(size, len(rest))
				h.take(rest[:n])
				rest = rest[n:]
			}
			reader := bufio.NewReader(strings.NewReader(stream))
			for {
				r, err := http.ReadRequest(reader)
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if _, err := h.next(r); err != nil {
					t.Fatalf("%s in pieces of %d: %v", r.RequestURI, size, err)
				}
				_, _ = io.Copy(io.Discard, r.Body)
			}
			if h.more() {
				t.Errorf("in pieces of %d: something is left of %q", size, stream)
			}
		}
	}
}

// What is kept for a connection is bounded, whatever comes.
func TestHeadsAreBounded(t *testing.T) {
	for name, piece := range map[string]string{
		"one line":    strings.Repeat("x", 100),
		"one head":    "GET / HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", 20),
		"empty lines": "\r\n",
		"many heads":  "GET / HTTP/1.1\r\n\r\n",
	} {
		h := heads{limit: 1 << 10}
		for range 10_000 {
			h.take([]byte(piece))
		}
		if len(h.waiting) > maxHeads || cap(h.line) > 2<<10 || h.state != framingLost {
			t.Errorf("%s: %d heads, %d bytes of a line, state %d", name, len(h.waiting), cap(h.line), h.state)
		}
	}
}
