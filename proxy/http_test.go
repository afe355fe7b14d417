package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// scripted is an origin that answers every request with the same bytes, and
// keeps the bytes of the requests.
type scripted struct {
	where netip.AddrPort
	mu    sync.Mutex
	heads []string // as they came, the content left out
	conns int
}

func newScripted(t *testing.T, answer string, closes bool) *scripted {
	s := &scripted{}
	s.where = origin(t, func(conn *net.TCPConn) {
		s.mu.Lock()
		s.conns++
		s.mu.Unlock()
		var raw bytes.Buffer
		reader := bufio.NewReader(io.TeeReader(conn, &raw))
		for {
			r, err := http.ReadRequest(reader)
			if err != nil {
				return
			}
			head, _, _ := strings.Cut(raw.String(), "\r\n\r\n")
			s.mu.Lock()
			s.heads = append(s.heads, head)
			s.mu.Unlock()
			_, _ = io.Copy(io.Discard, r.Body)
			raw.Reset()
			if _, err := io.WriteString(conn, answer); err != nil || closes {
				return
			}
		}
	})
	return s
}

func (s *scripted) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.heads)
}

// fieldsOf are the lines of a head whose field has this name, in small letters.
func fieldsOf(head, name string) (values []string) {
	for line := range strings.SplitSeq(head, "\r\n") {
		if field, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(field, name) {
			values = append(values, strings.TrimSpace(value))
		}
	}
	return values
}

// What the origin gets of a request.
func TestRequestsAsOriginsSeeThem(t *testing.T) {
	for _, test := range []struct {
		name, line string
		fields     []string
		want       string // the request line
		field      string // whose values are looked at
		values     []string
	}{
		{"trailers are taken", "GET http://ORIGIN/ HTTP/1.1", []string{"TE: deflate, trailers"}, "GET / HTTP/1.1", "TE", []string{"trailers"}},
		{"and Connection says so", "GET http://ORIGIN/ HTTP/1.1", []string{"TE: trailers"}, "GET / HTTP/1.1", "Connection", []string{"TE"}},
		{"other encodings are not", "GET http://ORIGIN/ HTTP/1.1", []string{"TE: gzip"}, "GET / HTTP/1.1", "TE", nil},
		{"no path", "GET http://ORIGIN HTTP/1.1", nil, "GET / HTTP/1.1", "Host", []string{"ORIGIN"}},
		{"no path, a query", "GET http://ORIGIN?a HTTP/1.1", nil, "GET /?a HTTP/1.1", "Host", []string{"ORIGIN"}},
		{"OPTIONS without a path", "OPTIONS http://ORIGIN HTTP/1.1", nil, "OPTIONS * HTTP/1.1", "Host", []string{"ORIGIN"}},
		{"OPTIONS with a path", "OPTIONS http://ORIGIN/ HTTP/1.1", nil, "OPTIONS / HTTP/1.1", "Host", []string{"ORIGIN"}},
		{"Max-Forwards is counted", "OPTIONS http://ORIGIN/ HTTP/1.1", []string{"Max-Forwards: 5"}, "OPTIONS / HTTP/1.1", "Max-Forwards", []string{"4"}},
		{"and only for OPTIONS", "GET http://ORIGIN/ HTTP/1.1", []string{"Max-Forwards: 5"}, "GET / HTTP/1.1", "Max-Forwards", []string{"5"}},
		{"credentials in the URI", "GET http://user:secret@ORIGIN/ HTTP/1.1", nil, "GET / HTTP/1.1", "Authorization", nil},
		{"fragment", "GET http://ORIGIN/a%2Fb%20c HTTP/1.1", nil, "GET /a%2Fb%20c HTTP/1.1", "Host", []string{"ORIGIN"}},
		{"HTTP/1.0", "GET http://ORIGIN/ HTTP/1.0", nil, "GET / HTTP/1.1", "Connection", nil},
		{"close is for us", "GET http://ORIGIN/ HTTP/1.1", []string{"Connection: close"}, "GET / HTTP/1.1", "Connection", nil},
		{"upgrade to HTTP/2", "GET http://ORIGIN/ HTTP/1.1", []string{"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"}, "GET / HTTP/1.1", "HTTP2-Settings", nil},
		{"upgrade to anything", "GET http://ORIGIN/ HTTP/1.1", []string{"Connection: Upgrade", "Upgrade: tls/1.3"}, "GET / HTTP/1.1", "Upgrade", nil},
		{"no User-Agent is made up", "GET http://ORIGIN/ HTTP/1.1", nil, "GET / HTTP/1.1", "User-Agent", nil},
		{"two fields of a name", "GET http://ORIGIN/ HTTP/1.1", []string{"X: 1", "X: 2"}, "GET / HTTP/1.1", "X", []string{"1", "2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScripted(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false)
			filled := func(text string) string { return strings.ReplaceAll(text, "ORIGIN", s.where.String()) }
			d := open(t, nil)
			response, body, _ := d.say(filled(test.line) + "\r\n" + strings.Join(append([]string{"Host: " + s.where.String()}, test.fields...), "\r\n") + "\r\n\r\n")
			if response.StatusCode != http.StatusOK || body != "ok" {
				t.Fatalf("%s %q", response.Status, body)
			}
			head := s.seen()[0]
			if line, _, _ := strings.Cut(head, "\r\n"); line != test.want {
				t.Errorf("the origin was asked %q", line)
			}
			for i := range test.values {
				test.values[i] = filled(test.values[i])
			}
			if got := fieldsOf(head, test.field); !slices.Equal(got, test.values) {
				t.Errorf("%s is %q, want %q", test.field, got, test.values)
			}
		})
	}
}

