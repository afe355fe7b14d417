package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// plainOrigin is an HTTP server for any name.
func plainOrigin(t *testing.T, handler http.HandlerFunc) netip.AddrPort {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.Listener.Addr().(*net.TCPAddr).AddrPort()
}

func getting(url string, fields ...string) string {
	return "GET " + url + " HTTP/1.1\r\nHost: ignored.example\r\n" + strings.Join(append(fields, ""), "\r\n") + "\r\n"
}

func TestForward(t *testing.T) {
	var seen *http.Request
	where := plainOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Answer", "yes")
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write(append([]byte("got "), body...))
	})
	d := open(t, nil)
	d.name("example.com", "127.0.0.1")
	target := at(where.Port(), "example.com")
	response, body, _ := d.say("POST http://user:pw@" + target + "/path?q=1 HTTP/1.1\r\nHost: lie.example\r\nContent-Length: 4\r\nX-Mine: 1\r\n\r\nbody")
	if response.StatusCode != http.StatusAccepted || body != "got body" || response.Header.Get("X-Answer") != "yes" {
		t.Errorf("%s %q", response.Status, body)
	}
	if seen.Host != target || seen.RequestURI != "/path?q=1" || seen.Header.Get("X-Mine") != "1" {
		t.Errorf("origin saw %s %s %v", seen.Host, seen.RequestURI, seen.Header)
	}
	if got := seen.Header.Get("Authorization"); got != "" {
		t.Errorf("credentials of the URI were sent: %q", got)
	}
	decisions, ends := d.await(1, 0)
	if decisions[0].Transport != "http" || decisions[0].Host.Name() != "example.com" || len(decisions[0].Facts) != 2 || len(ends) != 0 {
		t.Errorf("decision %+v", decisions[0])
	}
	if got := d.metric("sallyport_proxy_requests_total", "http", "202"); got != 1 {
		t.Errorf("%v requests counted", got)
	}
}

// What the Host field says besides the URI is never sent on, and is judged as a
// claim, on the first and on every later request of a connection.
func TestHostFieldIsAClaim(t *testing.T) {
	where := plainOrigin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host) })
	d := open(t, nil)
	c := d.client()
	ask := func(host string) (*http.Response, string) {
		c.send("GET http://" + where.String() + "/ HTTP/1.1\r\nX-Other: 1\r\nHOST:  " + host + "\r\n\r\n")
		return c.answer(http.MethodGet)
	}
	n := 0
	for range 3 {
		for _, host := range []string{"zoom.us", "US04WEB.zoom.us:80", "[::ffff:3.7.35.1]:80"} {
			response, _ := ask(host)
			n++
			decisions, _ := d.await(n, 0)
			if response.StatusCode != http.StatusForbidden || !isZoom(decisions[n-1].Verdict.Fact) || len(decisions[n-1].Facts) != 1 {
				t.Errorf("%s: %s, %+v", host, response.Status, decisions[n-1])
			}
		}
		for _, host := range []string{where.String(), "innocent.example", "not a host"} {
			response, body := ask(host)
			if host == "not a host" {
				if response.StatusCode != http.StatusBadRequest { // and net/http hangs up
					t.Errorf("%s: %s", host, response.Status)
				}
				c = d.client()
				continue
			}
			n++
			if response.StatusCode != http.StatusOK || body != where.String() {
				t.Errorf("%s: %s %q", host, response.Status, body)
			}
		}
	}
}

// The content of a request is no claim.
func TestContentIsNoHostField(t *testing.T) {
	where := plainOrigin(t, func(http.ResponseWriter, *http.Request) {})
	d := open(t, nil)
	c := d.client()
	content := "\r\nHost: zoom.us\r\n\r\n"
	for range 3 {
		c.send("POST http://" + where.String() + "/ HTTP/1.1\r\nHost: " + where.String() + "\r\nContent-Length: " + fmt.Sprint(len(content)) + "\r\n\r\n" + content)
		if response, _ := c.answer(http.MethodPost); response.StatusCode != http.StatusOK {
			t.Errorf("got %s", response.Status)
		}
	}
}

