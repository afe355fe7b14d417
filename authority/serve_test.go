package authority

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// ask sends a request over an open connection and reads the answer.
func ask(t testing.TB, conn net.Conn, reader *bufio.Reader, request string) (*http.Response, string) {
	t.Helper()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	response, err := http.ReadResponse(reader, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

// TestPage is a client that trusts the authority.
func TestPage(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			a, registry := loaded(t, "zoom.us")
			raw, server := connected(t)
			done := serving(t, a, server, "us04web.zoom.us", memo())
			conn := tls.Client(raw, &tls.Config{
				RootCAs: trusting(a), ServerName: "us04web.zoom.us", NextProtos: []string{"h2", "http/1.1"}, MaxVersion: version,
			})
			reader := bufio.NewReader(conn)
			response, body := ask(t, conn, reader, "GET /j/1?pwd=x HTTP/1.1\r\nHost: us04web.zoom.us\r\n\r\n")
			if response.StatusCode != http.StatusForbidden || body != "no: GET us04web.zoom.us/j/1" || response.Close {
				t.Errorf("got %s %q, close %v", response.Status, body, response.Close)
			}
			if state := conn.ConnectionState(); state.NegotiatedProtocol != "http/1.1" || state.Version != version {
				t.Errorf("protocol %q, %s", state.NegotiatedProtocol, tls.VersionName(state.Version))
			}
			// The next one on the same connection, which ends it.
			response, body = ask(t, conn, reader, "HEAD / HTTP/1.1\r\nHost: us04web.zoom.us\r\nConnection: close\r\n\r\n")
			if body != "" || !response.Close || response.ContentLength != int64(len("no: HEAD us04web.zoom.us/")) {
				t.Errorf("a HEAD got %q, length %d, close %v", body, response.ContentLength, response.Close)
			}
			if _, err := reader.ReadByte(); err != io.EOF {
				t.Errorf("after the last answer: %v", err)
			}
			_ = conn.Close()
			if !wait(t, done) {
				t.Error("Serve says that it did nothing")
			}
			wantResult(t, registry, resultShown)
		})
	}
}

// TestRealClient lets net/http be the client, which pools, and resumes its
// sessions.
func TestRealClient(t *testing.T) {
	a, registry := loaded(t, "zoom.us")
	var connections sync.WaitGroup
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: trusting(a), ClientSessionCache: tls.NewLRUClientSessionCache(8)},
		DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			c, server := connected(t)
			connections.Go(func() { <-serving(t, a, server, "zoom.us", memo()) })
			return c, nil
		},
	}
	defer transport.CloseIdleConnections()
	resumed := 0
	for range 3 {
		response, err := (&http.Client{Transport: transport}).Post("https://zoom.us/signin", "text/plain", strings.NewReader("a body"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || string(body) != "no: POST zoom.us/signin" {
			t.Errorf("%q, %v", body, err)
		}
		if response.TLS.DidResume {
			resumed++
		}
	}
	connections.Wait()
	if resumed != 2 {
		t.Errorf("%d of 2 sessions were resumed", resumed)
	}
	if got := metric(t, registry, "sallyport_proxy_intercepted_total{shown}"); got != 3 {
		t.Errorf("%v pages were counted", got)
	}
}

// TestNothingPrivate keeps from the page what is meant for the site.
func TestNothingPrivate(t *testing.T) {
	a, _ := loaded(t, "zoom.us")
	raw, server := connected(t)
	var seen http.Header
	var state *tls.ConnectionState
	done := serving(t, a, server, "zoom.us", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen, state = r.Header, r.TLS
		w.WriteHeader(http.StatusNoContent)
	}))
	conn := client(raw, trusting(a), "zoom.us")
	response, _ := ask(t, conn, bufio.NewReader(conn), "GET / HTTP/1.1\r\nHost: zoom.us\r\nCookie: session=secret\r\nAuthorization: Basic eDp5\r\nProxy-Authorization: Basic eDp5\r\nAccept: text/html\r\nConnection: close\r\n\r\n")
	_ = conn.Close()
	wait(t, done)
	if len(seen) != 2 || seen.Get("Accept") != "text/html" || seen.Get("Connection") != "close" {
		t.Errorf("the page sees %v", seen)
	}
	if state == nil || state.ServerName != "zoom.us" {
		t.Errorf("the page sees %+v", state)
	}
	if response.StatusCode != http.StatusNoContent || response.Header.Get("Content-Length") != "" {
		t.Errorf("%s, %v", response.Status, response.Header)
	}
}