func TestMaxForwardsEnds(t *testing.T) {
	s := newScripted(t, "", true)
	d := open(t, nil)
	if response, _, _ := d.say("OPTIONS http://" + s.where.String() + "/ HTTP/1.1\r\nHost: " + s.where.String() + "\r\nMax-Forwards: 0\r\n\r\n"); response.StatusCode != http.StatusOK {
		t.Error(response.Status)
	}
	if len(s.seen()) > 0 {
		t.Error("it went further")
	}
}

// What the client gets of an answer.
func TestAnswersAsClientsSeeThem(t *testing.T) {
	const long = 400 << 10
	for _, test := range []struct {
		name, method, answer string
		closes               bool // the origin, behind its answer
		want                 string
		length               []string // Content-Length
		body                 string
	}{
		{"length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false, "200", []string{"2"}, "ok"},
		{"HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", false, "200", []string{"2"}, ""},
		{"HEAD without a length", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, "200", nil, ""},
		{"204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", false, "204", nil, ""},
		{"204 with a length", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n", false, "204", nil, ""},
		{"304 with a length", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\nETag: \"x\"\r\n\r\n", false, "304", nil, ""}, // which net/http leaves out
		{"no content", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, "200", []string{"0"}, ""},
		{"until the end", "GET", "HTTP/1.1 200 OK\r\n\r\nok", true, "200", nil, "ok"},
		{"HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\n\r\nok", true, "200", nil, "ok"},
		{"HTTP/1.0 with a length", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", true, "200", []string{"2"}, "ok"},
		{"chunks", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nok\r\n0\r\n\r\n", false, "200", nil, "ok"},
		{"chunks and a length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", true, "200", nil, "ok"},
		{"the same length twice", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", false, "200", []string{"2"}, "ok"},
		{"two lengths", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!", true, "502", nil, ""},
		{"length below zero", "GET", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok", true, "502", nil, ""},
		{"length with a plus", "GET", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", true, "502", nil, ""},
		{"length list", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok", true, "502", nil, ""},
		{"unknown encoding", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", true, "502", nil, ""},
		{"bare carriage return in a field", "GET", "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 2\r\n\r\nok", true, "502", nil, ""},
		{"NUL in a field", "GET", "HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 2\r\n\r\nok", true, "502", nil, ""},
		{"field without a colon", "GET", "HTTP/1.1 200 OK\r\nX\r\nContent-Length: 2\r\n\r\nok", true, "502", nil, ""},
		{"huge head", "GET", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", long) + "\r\nContent-Length: 2\r\n\r\nok", true, "502", nil, ""},
		{"head that does not end", "GET", "HTTP/1.1 200 OK\r\nContent-Len", true, "502", nil, ""},
		{"status of two digits", "GET", "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok", true, "502", nil, ""},
		{"status of four digits", "GET", "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok", true, "502", nil, ""},
		{"no HTTP", "GET", "ICY 200 OK\r\n\r\n", true, "502", nil, ""},
		{"another protocol", "GET", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", true, "502", nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScripted(t, test.answer, test.closes)
			d := open(t, nil)
			c := d.client()
			c.t = t
			for range 2 { // whatever came, the connection is good for another request
				c.send(test.method + " http://" + s.where.String() + "/ HTTP/1.1\r\nHost: " + s.where.String() + "\r\n\r\n")
				response, body := c.answer(test.method)
				if got := response.Status[:3]; got != test.want {
					t.Fatalf("%s", response.Status)
				}
				if test.want != "502" && (body != test.body || !slices.Equal(response.Header["Content-Length"], test.length)) {
					t.Errorf("%q, %v", body, response.Header)
				}
				if test.want == "502" && (response.Header.Get("Proxy-Status") == "" || response.Header.Get("Set-Cookie") != "") {
					t.Errorf("%v", response.Header)
				}
			}
		})
	}
}

// An answer of unknown length ends with the connection in HTTP/1.0, which knows
// no chunks.
func TestHTTP10ClientGetsNoChunks(t *testing.T) {
	s := newScripted(t, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", false)
	d := open(t, nil)
	c := d.client()
	c.send("GET http://" + s.where.String() + "/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	head, body, _ := strings.Cut(c.rest(), "\r\n\r\n")
	if !strings.HasPrefix(head, "HTTP/1.0 200 OK\r\n") || strings.Contains(head, "chunked") || body != "ok" {
		t.Errorf("%q, %q", head, body)
	}
}

// Connections are closed one by one: neither side's wish concerns the other.
func TestConnectionsCloseApart(t *testing.T) {
	kept := newScripted(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false)
	closing := newScripted(t, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", true)
	d := open(t, nil)
	c := d.client()
	for range 2 {
		c.send(getting("http://" + closing.where.String() + "/"))
		if response, body := c.answer(http.MethodGet); body != "ok" || response.Close {
			t.Errorf("%v %q", response.Header, body)
		}
	}
	for range 2 {
		response, body, last := d.say(getting("http://"+kept.where.String()+"/", "Connection: close"))
		if body != "ok" || !response.Close || last.rest() != "" {
			t.Errorf("%v %q", response.Header, body)
		}
	}
	if kept.conns != 1 || closing.conns != 2 {
		t.Errorf("%d connections to an origin that keeps them, %d to one that closes them", kept.conns, closing.conns)
	}
}

// What an origin says before its answer comes before the answer.
func TestInformationalAnswersPass(t *testing.T) {
	final := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	hint := "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: X-Own\r\nX-Own: 1\r\n\r\n"
	s := newScripted(t, "HTTP/1.1 100 Continue\r\n\r\n"+hint+"HTTP/1.1 102 Processing\r\n\r\n"+final, false)
	endless := newScripted(t, strings.Repeat(hint, maxInformational+1)+final, true)
	d := open(t, nil)
	c := d.client()
	for range 2 {
		c.send(getting("http://" + s.where.String() + "/"))
		for _, want := range []int{http.StatusEarlyHints, http.StatusProcessing, http.StatusOK} {
			response, err := http.ReadResponse(c.reader, nil)
			if err != nil || response.StatusCode != want {
				t.Fatalf("%v, %v, want %d", response, err, want)
			}
			link := response.Header.Get("Link")
			if (link != "") != (want == http.StatusEarlyHints) || response.Header.Get("X-Own") != "" {
				t.Errorf("%d: %v", want, response.Header)
			}
			if body, _ := io.ReadAll(response.Body); want == http.StatusOK && string(body) != "ok" {
				t.Errorf("%q", body)
			}
		}
	}
	c.send(getting("http://" + endless.where.String() + "/"))
	for i := 0; ; i++ {
		response, err := http.ReadResponse(c.reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode == http.StatusEarlyHints {
			continue
		}
		if response.StatusCode != http.StatusBadGateway || i != maxInformational {
			t.Errorf("%s after %d", response.Status, i)
		}
		break
	}
}

// A client that waits for leave to send is given it when the origin gives it,
// and not before.
func TestExpectContinue(t *testing.T) {
	asking := func(where netip.AddrPort, expect string) string {
		return "POST http://" + where.String() + "/ HTTP/1.1\r\nHost: " + where.String() + "\r\nContent-Length: 5\r\nExpect: " + expect + "\r\n\r\n"
	}
	t.Run("given", func(t *testing.T) {
		said := make(chan string, 1)
		where := origin(t, func(conn *net.TCPConn) {
			reader := newReader(conn)
			r, err := http.ReadRequest(reader)
			if err != nil || r.Header.Get("Expect") != "100-continue" {
				said <- "no expectation"
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
			content, _ := io.ReadAll(r.Body)
			said <- string(content)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		})
		d := open(t, nil)
		c := d.client()
		c.t = t
		c.send(asking(where, "100-continue"))
		if response, _ := c.answer(http.MethodPost); response.StatusCode != http.StatusContinue {
			t.Fatalf("%s", response.Status)
		}
		c.send("hello")
		if response, body := c.answer(http.MethodPost); response.StatusCode != http.StatusOK || body != "ok" || <-said != "hello" {
			t.Errorf("%s %q", response.Status, body)
		}
	})
	t.Run("denied", func(t *testing.T) {
		s := make(chan string, 1)
		where := origin(t, func(conn *net.TCPConn) {
			reader := newReader(conn)
			_, _ = http.ReadRequest(reader)
			_, _ = io.WriteString(conn, "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			rest, _ := io.ReadAll(reader)
			s <- string(rest)
		})
		d := open(t, nil)
		c := d.client()
		c.t = t
		c.send(asking(where, "100-continue"))
		if response, _ := c.answer(http.MethodPost); response.StatusCode != http.StatusExpectationFailed {
			t.Errorf("%s", response.Status)
		}
		if rest := <-s; rest != "" {
			t.Errorf("the origin was sent %q", rest)
		}
	})
	t.Run("refused by the policy", func(t *testing.T) {
		d := open(t, nil)
		response, _, _ := d.say("POST http://zoom.us/ HTTP/1.1\r\nHost: zoom.us\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
		if response.StatusCode != http.StatusForbidden {
			t.Errorf("%s", response.Status)
		}
	})
	t.Run("of something else", func(t *testing.T) {
		d := open(t, nil)
		response, _, _ := d.say(asking(netip.MustParseAddrPort("127.0.0.1:9"), "miracles"))
		if response.StatusCode != http.StatusExpectationFailed {
			t.Errorf("%s", response.Status)
		}
	})
}

// Trailers pass in both directions, announced or, from origins, not.
func TestTrailersPassBothWays(t *testing.T) {
	got := make(chan http.Header, 1)
	where := origin(t, func(conn *net.TCPConn) {
		r, err := http.ReadRequest(newReader(conn))
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		got <- r.Trailer
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Late: 7\r\n\r\n")
	})
	d := open(t, nil)
	response, body, _ := d.say("POST http://" + where.String() + "/ HTTP/1.1\r\nHost: " + where.String() + "\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n")
	if trailer := <-got; trailer.Get("X-Sum") != "42" {
		t.Errorf("the origin got %v", trailer)
	}
	if body != "ok" || response.Trailer.Get("X-Late") != "7" {
		t.Errorf("%q, trailer %v", body, response.Trailer)
	}
}

// A head of many fields has a status of its own, and its bytes are bounded.
func TestHeadLimits(t *testing.T) {
	s := newScripted(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false)
	d := open(t, func(c *Config, _ *Dependencies) { c.MaxHeaderBytes = 16 << 10; c.Timeouts.Header = time.Minute })
	head := func(n int) string {
		return "GET http://" + s.where.String() + "/ HTTP/1.1\r\nHost: " + s.where.String() + "\r\n" + strings.Repeat("X: y\r\n", n-1) + "\r\n"
	}
	for n, want := range map[int]int{maxFields: http.StatusOK, maxFields + 1: http.StatusRequestHeaderFieldsTooLarge, 8000: http.StatusRequestHeaderFieldsTooLarge} {
		response, _, c := d.say(head(n))
		if response.StatusCode != want {
			t.Errorf("%d fields: %s", n, response.Status)
		}
		if want != http.StatusOK {
			_ = c.CloseWrite()
			_ = c.rest()
		}
	}
}