func TestForwardRefusalForms(t *testing.T) {
	d := open(t, nil)
	for accept, contentType := range map[string]string{
		"":                 "text/plain; charset=utf-8",
		"*/*":              "text/plain; charset=utf-8",
		"text/html":        "text/html; charset=utf-8",
		"application/json": "application/json",
	} {
		var fields []string
		if accept != "" {
			fields = append(fields, "Accept: "+accept)
		}
		response, body, _ := d.say(getting("http://zoom.us/", fields...))
		if response.StatusCode != http.StatusForbidden || response.Header.Get("Content-Type") != contentType ||
			response.Header.Get("Proxy-Status") != "sallyport; error=http_request_denied" || response.Header.Get("X-Sallyport-Rule") != "zoom-memo" {
			t.Errorf("%q: %s %v", accept, response.Status, response.Header)
		}
		if !strings.Contains(body, "Privacy and security concerns") {
			t.Errorf("%q: body %s", accept, body)
		}
		if contentType == "application/json" && !json.Valid([]byte(body)) {
			t.Errorf("no JSON: %s", body)
		}
	}
	if response, body, _ := d.say("HEAD http://zoom.us/ HTTP/1.1\r\nHost: zoom.us\r\n\r\n"); response.StatusCode != http.StatusForbidden || body != "" {
		t.Errorf("HEAD: %s %q", response.Status, body)
	}
}

// A client in the middle of an upload gets its refusal whole.
func TestForwardRefusalDuringUpload(t *testing.T) {
	d := open(t, nil)
	c := d.client()
	upload := strings.Repeat("x", 1<<20)
	c.send("PUT http://zoom.us/ HTTP/1.1\r\nHost: zoom.us\r\nContent-Length: " + fmt.Sprint(len(upload)) + "\r\n\r\n" + upload)
	response, body := c.answer(http.MethodPut)
	if response.StatusCode != http.StatusForbidden || !strings.Contains(body, "it-help@corp.example") {
		t.Errorf("%s\n%s", response.Status, body)
	}
	c.send(getting("http://zoom.us/"))
	if response, _ := c.answer(http.MethodGet); response.StatusCode != http.StatusForbidden {
		t.Errorf("next request: %s", response.Status)
	}
}

func TestForwardJudgesWhatItConnectsTo(t *testing.T) {
	d := open(t, func(c *Config, _ *Dependencies) { c.DenyNetworks = DenyNetworks{} })
	d.name("vanity.example", "3.7.35.4")
	d.name("inside.example", "127.0.0.1")
	for target, rule := range map[string]string{
		"http://vanity.example/":         "zoom-memo",
		"http://3.7.35.1/":               "zoom-memo",
		"http://50799361/":               "zoom-memo",
		"http://[::ffff:3.7.35.1]:8080/": "zoom-memo",
		"http://inside.example/":         "deny-networks",
		"http://127.0.0.1:9180/metrics":  "deny-networks",
		"http://169.254.169.254/latest":  "deny-networks",
	} {
		response, _, _ := d.say(getting(target))
		if response.StatusCode != http.StatusForbidden || response.Header.Get("X-Sallyport-Rule") != rule {
			t.Errorf("%s: %s %s, want %s", target, response.Status, response.Header.Get("X-Sallyport-Rule"), rule)
		}
	}
}

func TestNotForAProxy(t *testing.T) {
	d := open(t, nil)
	for name, raw := range map[string]string{
		"origin form": "GET / HTTP/1.1\r\nHost: zoom.us\r\n\r\n",
		"asterisk":    "OPTIONS * HTTP/1.1\r\nHost: zoom.us\r\n\r\n",
		"https":       getting("https://example.com/"),
		"ftp":         getting("ftp://example.com/"),
		"no host":     getting("http:///path"),
		"bad port":    getting("http://example.com:0/"),
		"bad host":    getting("http://exa%20mple.com/"),
		"trace":       "TRACE http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n",
	} {
		if response, body, _ := d.say(raw); response.StatusCode != http.StatusBadRequest || body == "" {
			t.Errorf("%s: %s %q", name, response.Status, body)
		}
	}
	if decisions, _ := d.recorded(); len(decisions) != 0 {
		t.Errorf("%d decisions", len(decisions))
	}
}

