package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// everywhere is a route for every destination.
func everywhere(via ...string) []Route { return []Route{{Via: via}} }

// TestTunnels goes through every kind of parent to a destination that speaks
// first, whose first words come in one piece with the parent's answer.
func TestTunnels(t *testing.T) {
	origin := serve(t, "127.0.0.1:0", echo)
	here := addresses("192.0.2.7", "2001:db8::7")
	reached := network{"www.example.com:443": origin, "192.0.2.7:443": origin, "[2001:db8::7]:443": origin}
	for _, c := range []struct {
		name   string
		scheme string
		user   string // what the parent wants
		change func(*Parent)
		addrs  []netip.Addr
		asked  []string
	}{
		{name: "HTTP", scheme: SchemeHTTP, asked: []string{"CONNECT www.example.com:443"}},
		{name: "HTTP with credentials", scheme: SchemeHTTP, user: "alex:apogee:1", asked: []string{"CONNECT www.example.com:443"}},
		{name: "HTTP, address", scheme: SchemeHTTP, change: func(p *Parent) { p.SendAddress = true }, asked: []string{"CONNECT 192.0.2.7:443"}},
		{name: "HTTP, second address", scheme: SchemeHTTP, change: func(p *Parent) { p.SendAddress = true }, addrs: addresses("192.0.2.8", "2001:db8::7"), asked: []string{"CONNECT 192.0.2.8:443", "CONNECT [2001:db8::7]:443"}},
		{name: "HTTP, no address", scheme: SchemeHTTP, change: func(p *Parent) { p.FindsNames = true }, addrs: []netip.Addr{}, asked: []string{"CONNECT www.example.com:443"}},
		{name: "HTTPS", scheme: SchemeHTTPS, asked: []string{"CONNECT www.example.com:443"}},
		{name: "HTTPS with credentials", scheme: SchemeHTTPS, user: "alex:apogee", asked: []string{"CONNECT www.example.com:443"}},
		{name: "SOCKS, IPv4", scheme: SchemeSOCKS5, asked: []string{"1 192.0.2.7:443"}},
		{name: "SOCKS, IPv6", scheme: SchemeSOCKS5, addrs: addresses("2001:db8::7"), asked: []string{"4 [2001:db8::7]:443"}},
		{name: "SOCKS, second address", scheme: SchemeSOCKS5, addrs: addresses("192.0.2.8", "2001:db8::7"), asked: []string{"1 192.0.2.8:443", "4 [2001:db8::7]:443"}},
		{name: "SOCKS, name", scheme: SchemeSOCKS5H, asked: []string{"3 www.example.com:443"}},
		{name: "SOCKS with credentials", scheme: SchemeSOCKS5H, user: "alex:apogee", asked: []string{"3 www.example.com:443"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			http, socks := &httpParent{network: reached, user: c.user}, &socksParent{network: reached, user: c.user}
			p := Parent{Name: "site"}
			talk, asked := http.talk, &http.notes
			switch c.scheme {
			case SchemeHTTPS:
				talk, p.CAFile = inTLS(t, http.talk)
			case SchemeSOCKS5, SchemeSOCKS5H:
				talk, asked = socks.talk, &socks.notes
			}
			at := serve(t, "127.0.0.1:0", talk)
			p.Endpoint = endpoint(c.scheme, at)
			if c.user != "" {
				p.CredentialsFile = secretFile(t, c.user+"\n")
			}
			if c.change != nil {
				c.change(&p)
			}
			if c.addrs == nil {
				c.addrs = here
			}
			d := newDialer(t, Config{Parents: []Parent{p}, Routes: everywhere("site")}, Dependencies{})
			conn, err := d.Dial(t.Context(), Target{Host: "www.example.com", Port: 443, Addrs: c.addrs})
			if err != nil {
				t.Fatal(err)
			}
			if conn.Via != "site" || conn.Remote != at || (conn.TCP() != nil) != (c.scheme != SchemeHTTPS) {
				t.Errorf("via %s at %s, bare %v", conn.Via, conn.Remote, conn.TCP() != nil)
			}
			wantEcho(t, conn)
			if got := asked.all(); !slices.Equal(got, c.asked) {
				t.Errorf("the parent was asked %q, want %q", got, c.asked)
			}
		})
	}
}

