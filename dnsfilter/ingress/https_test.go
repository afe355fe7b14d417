package ingress

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// webClient is a client with connections of its own.
func (s *setServer) webClient(h2 bool, certificate *tls.Certificate) *http.Client {
	config := s.tls()
	if certificate != nil {
		config.Certificates = []tls.Certificate{*certificate}
	}
	var protocols http.Protocols
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, Protocols: &protocols}}
}

func transportOf(c *http.Client) *http.Transport { return c.Transport.(*http.Transport) }

func (s *setServer) url(t testing.TB, query []byte) string {
	return "https://" + s.address(t, "dns https") + "/dns-query?dns=" + base64.RawURLEncoding.EncodeToString(query)
}

// get asks by GET, and closes the connection.
func (s *setServer) get(t testing.TB, client *http.Client, query []byte) (*http.Response, []byte) {
	t.Helper()
	defer client.CloseIdleConnections()
	response, err := client.Get(s.url(t, query))
	if err != nil {
		t.Fatal(err)
	}
	return response, body(t, response)
}

func body(t testing.TB, r *http.Response) []byte {
	t.Helper()
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func onlyHTTPS(c *Config, _ *Dependencies) { c.Listen, c.TLS, c.QUIC = nil, Endpoint{}, Endpoint{} }

func TestDoHRequests(t *testing.T) {
	s := openSet(t, func(c *Config, d *Dependencies) {
		onlyHTTPS(c, d)
		d.PathPeer = func(id string) (*Peer, bool) {
			return &Peer{Devices: []string{"laptop"}, Source: "path"}, id == "laptop.good"
		}
	})
	query := packQuestion(t, 0, "now.example")
	long := make([]byte, 4096)
	copy(long, query)
	response := bytes.Clone(query)
	response[2] |= 0x80
	base := "https://" + s.address(t, "dns https")
	get := func(wire []byte) string { return "/dns-query?dns=" + base64.RawURLEncoding.EncodeToString(wire) }
	post := func(wire []byte) io.Reader { return bytes.NewReader(wire) }
	// Of a reader that it does not know, net/http does not know the length.
	type unknown struct{ *bytes.Reader }
	unknownLength := func(wire []byte) io.Reader { return unknown{bytes.NewReader(wire)} }
	tests := []struct {
		name        string
		method      string
		path        string
		contentType string
		body        io.Reader
		want        int
	}{
		{"GET", "GET", get(query), "", nil, 200},
		{"HEAD", "HEAD", get(query), "", nil, 200},
		{"GET, slow", "GET", get(packQuestion(t, 0, "later.example")), "", nil, 200},
		{"GET among parameters", "GET", "/dns-query?x=1&dns=" + base64.RawURLEncoding.EncodeToString(query) + "&ct", "", nil, 200},
		{"GET, escaped", "GET", "/dns-query?dns=" + strings.ReplaceAll(base64.RawURLEncoding.EncodeToString(query), "A", "%41"), "", nil, 200},
		{"GET, longest", "GET", get(long), "", nil, 200},
		{"GET, longer", "GET", get(append(long, 0)), "", nil, 414},
		{"GET, padded", "GET", "/dns-query?dns=" + base64.URLEncoding.EncodeToString(append(query, 0, 0)), "", nil, 400},
		{"GET, standard base64", "GET", "/dns-query?dns=AAAB/+//AAABAAAAAAAA", "", nil, 400},
		{"GET without", "GET", "/dns-query", "", nil, 400},
		{"GET, empty", "GET", "/dns-query?dns=", "", nil, 400},
		{"GET, twice", "GET", get(query) + "&dns=AAAA", "", nil, 400},
		{"GET, short", "GET", get(query[:11]), "", nil, 400},
		{"GET, bad escape", "GET", "/dns-query?dns=AA%4", "", nil, 400},
		{"GET, a response", "GET", get(response), "", nil, 400},
		{"GET, silence", "GET", get(packQuestion(t, 0, "silent.example")), "", nil, 503},
		{"POST", "POST", "/dns-query", "application/dns-message", post(query), 200},
		{"POST, a parameter of the type", "POST", "/dns-query", "Application/DNS-Message; v=1", post(query), 200},
		{"POST, longest", "POST", "/dns-query", "application/dns-message", post(long), 200},
		{"POST, longest, length not said", "POST", "/dns-query", "application/dns-message", unknownLength(long), 200},
		{"POST, longer", "POST", "/dns-query", "application/dns-message", post(append(long, 0)), 413},
		{"POST, longer, length not said", "POST", "/dns-query", "application/dns-message", unknownLength(append(long, 0)), 413},
		{"POST, short", "POST", "/dns-query", "application/dns-message", post(query[:11]), 400},
		{"POST, nothing", "POST", "/dns-query", "application/dns-message", nil, 400},
		{"POST, no type", "POST", "/dns-query", "", post(query), 415},
		{"POST, another type", "POST", "/dns-query", "application/dns-json", post(query), 415},
		{"PUT", "PUT", "/dns-query", "application/dns-message", post(query), 405},
		{"DELETE", "DELETE", "/dns-query", "", nil, 405},
		{"OPTIONS", "OPTIONS", "/dns-query", "", nil, 405},
		{"another path", "GET", "/" + get(query)[4:], "", nil, 404},
		{"the root", "GET", "/", "", nil, 404},
		{"a path that begins so", "GET", "/dns-queryx?dns=" + base64.RawURLEncoding.EncodeToString(query), "", nil, 404},
		{"id", "GET", strings.Replace(get(query), "?", "/laptop.good?", 1), "", nil, 200},
		{"another's id", "GET", strings.Replace(get(query), "?", "/laptop.bad?", 1), "", nil, 403},
		{"no id", "GET", strings.Replace(get(query), "?", "/?", 1), "", nil, 404},
		{"id and more", "GET", strings.Replace(get(query), "?", "/laptop.good/x?", 1), "", nil, 404},
		{"long id", "GET", strings.Replace(get(query), "?", "/"+strings.Repeat("x", 257)+"?", 1), "", nil, 404},
	}
	for _, h2 := range []bool{false, true} {
		client := s.webClient(h2, nil)
		defer client.CloseIdleConnections()
		for _, test := range tests {
			t.Run(fmt.Sprintf("%s, HTTP/2 %v", test.name, h2), func(t *testing.T) {
				if seeker, ok := test.body.(io.Seeker); ok {
					_, _ = seeker.Seek(0, io.SeekStart)
				}
				r, err := http.NewRequestWithContext(t.Context(), test.method, base+test.path, test.body)
				if err != nil {
					t.Fatal(err)
				}
				if test.contentType != "" {
					r.Header.Set("Content-Type", test.contentType)
				}
				r.Header.Set("X-Forwarded-For", "192.0.2.99")
				r.Header.Set("Forwarded", "for=192.0.2.99")
				got, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				reply := body(t, got)
				if got.StatusCode != test.want {
					t.Fatalf("status %d, want %d", got.StatusCode, test.want)
				}
				if got.ProtoMajor == 2 != h2 {
					t.Errorf("protocol %s", got.Proto)
				}
				checkDoH(t, s, r, got, reply)
			})
		}
	}
}

// checkDoH checks what goes with each status.
func checkDoH(t *testing.T, s *setServer, r *http.Request, got *http.Response, reply []byte) {
	t.Helper()
	cache := got.Header.Get("Cache-Control")
	if got.StatusCode != http.StatusOK {
		if cache != "no-store" {
			t.Errorf("Cache-Control %q", cache)
		}
		if got.StatusCode == http.StatusMethodNotAllowed && got.Header.Get("Allow") != "GET, HEAD, POST" {
			t.Errorf("Allow %q", got.Header.Get("Allow"))
		}
		return
	}
	if kind := got.Header.Get("Content-Type"); kind != "application/dns-message" {
		t.Errorf("Content-Type %q", kind)
	}
	if cache != "private, max-age=0" {
		t.Errorf("Cache-Control %q", cache)
	}
	if r.Method == http.MethodHead {
		if len(reply) > 0 || got.ContentLength < 12 {
			t.Errorf("HEAD gets a body of %d bytes, Content-Length %d", len(reply), got.ContentLength)
		}
	} else if len(reply) < 12 || reply[2]&0x80 == 0 {
		t.Errorf("reply %x", reply)
	}
	q := s.door.last(t)
	if !q.Client.Addr().IsLoopback() || q.Client.Port() == 0 || q.Transport != HTTPS {
		t.Errorf("the door saw %s by %s", q.Client, q.Transport)
	}
	if named := strings.Contains(r.URL.Path, "laptop.good"); named != (q.Peer != nil) {
		t.Errorf("the door saw the peer %+v", q.Peer)
	}
}

func FuzzDoHParameter(f *testing.F) {
	for _, seed := range []string{"dns=AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB", "dns=", "x&dns=AA%41A", "dns=AA&dns=AA", "dns=A==", "dns=AA\nAA"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, rawQuery string) {
		x := newExchanges().get()
		if x.readParameter(rawQuery) != http.StatusOK {
			return
		}
		// What net/url makes of it must be the same.
		values, err := url.ParseQuery(rawQuery)
		if strings.Contains(rawQuery, ";") {
			return // which net/url refuses
		}
		if err == nil && base64.RawURLEncoding.EncodeToString(x.wire) != values.Get("dns") {
			t.Errorf("%q gives %x", rawQuery, x.wire)
		}
	})
}