// TestBodies has the page read what is sent to it, or not.
func TestBodies(t *testing.T) {
	reading := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%d bytes, %v", len(body), err)
	})
	idle := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "not read") })
	large := strings.Repeat("x", 2*maxBody)
	for _, test := range []struct {
		name, head, body string
		page             http.Handler
		want             string
		last             bool
	}{
		{"read", "Content-Length: 4\r\n", "body", reading, "4 bytes, <nil>", false},
		{"read in chunks", "Transfer-Encoding: chunked\r\n", "4\r\nbody\r\n0\r\n\r\n", reading, "4 bytes, <nil>", false},
		{"not read", "Content-Length: 4\r\n", "body", idle, "not read", false},
		{"too large, read", fmt.Sprintf("Content-Length: %d\r\n", len(large)), large, reading, "unexpected EOF", true},
		{"too large, not read", fmt.Sprintf("Content-Length: %d\r\n", len(large)), large, idle, "not read", true},
		{"waits for leave", "Content-Length: 4\r\nExpect: 100-continue\r\n", "", reading, "0 bytes, <nil>", true},
		{"no body", "", "", reading, "0 bytes, <nil>", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, registry := loaded(t, "zoom.us")
			raw, server := connected(t)
			done := serving(t, a, server, "zoom.us", test.page)
			conn := client(raw, trusting(a), "zoom.us")
			reader := bufio.NewReader(conn)
			response, body := ask(t, conn, reader, "POST / HTTP/1.1\r\nHost: zoom.us\r\n"+test.head+"\r\n"+test.body)
			if !strings.Contains(body, test.want) || response.Close != test.last {
				t.Errorf("got %q, last %v", body, response.Close)
			}
			if !test.last { // what comes next is a request, and no rest of the body
				response, body = ask(t, conn, reader, "GET / HTTP/1.1\r\nHost: zoom.us\r\nConnection: close\r\n\r\n")
				if response.StatusCode != http.StatusOK || body == "" {
					t.Errorf("the next request got %s %q", response.Status, body)
				}
			}
			_ = conn.Close()
			wait(t, done)
			wantResult(t, registry, resultShown)
		})
	}
}

// TestRequests sends what is no request, or too much of one.
func TestRequests(t *testing.T) {
	for _, test := range []struct {
		name, send string
		status     int
		want       result
	}{
		{"no HTTP", "hello world\r\n\r\n", 400, resultFailed},
		{"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", 403, resultShown},
		{"long head", "GET / HTTP/1.1\r\nHost: zoom.us\r\nX: " + strings.Repeat("x", maxHead) + "\r\n\r\n", 431, resultFailed},
		{"long cookies", "GET / HTTP/1.1\r\nHost: zoom.us\r\nConnection: close\r\nCookie: " + strings.Repeat("x", maxHead*3/4) + "\r\n\r\n", 403, resultShown},
		{"HTTP/2 all the same", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, resultFailed},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, registry := loaded(t, "zoom.us")
			raw, server := connected(t)
			done := serving(t, a, server, "zoom.us", memo())
			conn := client(raw, trusting(a), "zoom.us")
			response, _ := ask(t, conn, bufio.NewReader(conn), test.send)
			if response.StatusCode != test.status || !response.Close {
				t.Errorf("%s, close %v", response.Status, response.Close)
			}
			_ = conn.Close()
			wait(t, done)
			wantResult(t, registry, test.want)
		})
	}
}