// TestParentAnswers is what becomes of what a parent says in place of yes.
func TestParentAnswers(t *testing.T) {
	type want struct {
		result, said string
		status       int // 0: not an answer
		proxyStatus  string
		goesOn       bool
		down         bool
	}
	for answer, w := range map[string]want{
		"HTTP/1.1 403 Forbidden\r\n\r\n":                                                 {"denied", "HTTP 403 Forbidden", 502, "http_request_denied", false, false},
		"HTTP/1.0 407 Who\r\nproxy-authenticate: Negotiate\r\n\r\n":                      {"credentials", "HTTP 407 Who, asking for Negotiate", 502, "proxy_configuration_error", false, false},
		"HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\n\r\n":                  {"denied", "HTTP 302", 502, "http_request_denied", false, false},
		"HTTP/1.1 101 Switching\r\n\r\n":                                                 {"denied", "HTTP 101", 502, "http_request_denied", false, false},
		"HTTP/1.1 429\r\n\r\n":                                                           {"denied", "HTTP 429", 502, "http_request_denied", false, false},
		"HTTP/1.1 502 Bad\x1b[31m \xff\r\n\r\n":                                          {"unreachable", "HTTP 502 Bad[31m", 502, "destination_unavailable", true, false},
		"HTTP/1.1 503 No\n\n":                                                            {"unreachable", "HTTP 503 No", 502, "destination_unavailable", true, false},
		"HTTP/1.1 504 Slow\r\n\r\n":                                                      {"timeout", "HTTP 504 Slow", 504, "connection_timeout", true, false},
		"HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 403 But no\r\n\r\n":                          {"denied", "HTTP 403 But no", 502, "http_request_denied", false, false},
		strings.Repeat("HTTP/1.1 100 Go on\r\n\r\n", 20):                                 {"error", "without coming to an answer", 0, "", true, true},
		"SSH-2.0-OpenSSH_9.2\r\n\r\n":                                                    {"error", "not HTTP", 0, "", true, true},
		"HTTP/1.1 200 OK\r\nX: ":                                                         {"error", "EOF", 0, "", true, true},
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxAnswerHead+peekBytes) + "\r\n": {"error", "longer than", 0, "", true, true},
		"HTTP/2 200\r\n\r\n":                                                             {"error", "not HTTP/1", 0, "", true, true},
	} {
		checkAnswer(t, answer, SchemeHTTP, (&httpParent{answer: answer}).talk, w.result, w.said, w.status, w.proxyStatus, w.goesOn, w.down)
	}
	for reply, w := range map[byte]want{
		1: {"unreachable", "SOCKS reply 1, general failure", 502, "destination_unavailable", true, false},
		2: {"denied", "SOCKS reply 2, not allowed by its rules", 502, "http_request_denied", false, false},
		5: {"refused", "SOCKS reply 5, connection refused", 502, "connection_refused", true, false},
		6: {"timeout", "SOCKS reply 6", 504, "connection_timeout", true, false},
		9: {"unreachable", "SOCKS reply 9, unknown", 502, "destination_unavailable", true, false},
	} {
		checkAnswer(t, fmt.Sprint("reply ", reply), SchemeSOCKS5H, (&socksParent{reply: reply}).talk, w.result, w.said, w.status, w.proxyStatus, w.goesOn, w.down)
	}
	for raw, w := range map[string]want{
		"\x05\xff":          {"credentials", "no way of signing in", 502, "proxy_configuration_error", false, false},
		"\x05\x02":          {"error", "method 2, which was not offered", 0, "", true, true},
		"HTTP/1.1 400 \r\n": {"error", "not SOCKS 5", 0, "", true, true},
		"\x05":              {"error", "EOF", 0, "", true, true},
	} {
		checkAnswer(t, fmt.Sprintf("%q", raw), SchemeSOCKS5H, (&socksParent{raw: []byte(raw)}).talk, w.result, w.said, w.status, w.proxyStatus, w.goesOn, w.down)
	}
}