func TestHopByHopFieldsStay(t *testing.T) {
	var seen http.Header
	where := plainOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Clone()
		w.Header().Set("Connection", "X-Private")
		w.Header().Set("X-Private", "1")
		w.Header().Set("Keep-Alive", "timeout=5")
		w.Header().Set("Proxy-Authenticate", "Basic")
		w.Header().Set("X-Public", "1")
	})
	d := open(t, passwords)
	response, _, _ := d.say(getting("http://"+where.String()+"/",
		"Connection: X-Secret, keep-alive", "X-Secret: 1", "Keep-Alive: 300", "TE: deflate", "Upgrade: h2c", "Proxy-Connection: keep-alive",
		"Proxy-Authorization: Basic YWxpY2U6c2VjcmV0", "Accept-Encoding: br", "X-Kept: 1", "Via: 1.0 before"))
	for _, name := range []string{"X-Secret", "Keep-Alive", "Te", "Upgrade", "Proxy-Connection", "Proxy-Authorization", "Connection"} {
		if _, present := seen[name]; present {
			t.Errorf("origin got %s: %q", name, seen[name])
		}
	}
	if seen.Get("X-Kept") != "1" || seen.Get("Accept-Encoding") != "br" {
		t.Errorf("origin got %v", seen)
	}
	if via := seen.Get("Via"); via != "1.0 before, 1.1 "+d.pseudonym {
		t.Errorf("Via is %q", via)
	}
	for _, name := range []string{"X-Private", "Keep-Alive", "Proxy-Authenticate"} {
		if response.Header.Get(name) != "" {
			t.Errorf("client got %s", name)
		}
	}
	if response.Header.Get("X-Public") != "1" || !strings.Contains(response.Header.Get("Via"), d.pseudonym) {
		t.Errorf("client got %v", response.Header)
	}
}

func TestBodiesPassAsEncoded(t *testing.T) {
	where := plainOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("Accept-Encoding %q was made up", r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write([]byte("not really gzip"))
	})
	d := open(t, nil)
	response, body, _ := d.say(getting("http://" + where.String() + "/"))
	if body != "not really gzip" || response.Header.Get("Content-Encoding") != "gzip" || response.ContentLength != 15 {
		t.Errorf("%v %q", response.Header, body)
	}
}

func TestLoopIsFound(t *testing.T) {
	d := open(t, nil)
	d.name("example.com", "127.0.0.1")
	response, _, _ := d.say(getting("http://example.com/", "Via: 1.1 other, 1.1 "+d.pseudonym))
	if response.StatusCode != http.StatusLoopDetected {
		t.Error(response.Status)
	}
	response, _, _ = d.say("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\nVia: 1.1 " + d.pseudonym + "\r\nVia: 1.1 other\r\n\r\n")
	if response.StatusCode != http.StatusLoopDetected {
		t.Error("CONNECT:", response.Status)
	}
}

// A piece of a stream arrives when the origin sends it, not when a buffer is
// full.
func TestStreamsAreNotHeldBack(t *testing.T) {
	for _, contentType := range []string{"application/octet-stream", "text/event-stream"} {
		t.Run(contentType, func(t *testing.T) {
			next := make(chan string)
			where := plainOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", contentType)
				w.WriteHeader(http.StatusOK)
				_ = http.NewResponseController(w).Flush()
				for piece := range next {
					_, _ = io.WriteString(w, piece)
					_ = http.NewResponseController(w).Flush()
				}
			})
			d := open(t, nil)
			c := d.client()
			c.send(getting("http://" + where.String() + "/"))
			response, err := http.ReadResponse(c.reader, nil) // before the first piece
			if err != nil {
				t.Fatal(err)
			}
			for _, piece := range []string{"one", "two", "three"} {
				next <- piece
				got := make([]byte, len(piece))
				if _, err := io.ReadFull(response.Body, got); err != nil || string(got) != piece {
					t.Fatalf("%q, %v", got, err)
				}
			}
			close(next)
			if rest, err := io.ReadAll(response.Body); err != nil || len(rest) > 0 {
				t.Errorf("%q, %v", rest, err)
			}
		})
	}
}