// TestManyRequests ends a conversation that would go on for ever.
func TestManyRequests(t *testing.T) {
	a, _ := loaded(t, "zoom.us")
	raw, server := connected(t)
	done := serving(t, a, server, "zoom.us", memo())
	conn := client(raw, trusting(a), "zoom.us")
	reader := bufio.NewReader(conn)
	for n := 1; n <= maxRequests; n++ {
		response, _ := ask(t, conn, reader, "GET / HTTP/1.1\r\nHost: zoom.us\r\n\r\n")
		if response.Close != (n == maxRequests) {
			t.Errorf("request %d: close %v", n, response.Close)
		}
	}
	_ = conn.Close()
	wait(t, done)
}

// TestBrokenPage has a page that panics: the client learns that something is
// wrong, and the gateway goes on.
func TestBrokenPage(t *testing.T) {
	a, _ := loaded(t, "zoom.us")
	raw, server := connected(t)
	done := serving(t, a, server, "zoom.us", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half a ")
		panic("page")
	}))
	conn := client(raw, trusting(a), "zoom.us")
	if response, body := ask(t, conn, bufio.NewReader(conn), "GET / HTTP/1.1\r\nHost: zoom.us\r\n\r\n"); response.StatusCode != 500 || body != "" || !response.Close {
		t.Errorf("%s %q", response.Status, body)
	}
	_ = conn.Close()
	wait(t, done)
}

// TestDistrust has clients that do not trust the authority, and those that
// fail for another reason.
func TestDistrust(t *testing.T) {
	strangers := x509.NewCertPool()
	other, _ := loaded(t)
	strangers.AddCert(other.Certificate())
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, test := range []struct {
			name string
			act  func(t *testing.T, raw *net.TCPConn)
			want result
		}{
			{"says so", func(t *testing.T, raw *net.TCPConn) {
				err := tls.Client(raw, &tls.Config{RootCAs: strangers, ServerName: "zoom.us", MaxVersion: version}).Handshake()
				var unknown x509.UnknownAuthorityError
				if !errors.As(err, &unknown) {
					t.Errorf("the client's error: %v", err)
				}
			}, resultUntrusted},
			{"leaves without a word", func(t *testing.T, raw *net.TCPConn) {
				leaving := errors.New("leaving")
				err := tls.Client(raw, &tls.Config{
					InsecureSkipVerify: true, MaxVersion: version, ServerName: "zoom.us",
					VerifyConnection: func(tls.ConnectionState) error { _ = raw.Close(); return leaving },
				}).Handshake()
				if !errors.Is(err, leaving) {
					t.Errorf("the client's error: %v", err)
				}
			}, resultUntrusted},
			{"resets", func(t *testing.T, raw *net.TCPConn) {
				_ = tls.Client(raw, &tls.Config{
					InsecureSkipVerify: true, MaxVersion: version, ServerName: "zoom.us",
					VerifyConnection: func(tls.ConnectionState) error {
						return errors.Join(raw.SetLinger(0), raw.Close(), errors.New("leaving"))
					},
				}).Handshake()
			}, resultUntrusted},
			{"knows no protocol of ours", func(t *testing.T, raw *net.TCPConn) {
				err := tls.Client(raw, &tls.Config{RootCAs: strangers, ServerName: "zoom.us", MaxVersion: version, NextProtos: []string{"h2"}}).Handshake()
				if err == nil || !strings.Contains(err.Error(), "no application protocol") {
					t.Errorf("the client's error: %v", err)
				}
			}, resultFailed},
			{"does nothing further", func(t *testing.T, raw *net.TCPConn) {
				conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MaxVersion: version, ServerName: "zoom.us"})
				if err := conn.Handshake(); err != nil {
					t.Error(err)
				}
				_ = conn.Close()
			}, resultUnused},
			{"leaves in the middle of a request", func(t *testing.T, raw *net.TCPConn) {
				conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MaxVersion: version, ServerName: "zoom.us"})
				if _, err := io.WriteString(conn, "GET / HT"); err != nil {
					t.Error(err)
				}
				_ = conn.Close()
			}, resultFailed},
		} {
			t.Run(test.name+", "+tls.VersionName(version), func(t *testing.T) {
				a, registry := loaded(t, "zoom.us")
				raw, server := connected(t)
				done := serving(t, a, server, "zoom.us", memo())
				test.act(t, raw)
				_ = raw.Close()
				if !wait(t, done) {
					t.Error("Serve says that it did nothing")
				}
				wantResult(t, registry, test.want)
			})
		}
	}
}