// checkAnswer asks a parent alone, and then with another way behind it.
func checkAnswer(t *testing.T, name, scheme string, talk func(net.Conn), result, said string, status int, proxyStatus string, goesOn, down bool) {
	t.Helper()
	origin := serve(t, "127.0.0.1:0", echo)
	at := serve(t, "127.0.0.1:0", talk)
	c := Config{Parents: []Parent{{Name: "site", Endpoint: endpoint(scheme, at)}}, Routes: everywhere("site")}
	to := Target{Host: "www.example.com", Port: origin.Port(), Addrs: addresses("127.0.0.1")}
	d := newDialer(t, c, Dependencies{})
	conn, err := d.Dial(t.Context(), to)
	if err == nil {
		t.Fatalf("%.60q: no error", name)
	}
	if conn != (Conn{}) {
		t.Errorf("%.60q: a connection beside an error", name)
	}
	if Result(err) != result || !strings.Contains(err.Error(), said) {
		t.Errorf("%.60q: %v, which is %s, want %s and %q", name, err, Result(err), result, said)
	}
	var answered *ParentError
	if status == 0 {
		status, proxyStatus = 502, "destination_unavailable"
	} else if !errors.As(err, &answered) || answered.Answer == "" || answered.Err != nil {
		t.Errorf("%.60q: %v is no answer", name, err)
	}
	if !errors.As(err, &answered) || (answered.Status() != status || answered.ProxyStatus() != proxyStatus || answered.Sentence() == "") {
		t.Errorf("%.60q: status %d, %s, want %d, %s", name, answered.Status(), answered.ProxyStatus(), status, proxyStatus)
	}
	if ours := result == "credentials" || result == "error"; answered != nil && answered.IsDestinations() == ours {
		t.Errorf("%.60q: the destination's fault: %v", name, !ours)
	}
	if got := d.routes.list[0].steps[0].health.failures > 0; got != down {
		t.Errorf("%.60q: the parent is left alone: %v, want %v", name, got, down)
	}

	c.Routes = everywhere("site", Direct)
	conn, err = newDialer(t, c, Dependencies{}).Dial(t.Context(), to)
	if (err == nil) != goesOn {
		t.Errorf("%.60q: with another way: %v, want to go on: %v", name, err, goesOn)
	}
	if err == nil {
		wantEcho(t, conn)
	}
}

// A parent that does not know us is an admin's matter, and is not repeated for
// every request. What is secret is nowhere to be read.
func TestParentThatDoesNotKnowUs(t *testing.T) {
	for scheme, talk := range map[string]func(net.Conn){
		SchemeHTTP:    (&httpParent{user: "alex:other"}).talk,
		SchemeSOCKS5H: (&socksParent{user: "alex:other"}).talk,
	} {
		at := serve(t, "127.0.0.1:0", talk)
		core, logs := observer.New(zapcore.DebugLevel)
		secret := "Tr0ub4dor"
		p := Parent{Name: "site", Endpoint: endpoint(scheme, at), CredentialsFile: secretFile(t, "alex:"+secret)}
		d := newDialer(t, Config{Parents: []Parent{p}, Routes: everywhere("site", Direct)}, Dependencies{Log: zap.New(core)})
		for range 3 {
			_, err := d.Dial(t.Context(), Target{Host: "www.example.com", Port: 443, Addrs: addresses("127.0.0.1")})
			if Result(err) != "credentials" {
				t.Fatalf("got %v", err)
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), secret) {
				t.Error("the password is in the error")
			}
		}
		var shown []string
		for _, entry := range logs.All() {
			text := fmt.Sprint(entry.Message, entry.ContextMap())
			if strings.Contains(text, secret) || strings.Contains(text, "YWxleD") {
				t.Errorf("the log shows what is secret: %s", text)
			}
			if entry.Level == zapcore.ErrorLevel {
				shown = append(shown, text)
			}
		}
		if len(shown) != 1 || !strings.Contains(shown[0], "site") || !strings.Contains(shown[0], "credentials") {
			t.Errorf("the log says %q, want one error that names the parent and what to do", shown)
		}
	}
}

// A parent that takes a request and says nothing may be waiting for the
// destination. Only when that happens again and again, it is left alone.
func TestParentThatSaysNothing(t *testing.T) {
	for _, scheme := range []string{SchemeHTTP, SchemeSOCKS5H} {
		at := serve(t, "127.0.0.1:0", func(conn net.Conn) {
			if scheme == SchemeSOCKS5H {
				_, _ = io.ReadFull(conn, make([]byte, 3))
				_, _ = conn.Write([]byte{5, 0})
			}
			_, _ = io.Copy(io.Discard, conn)
		})
		c := Config{
			Timeout: 20 * time.Millisecond,
			Parents: []Parent{{Name: "site", Endpoint: endpoint(scheme, at)}},
			Routes:  everywhere("site"),
		}
		d := newDialer(t, c, Dependencies{})
		for i := range manySilent {
			if d.routes.list[0].steps[0].health.failures > 0 {
				t.Fatalf("%s: left alone after %d", scheme, i)
			}
			if _, err := d.Dial(t.Context(), Target{Host: "www.example.com", Port: 443}); Result(err) != "timeout" {
				t.Fatalf("%s: got %v", scheme, err)
			}
		}
		if d.routes.list[0].steps[0].health.failures == 0 {
			t.Errorf("%s: not left alone", scheme)
		}
	}
}