// Nor is a part of a body whose length is known.
func TestPartsOfBodiesAreNotHeldBack(t *testing.T) {
	next := make(chan struct{})
	where := plainOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "6")
		_, _ = io.WriteString(w, "one")
		_ = http.NewResponseController(w).Flush()
		<-next
		_, _ = io.WriteString(w, "two")
	})
	d := open(t, nil)
	c := d.client()
	c.send(getting("http://" + where.String() + "/"))
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 3)
	if _, err := io.ReadFull(response.Body, first); err != nil || string(first) != "one" {
		t.Fatalf("%q, %v", first, err)
	}
	close(next)
	if rest, err := io.ReadAll(response.Body); err != nil || string(rest) != "two" {
		t.Errorf("%q, %v", rest, err)
	}
}

// A plain stream that a new policy forbids ends with it, as a tunnel does.
func TestRecheckEndsStreams(t *testing.T) {
	left := make(chan struct{})
	where := plainOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "one")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(left)
	})
	d := open(t, nil)
	d.decide(func(*policy.Request) policy.Verdict { return allowed() })
	d.name("us04web.zoom.us", "127.0.0.1")
	c := d.client()
	c.send(getting("http://" + at(where.Port(), "us04web.zoom.us") + "/"))
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(response.Body, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	d.decide(memo)
	if result := d.Recheck(); result.Closed != 1 {
		t.Errorf("%+v", result)
	}
	if _, err := io.ReadAll(response.Body); err == nil {
		t.Error("the stream looks complete")
	}
	<-left
}

func TestTrailersPass(t *testing.T) {
	where := plainOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Sum", "42")
	})
	d := open(t, nil)
	response, body, _ := d.say(getting("http://" + where.String() + "/"))
	if body != "body" || response.Trailer.Get("X-Sum") != "42" {
		t.Errorf("%q %v", body, response.Trailer)
	}
}

// An answer that breaks off must not look whole.
func TestBrokenBodyIsSeenToBeBroken(t *testing.T) {
	for _, head := range []string{
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf",
	} {
		where := origin(t, func(conn *net.TCPConn) {
			_, _ = http.ReadRequest(newReader(conn))
			_, _ = io.WriteString(conn, head)
		})
		d := open(t, nil)
		c := d.client()
		c.send(getting("http://" + where.String() + "/"))
		response, err := http.ReadResponse(c.reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(response.Body); !errors.Is(err, io.ErrUnexpectedEOF) || string(body) != "half" {
			t.Errorf("%q: read %q, %v", head, body, err)
		}
	}
}

func TestForwardErrorsTellNothing(t *testing.T) {
	garbage := origin(t, func(conn *net.TCPConn) {
		_, _ = http.ReadRequest(newReader(conn))
		_, _ = io.WriteString(conn, "this is no HTTP\r\n\r\n")
	})
	switching := origin(t, func(conn *net.TCPConn) {
		_, _ = http.ReadRequest(newReader(conn))
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn)
	})
	silent := origin(t, func(conn *net.TCPConn) { _, _ = io.Copy(io.Discard, conn) })
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	dead := l.Addr().String()
	_ = l.Close()
	d := open(t, func(c *Config, _ *Dependencies) { c.Timeouts.Idle = time.Second })
	for target, status := range map[string]int{
		garbage.String():   http.StatusBadGateway,
		switching.String(): http.StatusBadGateway,
		dead:               http.StatusBadGateway,
		"nowhere.example":  http.StatusBadGateway,
	} {
		response, body, _ := d.say(getting("http://" + target + "/"))
		if response.StatusCode != status || response.Header.Get("Proxy-Status") == "" {
			t.Errorf("%s: %s %v", target, response.Status, response.Header)
		}
		for _, secret := range []string{"10.20.30.40", "dial", "tcp", "malformed", "no HTTP"} {
			if strings.Contains(body, secret) {
				t.Errorf("%s: the answer tells %q: %s", target, secret, body)
			}
		}
	}
	c := d.client()
	c.send(getting("http://" + silent.String() + "/"))
	if rest := c.rest(); rest != "" && !strings.Contains(rest, " 504 ") && !strings.Contains(rest, " 499 ") {
		t.Errorf("a silent origin gives %q", rest)
	}
}