// TestPlainAlert complains as OpenSSL does in TLS 1.3: without encryption.
func TestPlainAlert(t *testing.T) {
	for code, want := range map[byte]result{42: resultUntrusted, 46: resultUntrusted, 48: resultUntrusted, 80: resultFailed} {
		a, registry := loaded(t, "zoom.us")
		raw, server := connected(t)
		done := make(chan bool, 1)
		go func() {
			done <- a.Serve(t.Context(), server, realHellos(t)["curl-openssl"], "us04web.zoom.us", memo())
		}()
		if _, err := io.ReadFull(raw, make([]byte, 6)); err != nil {
			t.Fatal(err)
		}
		if _, err := raw.Write([]byte{20, 3, 3, 0, 1, 1, 21, 3, 3, 0, 2, 2, code}); err != nil {
			t.Fatal(err)
		}
		if err := raw.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		wait(t, done)
		wantResult(t, registry, want)
	}
}

// TestCleanClose is what a client sees that is closed on by us: an end, no
// reset, although it has sent more than was read.
func TestCleanClose(t *testing.T) {
	a, _ := loaded(t, "zoom.us")
	raw, server := connected(t)
	done := serving(t, a, server, "zoom.us", memo())
	conn := client(raw, trusting(a), "zoom.us")
	request := "GET / HTTP/1.1\r\nHost: zoom.us\r\nConnection: close\r\n\r\n"
	if _, err := io.WriteString(conn, request+strings.Repeat("x", 100<<10)); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 403 Forbidden\r\n")) {
		t.Errorf("%q, %v", answer, err)
	}
	_ = conn.Close()
	wait(t, done)
}

// TestNotCovered gives the connection back as it was.
func TestNotCovered(t *testing.T) {
	a, registry := loaded(t, "zoom.us")
	c, server := net.Pipe()
	defer c.Close()
	defer server.Close()
	if a.Serve(t.Context(), server, []byte("hello"), "zoom.com", memo()) {
		t.Fatal("a page for a name that is not covered")
	}
	wantResult(t, registry, resultNoLeaf)
	go func() { _, _ = io.WriteString(c, "x") }()
	if err := server.SetReadDeadline(time.Now().Add(waitLimit)); err != nil {
		t.Fatal(err)
	}
	if n, err := server.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("the connection was touched: %v", err)
	}
}

// TestSlowClients end at their deadlines, whatever they are slow at.
func TestSlowClients(t *testing.T) {
	for _, test := range []struct {
		name     string
		patience patience // 0: more than the test has
		act      func(t *testing.T, conn *tls.Conn, raw net.Conn)
		want     result
	}{
		{"at the handshake", patience{handshake: 50 * time.Millisecond}, func(t *testing.T, _ *tls.Conn, raw net.Conn) {
			if _, err := raw.Write(realHellos(t)["openssl-tls12"]); err != nil {
				t.Error(err)
			}
			_, _ = io.Copy(io.Discard, raw)
		}, resultFailed},
		{"at asking", patience{request: 50 * time.Millisecond}, func(t *testing.T, conn *tls.Conn, _ net.Conn) {
			if err := conn.Handshake(); err != nil {
				t.Error(err)
			}
			_, _ = io.Copy(io.Discard, conn)
		}, resultUnused},
		{"at saying what", patience{request: 3 * time.Second}, func(_ *testing.T, conn *tls.Conn, _ net.Conn) {
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nX: ")
			_, _ = io.Copy(io.Discard, conn)
		}, resultFailed},
		{"at all of it", patience{whole: 3 * time.Second}, func(t *testing.T, conn *tls.Conn, _ net.Conn) {
			ask(t, conn, bufio.NewReader(conn), "GET / HTTP/1.1\r\nHost: zoom.us\r\n\r\n")
			_, _ = io.Copy(io.Discard, conn)
		}, resultShown},
		{"at leaving", patience{}, func(t *testing.T, conn *tls.Conn, _ net.Conn) {
			ask(t, conn, bufio.NewReader(conn), "GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
			_, _ = io.Copy(io.Discard, conn)
		}, resultShown},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // two of them wait for a deadline that a busy machine must not miss
			a, registry := loaded(t, "zoom.us")
			for _, d := range []*time.Duration{&test.patience.handshake, &test.patience.request, &test.patience.whole} {
				if *d == 0 {
					*d = time.Hour
				}
			}
			test.patience.linger = 20 * time.Millisecond
			a.patience = test.patience
			raw, server := connected(t)
			done := serving(t, a, server, "zoom.us", memo())
			test.act(t, client(raw, trusting(a), "zoom.us"), raw)
			wait(t, done)
			wantResult(t, registry, test.want)
		})
	}
}