func TestDoHBusy(t *testing.T) {
	s := openSet(t, func(c *Config, d *Dependencies) {
		onlyHTTPS(c, d)
		c.MaxQueries = 1
	})
	client := s.webClient(true, nil)
	defer client.CloseIdleConnections()
	first := make(chan int, 1)
	go func() {
		response, err := client.Get(s.url(t, packQuestion(t, 0, "held.example")))
		if err != nil {
			first <- 0
			return
		}
		response.Body.Close()
		first <- response.StatusCode
	}()
	eventually(t, "the place is taken", func() bool { return s.door.held.Load() == 1 })
	for name, want := range map[string]int{"later.example": 503, "now.example": 200} {
		response, err := client.Get(s.url(t, packQuestion(t, 0, name)))
		if err != nil {
			t.Fatal(err)
		}
		body(t, response)
		if response.StatusCode != want {
			t.Errorf("%s: status %d, want %d", name, response.StatusCode, want)
		}
		if want == 503 && response.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	if s.shed.of(ShedBusy) != 1 {
		t.Error("nothing was counted")
	}
	close(s.door.hold)
	if status := <-first; status != 200 {
		t.Errorf("the one that was held: %d", status)
	}
}

// A client that goes away ends what is done for it.
func TestDoHClientGone(t *testing.T) {
	s := openSet(t, onlyHTTPS)
	ctx, cancel := context.WithCancel(t.Context())
	client := s.webClient(true, nil)
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, "GET", s.url(t, packQuestion(t, 0, "held.example")), nil)
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if response, err := client.Do(r); err == nil {
			response.Body.Close()
		}
	}()
	eventually(t, "it is held", func() bool { return s.Busy() == 1 })
	cancel()
	<-gone
	eventually(t, "the place is free", func() bool { return s.Busy() == 0 })
}