// A kept-alive connection to an origin is used again only for requests for
// which the very same addresses were checked.
func TestPoolIsBoundToCheckedAddresses(t *testing.T) {
	var accepted atomic.Int32
	serve := func(who string) func(*net.TCPConn) {
		return func(conn *net.TCPConn) {
			accepted.Add(1)
			reader := newReader(conn)
			for {
				r, err := http.ReadRequest(reader)
				if err != nil {
					return
				}
				text := who + " " + r.Host
				_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
			}
		}
	}
	first := origin(t, serve("first"))
	port := first.Port()
	originAt(t, at(port, "127.0.0.2"), serve("second"))
	d := open(t, nil)
	ask := func(name, want string) {
		t.Helper()
		_, body, _ := d.say(getting("http://" + at(port, name) + "/"))
		if body != want+" "+at(port, name) {
			t.Errorf("%s: %q, want %s", name, body, want)
		}
	}
	d.name("a.example", "127.0.0.1")
	d.name("b.example", "127.0.0.1")
	ask("a.example", "first")
	ask("a.example", "first")
	ask("b.example", "first") // the same address, another name: the same connection
	if n := accepted.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	d.name("a.example", "127.0.0.2") // the name has moved
	ask("a.example", "second")
	d.decide(func(r *policy.Request) policy.Verdict {
		for _, fact := range r.Derived {
			if fact.Addr() == netip.MustParseAddr("127.0.0.2") {
				return refused(fact)
			}
		}
		return allowed()
	})
	if response, _, _ := d.say(getting("http://" + at(port, "a.example") + "/")); response.StatusCode != http.StatusForbidden {
		t.Errorf("an idle connection let a refused address through: %s", response.Status)
	}
}