func TestDialThroughParentEndsWithItsContext(t *testing.T) {
	heard := make(chan struct{}, 1)
	at := serve(t, "127.0.0.1:0", func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1))
		heard <- struct{}{}
		_, _ = io.Copy(io.Discard, conn)
	})
	for _, scheme := range schemes() {
		c := Config{
			Timeout: time.Hour,
			Parents: []Parent{{Name: "site", Endpoint: endpoint(scheme, at)}},
			Routes:  everywhere("site", Direct),
		}
		d := newDialer(t, c, Dependencies{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-heard
			cancel()
		}()
		_, err := d.Dial(ctx, Target{Host: "www.example.com", Port: 443, Addrs: addresses("127.0.0.1")})
		if Result(err) != "cancelled" {
			t.Errorf("%s: got %v, which is %s", scheme, err, Result(err))
		}
		if d.routes.list[0].steps[0].health.failures > 0 {
			t.Errorf("%s: a client that leaves is not the parent's fault", scheme)
		}
	}
}

func TestParentTLS(t *testing.T) {
	talk, ca := inTLS(t, (&httpParent{}).talk)
	secure := serve(t, "127.0.0.1:0", talk)
	plain := serve(t, "127.0.0.1:0", func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 5))
		_, _ = io.WriteString(conn, "HTTP/1.1 400 What\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn) // a reset would tell the client less
	})
	_, otherCA := inTLS(t, nil)
	named := func(host string, at netip.AddrPort) Endpoint {
		return Endpoint{Scheme: SchemeHTTPS, Host: host, Port: at.Port()}
	}
	for _, c := range []struct {
		name     string
		endpoint Endpoint
		ca       string
		want     string
	}{
		{"unknown authority", named("127.0.0.1", secure), "", "name the file of its authority in ca"},
		{"other authority", named("127.0.0.1", secure), otherCA, "name the file of its authority in ca"},
		{"other name", named("other.corp.example", secure), ca, "not other.corp.example"},
		{"no TLS there", named("127.0.0.1", plain), ca, "write http://"},
		{"right", named("parent.corp.example", secure), ca, "HTTP 503"}, // it knows no destination
	} {
		d := newDialer(t, Config{
			Parents: []Parent{{Name: "site", Endpoint: c.endpoint, CAFile: c.ca}}, Routes: everywhere("site"),
		}, Dependencies{Resolve: func(context.Context, string) ([]netip.Addr, error) { return addresses("127.0.0.1"), nil }})
		_, err := d.Dial(t.Context(), Target{Host: "www.example.com", Port: 443})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestParentIsNotOurselves(t *testing.T) {
	at := serve(t, "127.0.0.1:0", func(net.Conn) { t.Error("it was dialled") })
	c := Config{Parents: []Parent{{Name: "site", Endpoint: endpoint(SchemeHTTP, at)}}, Routes: everywhere("site")}
	d := newDialer(t, c, Dependencies{IsSelf: func(a netip.Addr, port uint16) bool { return netip.AddrPortFrom(a, port) == at }})
	_, err := d.Dial(t.Context(), Target{Host: "www.example.com", Port: 443})
	if err == nil || !strings.Contains(err.Error(), "is this gateway itself") {
		t.Errorf("got %v", err)
	}
}

// TestParentAddresses looks at when a parent's name is looked up.
func TestParentAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		var answer []netip.Addr
		var failure error
		d := newDialer(t, Config{
			Parents: []Parent{{Name: "site", Endpoint: Endpoint{SchemeHTTP, "proxy.corp.example", 3128}}}, Routes: everywhere("site"),
		}, Dependencies{Resolve: func(_ context.Context, name string) ([]netip.Addr, error) {
			asked++
			if name != "proxy.corp.example" {
				t.Errorf("asked for %q", name)
			}
			return answer, failure
		}})
		p := d.routes.list[0].steps[0]
		check := func(wantAsked int, want ...string) {
			t.Helper()
			got, err := p.addresses(t.Context(), time.Now().Add(time.Minute))
			if !slices.Equal(got, addresses(want...)) || (err == nil) != (len(want) > 0) || asked != wantAsked {
				t.Errorf("got %v, %v, asked %d times, want %v, asked %d times", got, err, asked, want, wantAsked)
			}
		}
		check(1) // the name has no address
		failure = errors.New("no upstream answers")
		check(2)
		answer, failure = addresses("192.0.2.1"), nil
		check(3, "192.0.2.1")
		check(3, "192.0.2.1")
		time.Sleep(addrsTime)
		answer = addresses("192.0.2.2")
		check(4, "192.0.2.2")
		time.Sleep(addrsTime)
		answer, failure = nil, errors.New("no upstream answers")
		check(5, "192.0.2.2")
		check(6, "192.0.2.2") // it is still worth asking
	})
}