// A body has so long to arrive, whether anybody wants it or not.
func TestDoHSlowBody(t *testing.T) {
	s := openSet(t, func(c *Config, d *Dependencies) {
		onlyHTTPS(c, d)
		c.Idle = time.Second
	})
	for _, test := range []struct {
		contentType string
		want        int
	}{{messageType, http.StatusRequestTimeout}, {"text/plain", http.StatusUnsupportedMediaType}} {
		conn, err := dialTLS(t, s.address(t, "dns https"), s.tls("http/1.1"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST /dns-query HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: 40\r\n\r\n123", test.contentType)
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		body(t, response)
		if response.StatusCode != test.want {
			t.Errorf("status %d, want %d", response.StatusCode, test.want)
		}
	}
	eventually(t, "both connections are closed", func() bool { return s.Conns(HTTPS) == 0 })
}

// An answer may take longer than a client may take to ask.
func TestDoHSlowAnswer(t *testing.T) {
	const idle = 2 * time.Second
	s := openSet(t, func(c *Config, d *Dependencies) {
		withHTTP3(c, d)
		c.Idle = idle
	})
	clients := []*http.Client{s.webClient(false, nil), s.webClient(true, nil), s.web3Client(t)}
	replies := make(chan error, 2*len(clients))
	for _, client := range clients {
		defer client.CloseIdleConnections()
		for _, method := range []string{"GET", "POST"} {
			go func() { replies <- askSlowly(s.url(t, packQuestion(t, 0, "held.example")), method, client) }()
		}
	}
	eventually(t, "all are held", func() bool { return int(s.door.held.Load()) == cap(replies) })
	time.Sleep(idle * 3 / 2) // the test holds however long it takes
	close(s.door.hold)
	for range cap(replies) {
		if err := <-replies; err != nil {
			t.Error(err)
		}
	}
}

func askSlowly(target, method string, client *http.Client) error {
	var content io.Reader
	if method == "POST" {
		query, _ := base64.RawURLEncoding.DecodeString(target[strings.Index(target, "=")+1:])
		content = bytes.NewReader(query)
	}
	r, err := http.NewRequest(method, target, content)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", messageType)
	response, err := client.Do(r)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s by %s: %s", method, response.Proto, response.Status)
	}
	return nil
}

// Strangers are told once a connection.
func TestDoHStrangers(t *testing.T) {
	s := openSet(t, func(c *Config, d *Dependencies) {
		onlyHTTPS(c, d)
		d.Known = nobodyFrom("127.")
	})
	for _, h2 := range []bool{false, true} {
		client := s.webClient(h2, nil)
		response, err := client.Get(s.url(t, packQuestion(t, 0, "now.example")))
		if err != nil {
			t.Fatal(err)
		}
		if len(body(t, response)) == 0 {
			t.Error("no reply")
		}
		eventually(t, "the connection is closed", func() bool { return s.Conns(HTTPS) == 0 })
	}
}

func TestDoHPlainText(t *testing.T) {
	s := openSet(t, onlyHTTPS)
	conn, err := net.Dial("tcp", s.address(t, "dns https"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /dns-query HTTP/1.1\r\nHost: x\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != 400 {
		t.Errorf("status %d", response.StatusCode)
	}
	eventually(t, "it is counted", func() bool { return s.shed.of(ShedHandshake) == 1 })
}

func TestDoHStreamBound(t *testing.T) {
	s := openSet(t, onlyHTTPS)
	conn, err := dialTLS(t, s.address(t, "dns https"), s.tls("h2"))
	if err != nil {
		t.Fatal(err)
	}
	sendAll(t, conn, []byte(http2.ClientPreface))
	framer := http2.NewFramer(conn, conn)
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	frame, err := framer.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	settings, ok := frame.(*http2.SettingsFrame)
	if !ok {
		t.Fatalf("first frame %v", frame)
	}
	if n, ok := settings.Value(http2.SettingMaxConcurrentStreams); !ok || n != maxHTTPStreams {
		t.Errorf("%d streams at a time", n)
	}
}