// Credentials that sign in a connection must not be inherited by the next
// client.
func TestConnectionCredentialsAreNotShared(t *testing.T) {
	var accepted atomic.Int32
	where := origin(t, func(conn *net.TCPConn) {
		accepted.Add(1)
		reader := newReader(conn)
		for {
			if _, err := http.ReadRequest(reader); err != nil {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	d := open(t, nil)
	d.say(getting("http://"+where.String()+"/", "Authorization: NTLM abc"))
	d.say(getting("http://" + where.String() + "/"))
	if n := accepted.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

func TestForwardChallenge(t *testing.T) {
	d := open(t, passwords)
	d.decide(forAlice)
	where := plainOrigin(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "in") })
	d.name("zoom.us", "127.0.0.1")
	target := "http://" + at(where.Port(), "zoom.us") + "/"
	response, _, c := d.say(getting(target))
	if response.StatusCode != http.StatusProxyAuthRequired || response.Header.Get("Proxy-Authenticate") == "" {
		t.Fatal(response.Status)
	}
	for accept, parts := range map[string][]string{
		"text/html":        {"<p>Sign in if you have an exception", "<li>phone</li>", testRule.Reason, "it-help@corp.example", "Example Rockets"},
		"application/json": {`"sign_in": true`, `"rule": "zoom-memo"`, `"decision": ""`},
	} {
		c.send(getting(target, "Accept: "+accept))
		response, body := c.answer(http.MethodGet)
		for _, part := range parts {
			if response.StatusCode != http.StatusProxyAuthRequired || !strings.HasPrefix(response.Header.Get("Content-Type"), accept) || !strings.Contains(body, part) {
				t.Errorf("%s, %s lacks %q:\n%s", accept, response.Status, part, body)
			}
		}
	}
	if n := d.metric("sallyport_proxy_requests_total", "http", "407"); n != 3 {
		t.Errorf("%v answers of 407, want 3", n)
	}
	if decisions, _ := d.recorded(); len(decisions) != 0 {
		t.Errorf("a question was recorded as %d decisions", len(decisions))
	}
	c.send(getting(target, "Proxy-Authorization: Basic YWxpY2U6c2VjcmV0"))
	if response, body := c.answer(http.MethodGet); response.StatusCode != http.StatusOK || body != "in" {
		t.Errorf("%s %q", response.Status, body)
	}
}

// A question about what is let through without an answer, too, has no page: there
// is nothing that refuses. Nor has it a way past a warning.
func TestChallengeWithoutARefusal(t *testing.T) {
	d := open(t, func(c *Config, deps *Dependencies) {
		passwords(c, deps)
		deps.Continue = func(*policy.Decision, string) string { return "http://gate/continue" }
	})
	for action, want := range map[policy.Action]string{
		policy.ActionAllow: "this destination needs your user name and password\n",
		policy.ActionWarn:  "Zoom is discouraged on the network of Example Rockets",
	} {
		d.decide(func(r *policy.Request) policy.Verdict {
			v := refused(r.Host)
			v.Action, v.NeedsUser = action, true
			return v
		})
		response, body, _ := d.say(getting("http://zoom.us/"))
		if response.StatusCode != http.StatusProxyAuthRequired || !strings.HasPrefix(body, want) || strings.Contains(body, "continue") {
			t.Errorf("%v: %s\n%s", action, response.Status, body)
		}
	}
}

// The environment's proxy is for others.
func TestEnvironmentIsIgnored(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	where := plainOrigin(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "direct") })
	originAt(t, at(where.Port(), "127.0.0.9"), echoing)
	d := open(t, nil)
	d.name("example.com", "127.0.0.1") // not loopback by name: the environment would apply
	if _, body, _ := d.say(getting("http://" + at(where.Port(), "example.com") + "/")); body != "direct" {
		t.Errorf("got %q", body)
	}
	if got := d.tunnel("127.0.0.9:" + fmt.Sprint(where.Port())).echo("x"); got != "x" {
		t.Errorf("echo %q", got)
	}
}

func TestAuthority(t *testing.T) {
	for _, test := range []struct {
		host string
		port uint16
		want string
	}{
		{"example.com", 80, "example.com"},
		{"example.com", 8080, "example.com:8080"},
		{"192.0.2.1", 80, "192.0.2.1"},
		{"2001:db8::1", 80, "[2001:db8::1]"},
		{"2001:db8::1", 81, "[2001:db8::1]:81"},
	} {
		host, err := policy.ParseHost(test.host)
		if err != nil {
			t.Fatal(err)
		}
		if got := authorityOf(host, test.port, 80); got != test.want {
			t.Errorf("%s %d: %s, want %s", test.host, test.port, got, test.want)
		}
	}
}

func TestLargeBodiesBothWays(t *testing.T) {
	where := plainOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(r.ContentLength))
		_, _ = io.Copy(w, r.Body)
	})
	d := open(t, nil)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<17) // 2 MiB
	response, err := d.browser(nil).Post("http://"+where.String()+"/", "application/octet-stream", bytes.NewReader(sent))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes of %d, %v", len(got), len(sent), err)
	}
}

func TestForwardIdleTimeout(t *testing.T) {
	where := plainOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "begun")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	d := open(t, func(c *Config, _ *Dependencies) { c.Timeouts.Idle = time.Second })
	c := d.client()
	c.send(getting("http://" + where.String() + "/"))
	if rest := c.rest(); !strings.Contains(rest, "begun") || strings.HasSuffix(rest, "0\r\n\r\n") {
		t.Errorf("got %q", rest)
	}
}