// TestStop ends every client at once, wherever it is.
func TestStop(t *testing.T) {
	for _, send := range []string{"", "GET / HTTP/1.1\r\nX: "} {
		a, _ := loaded(t, "zoom.us")
		raw, server := connected(t)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan bool, 1)
		go func() {
			hello, _ := readHello(server)
			done <- a.Serve(ctx, server, hello, "zoom.us", memo())
		}()
		conn := client(raw, trusting(a), "zoom.us")
		if _, err := io.WriteString(conn, send); err != nil { // with nothing to send, the handshake
			t.Fatal(err)
		}
		stop()
		if !wait(t, done) {
			t.Error("Serve says that it did nothing")
		}
	}
}

// TestManyClients come at once for a few names.
func TestManyClients(t *testing.T) {
	a, registry := loaded(t, "zoom.us")
	var all sync.WaitGroup
	const clients, names = 64, 4
	for n := range clients {
		all.Go(func() {
			name := fmt.Sprintf("n%d.zoom.us", n%names)
			raw, server := connected(t)
			done := serving(t, a, server, name, memo())
			conn := client(raw, trusting(a), name)
			if _, body := ask(t, conn, bufio.NewReader(conn), "GET / HTTP/1.1\r\nHost: "+name+"\r\n\r\n"); body != "no: GET "+name+"/" {
				t.Errorf("got %q", body)
			}
			_ = conn.Close()
			<-done
		})
	}
	all.Wait()
	if got := metric(t, registry, "sallyport_proxy_interception_leaves_signed_total"); got != names {
		t.Errorf("%v signatures for %d names", got, names)
	}
	if got := metric(t, registry, "sallyport_proxy_intercepted_total{shown}"); got != clients {
		t.Errorf("%v pages for %d clients", got, clients)
	}
}

// TestTLSConfig is for a listener that has nothing to replay.
func TestTLSConfig(t *testing.T) {
	a, _ := loaded(t, "zoom.us")
	for name, want := range map[string]bool{"www.zoom.us": true, "zoom.com": false} {
		raw, server := connected(t)
		done := make(chan error, 1)
		go func() { done <- tls.Server(server, a.TLSConfig()).Handshake() }()
		err := client(raw, trusting(a), name).Handshake()
		if (err == nil) != want || (wait(t, done) == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRealHellos answers what real programs send, as far as a handshake goes
// with a client that says nothing more.
func TestRealHellos(t *testing.T) {
	for name, hello := range realHellos(t) {
		t.Run(name, func(t *testing.T) {
			a, registry := loaded(t, "zoom.us")
			raw, server := connected(t)
			done := make(chan bool, 1)
			go func() { done <- a.Serve(t.Context(), server, slices.Clone(hello), "us04web.zoom.us", memo()) }()
			first := make([]byte, 6)
			if _, err := io.ReadFull(raw, first); err != nil {
				t.Fatal(err)
			}
			if first[0] != 22 || first[5] != 2 {
				t.Errorf("the answer begins with % x: want a ServerHello", first)
			}
			_ = raw.Close()
			wait(t, done)
			wantResult(t, registry, resultUntrusted)
		})
	}
}
