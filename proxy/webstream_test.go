package proxy

//lint:file-ignore SA1019 net/http has no client that speaks HTTP/2 to its proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/sallyport/sallyport/policy"
)

// session is a client's connection to the proxy that speaks HTTP/2.
type session struct {
	*http2.ClientConn
	t    *testing.T
	conn *secureClient
}

func (d *secureDoor) session(config *tls.Config) *session {
	d.t.Helper()
	if config == nil {
		config = d.config("h2")
	}
	conn, err := d.trySecure("", config)
	if err != nil {
		d.t.Fatal(err)
	}
	if got := conn.ConnectionState().NegotiatedProtocol; got != "h2" {
		d.t.Fatalf("the proxy speaks %q", got)
	}
	_ = conn.SetDeadline(time.Time{}) // every wait has its own
	c, err := (&http2.Transport{DisableCompression: true}).NewClientConn(conn)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = c.Close() })
	return &session{ClientConn: c, t: d.t, conn: conn}
}

// stream is a tunnel in a session.
type stream struct {
	t      *testing.T
	up     *io.PipeWriter
	down   *http.Response
	cancel context.CancelFunc
}

// ask sends a CONNECT, with one more header field or none.
func (s *session) ask(target, field string) (*stream, error) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s.t.Cleanup(cancel)
	body, up := io.Pipe()
	r := (&http.Request{Method: http.MethodConnect, URL: &url.URL{Scheme: "https", Host: target}, Host: target, Body: body, Header: http.Header{}}).WithContext(ctx)
	if name, value, ok := strings.Cut(field, ":"); ok {
		r.Header.Set(name, strings.TrimSpace(value))
	}
	late := time.AfterFunc(patience, cancel)
	defer late.Stop()
	down, err := s.RoundTrip(r)
	if err != nil {
		cancel()
		return nil, err
	}
	gone := func() {
		cancel()
		_ = up.CloseWithError(context.Canceled) // the library notices only then
	}
	s.t.Cleanup(gone)
	return &stream{t: s.t, up: up, down: down, cancel: gone}, nil
}

func (s *session) openWith(target, field string) *stream {
	s.t.Helper()
	c, err := s.ask(target, field)
	if err != nil {
		s.t.Fatal(err)
	}
	if c.down.StatusCode != http.StatusOK {
		s.t.Fatalf("CONNECT %s: %s", target, c.down.Status)
	}
	return c
}

func (s *session) open(target string) *stream { s.t.Helper(); return s.openWith(target, "") }

// within fails the test if something takes too long.
func within(t *testing.T, what string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s takes too long", what)
	}
}

func (c *stream) send(text string) {
	c.t.Helper()
	within(c.t, "sending", func() { _, _ = io.WriteString(c.up, text) })
}

func (c *stream) read(n int) string {
	c.t.Helper()
	buffer := make([]byte, n)
	within(c.t, "reading", func() {
		if _, err := io.ReadFull(c.down.Body, buffer); err != nil {
			c.t.Errorf("read %d bytes: %v", n, err)
		}
	})
	return string(buffer)
}

func (c *stream) echo(text string) string { c.t.Helper(); c.send(text); return c.read(len(text)) }

// rest is all that still comes, and how it ends.
func (c *stream) rest() (text string, err error) {
	c.t.Helper()
	within(c.t, "the end", func() {
		var data []byte
		data, err = io.ReadAll(c.down.Body)
		text = string(data)
	})
	return text, err
}

// end says that the client has nothing more to send, and waits for the end.
func (c *stream) end() {
	c.t.Helper()
	_ = c.up.Close()
	if rest, err := c.rest(); rest != "" || err != nil {
		c.t.Errorf("the tunnel ends with %q, %v", rest, err)
	}
}

// plain asks for something without a tunnel.
func (s *session) plain(r *http.Request) (*http.Response, string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	response, err := s.RoundTrip(r.WithContext(ctx))
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response, string(body)
}

func TestStreamsAreTunnels(t *testing.T) {
	const many = 100
	d := openSecure(t, nil)
	where := origin(t, echoing)
	s := d.session(nil)
	var streams []*stream
	for range many {
		streams = append(streams, s.open(where.String()))
	}
	for i, c := range streams {
		if text := fmt.Sprintf("hello %d", i); c.echo(text) != text {
			t.Errorf("no echo of %q", text)
		}
	}
	d.awaitMetric(many, "sallyport_proxy_tunnels")
	if got := d.crowd.size(); got != 1 {
		t.Errorf("%d connections are counted", got)
	}
	for _, c := range streams {
		c.end()
	}
	decisions, ends := d.await(many, many)
	for i := range many {
		if decisions[i].Transport != "connect" || decisions[i].Client != netip.MustParseAddr("127.0.0.1") || decisions[i].Verdict.Action != policy.ActionAllow {
			t.Errorf("decision %+v", decisions[i])
		}
		if ends[i].BytesUp < 7 || ends[i].BytesUp != ends[i].BytesDown || ends[i].ClosedBy != closedByClient {
			t.Errorf("end %+v", ends[i])
		}
	}
	d.awaitMetric(0, "sallyport_proxy_tunnels")
	if got := d.metric("sallyport_proxy_requests_total", "connect", "200"); got != many {
		t.Errorf("%v requests counted", got)
	}
	_ = s.Close()
	eventually(t, "nobody is inside", func() bool { return d.crowd.size() == 0 })
}

// A refusal says no more than that of its stream: the others go on, and the
// connection is good for more.
func TestStreamRefusals(t *testing.T) {
	d := openSecure(t, nil)
	where := origin(t, echoing)
	s := d.session(nil)
	open := s.open(where.String())
	for _, test := range []struct {
		target string
		status int
	}{{"us04web.zoom.us:443", http.StatusForbidden}, {"nonsense", http.StatusBadRequest}, {"nowhere.example:443", http.StatusBadGateway}} {
		c, err := s.ask(test.target, "Accept: text/html")
		if err != nil {
			t.Fatal(err)
		}
		c.send("what was for the tunnel")
		body, err := c.rest()
		if c.down.StatusCode != test.status || err != nil || body == "" {
			t.Errorf("%s: %s, %q, %v", test.target, c.down.Status, body, err)
		}
		if test.status == http.StatusForbidden && (c.down.Header.Get("X-Sallyport-Rule") != "zoom-memo" || !strings.Contains(body, "Privacy and security concerns")) {
			t.Errorf("%v\n%s", c.down.Header, body)
		}
	}
	if got := open.echo("still here"); got != "still here" {
		t.Errorf("echo %q", got)
	}
	if got := s.open(where.String()).echo("another"); got != "another" {
		t.Errorf("echo %q", got)
	}
}

func TestStreamPasswords(t *testing.T) {
	d := openSecure(t, passwords)
	d.decide(forAlice)
	where := origin(t, echoing)
	d.name("zoom.us", "127.0.0.1")
	s := d.session(nil)
	c, err := s.ask(at(where.Port(), "zoom.us"), "")
	if err != nil {
		t.Fatal(err)
	}
	if c.down.StatusCode != http.StatusProxyAuthRequired || !strings.HasPrefix(c.down.Header.Get("Proxy-Authenticate"), "Basic realm=") {
		t.Errorf("%s %v", c.down.Status, c.down.Header)
	}
	field := "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("alice:secret"))
	if got := s.openWith(at(where.Port(), "zoom.us"), field).echo("hello"); got != "hello" {
		t.Errorf("echo %q", got)
	}
}

// What a client has sent last arrives, and the answer to it comes back.
func TestStreamHalfClosedByClient(t *testing.T) {
	d := openSecure(t, nil)
	where := origin(t, func(conn *net.TCPConn) {
		data, _ := io.ReadAll(conn)
		_, _ = conn.Write([]byte(strings.ToUpper(string(data))))
	})
	c := d.session(nil).open(where.String())
	c.send("all that there is")
	_ = c.up.Close()
	if rest, err := c.rest(); rest != "ALL THAT THERE IS" || err != nil {
		t.Errorf("got %q, %v", rest, err)
	}
	d.await(1, 1)
}

func TestStreamClosedByOrigin(t *testing.T) {
	d := openSecure(t, nil)
	where := origin(t, func(conn *net.TCPConn) { _, _ = conn.Write([]byte("goodbye")) })
	c := d.session(nil).open(where.String())
	if rest, err := c.rest(); rest != "goodbye" || err != nil {
		t.Errorf("got %q, %v", rest, err)
	}
	if _, ends := d.await(1, 1); ends[0].ClosedBy != closedByUpstream || ends[0].BytesDown != 7 {
		t.Errorf("end %+v", ends[0])
	}
}

// A stream that the client resets ends its tunnel and no other.
func TestStreamReset(t *testing.T) {
	d := openSecure(t, nil)
	ended := make(chan struct{}, 2)
	where := origin(t, func(conn *net.TCPConn) {
		echoing(conn)
		ended <- struct{}{}
	})
	s := d.session(nil)
	gone, stays := s.open(where.String()), s.open(where.String())
	gone.echo("hello")
	gone.cancel()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("the origin was not told")
	}
	if _, ends := d.await(1, 1); ends[0].ClosedBy != closedByClient {
		t.Errorf("end %+v", ends[0])
	}
	if got := stays.echo("still here"); got != "still here" {
		t.Errorf("echo %q", got)
	}
}

// A policy ends exactly the streams that it refuses, also those in which nobody
// reads what the origin sends.
func TestStreamRecheck(t *testing.T) {
	d := openSecure(t, nil)
	d.decide(func(*policy.Request) policy.Verdict { return allowed() })
	where := origin(t, echoing)
	flood := origin(t, func(conn *net.TCPConn) {
		for {
			if _, err := conn.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	d.name("zoom.us", "127.0.0.1")
	d.name("us04web.zoom.us", "127.0.0.1")
	s := d.session(nil)
	quiet, stuck := s.open(at(where.Port(), "zoom.us")), s.open(at(flood.Port(), "us04web.zoom.us"))
	fine := s.open(where.String())
	quiet.echo("hello")
	fine.echo("hello")
	before := 0.0
	eventually(t, "nothing moves any more", func() bool {
		now := d.metric("sallyport_proxy_tunnel_bytes_total", "down")
		still := now == before && now > 1<<16
		before = now
		time.Sleep(20 * time.Millisecond)
		return still
	})
	d.decide(memo)
	if result := d.Recheck(); result != (RecheckResult{Checked: 3, Closed: 2}) {
		t.Errorf("%+v", result)
	}
	_, ends := d.await(3, 2)
	for _, end := range ends {
		if end.ClosedBy != closedByPolicy || end.Rule != "zoom-memo" {
			t.Errorf("end %+v", end)
		}
	}
	if rest, _ := quiet.rest(); rest != "" {
		t.Errorf("got %q", rest)
	}
	if _, err := stuck.rest(); err == nil {
		t.Error("a stream that was cut short looks whole")
	}
	if got := fine.echo("still here"); got != "still here" {
		t.Errorf("echo %q", got)
	}
}

func TestStreamBulk(t *testing.T) {
	d := openSecure(t, nil)
	where := origin(t, echoing)
	s := d.session(nil)
	data := make([]byte, 6<<20)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(data)
	var running sync.WaitGroup
	for range 4 {
		c := s.open(where.String())
		running.Go(func() {
			_, _ = c.up.Write(data)
			_ = c.up.Close()
		})
		running.Go(func() {
			sum := sha256.New()
			n, err := io.Copy(sum, c.down.Body)
			if n != int64(len(data)) || err != nil || !bytes.Equal(sum.Sum(nil), func() []byte { s := sha256.Sum256(data); return s[:] }()) {
				t.Errorf("%d bytes came back of %d, %v", n, len(data), err)
			}
		})
	}
	within(t, "moving 48 MB", running.Wait)
	d.await(4, 4)
}

func TestStreamIdle(t *testing.T) {
	d := openSecure(t, func(c *Config, _ *Dependencies) { c.Timeouts.Idle = 300 * time.Millisecond })
	where := origin(t, echoing)
	c := d.session(nil).open(where.String())
	c.echo("hello")
	_, _ = c.rest()
	if _, ends := d.await(1, 1); ends[0].ClosedBy != closedByIdle {
		t.Errorf("end %+v", ends[0])
	}
	eventually(t, "a connection without streams is closed", func() bool { return d.crowd.size() == 0 })
}

func TestHeadOfStream(t *testing.T) {
	for host, ok := range map[string]bool{"": true, "fine.example": true, "zoom.us": false} {
		r := &http.Request{Host: "fine.example", Header: http.Header{}}
		if host != "" {
			r.Header.Add("Host", "fine.example")
			r.Header.Add("Host", host)
		}
		if head, err := headOfStream(r); (err == nil) != ok || ok && head.host != "fine.example" {
			t.Errorf("%q: %+v, %v", host, head, err)
		}
	}
}

// tunnelConn is a stream as a connection, for TLS in it.
type tunnelConn struct {
	net.Conn // for its addresses and deadlines
	*stream
}

func (c tunnelConn) Read(p []byte) (int, error)  { return c.down.Body.Read(p) }
func (c tunnelConn) Write(p []byte) (int, error) { return c.up.Write(p) }
func (c tunnelConn) Close() error                { c.cancel(); return nil }

func (c tunnelConn) SetDeadline(time.Time) error      { return nil }
func (c tunnelConn) SetReadDeadline(time.Time) error  { return nil }
func (c tunnelConn) SetWriteDeadline(time.Time) error { return nil }

func TestStreamJudgesServerName(t *testing.T) {
	d := openSecure(t, nil)
	server, where := secureOrigin(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	s := d.session(nil)
	for name, allowed := range map[string]bool{"example.com": true, "us04web.zoom.us": false} {
		c := s.open(where.String())
		within(t, "a handshake", func() {
			inner := tls.Client(tunnelConn{s.conn, c}, &tls.Config{RootCAs: roots, ServerName: name})
			err := inner.Handshake()
			if (err == nil) != allowed || !allowed && !strings.Contains(err.Error(), "access denied") {
				t.Errorf("%s: %v", name, err)
			}
			_ = inner.Close()
		})
	}
	d.await(2, 2)
}

// The page of a refusal is shown inside a stream as inside a connection: where
// the CONNECT was refused, and where the server name was.
func TestStreamShowsThePage(t *testing.T) {
	var secure *secureDoor
	plain, trusted := intercepting(t, func(c *Config, deps *Dependencies) {
		secure = openSecure(t, func(_ *Config, own *Dependencies) { own.Intercept = deps.Intercept })
	})
	_ = plain
	where := origin(t, echoing)
	s := secure.session(nil)
	for _, target := range []string{"us04web.zoom.us:443", where.String()} {
		c := s.openWith(target, "User-Agent: Mozilla/5.0")
		within(t, "the page", func() {
			inner := tls.Client(tunnelConn{s.conn, c}, &tls.Config{RootCAs: trusted, ServerName: "us04web.zoom.us"})
			_, _ = io.WriteString(inner, "GET / HTTP/1.1\r\nHost: us04web.zoom.us\r\nAccept: text/html\r\n\r\n")
			response, err := http.ReadResponse(newReader(inner), nil)
			if err != nil {
				t.Errorf("%s: %v", target, err)
				return
			}
			body, err := io.ReadAll(response.Body)
			if response.StatusCode != http.StatusForbidden || !strings.Contains(string(body), "Privacy and security concerns") || err != nil {
				t.Errorf("%s: %s, %v\n%s", target, response.Status, err, body)
			}
		})
		c.cancel()
	}
	if _, err := s.ask(where.String(), ""); err != nil {
		t.Errorf("the connection is good for nothing any more: %v", err)
	}
}

func TestStreamPlainRequests(t *testing.T) {
	d := openSecure(t, nil)
	type seen struct{ method, host, uri, body, via string }
	got := make(chan seen, 1)
	server := plainOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- seen{r.Method, r.Host, r.RequestURI, string(body), r.Header.Get("Via")}
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "hello")
		w.Header().Set("X-Sum", "5")
	})
	d.name("fine.example", "127.0.0.1")
	s := d.session(nil)
	target := at(server.Port(), "fine.example")
	request := func(method, path, body string) *http.Request {
		r, err := http.NewRequest(method, "http://"+target+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, test := range []struct{ method, path, body, uri string }{
		{http.MethodGet, "/a/b?c=d&e", "", "/a/b?c=d&e"},
		{http.MethodGet, "/%2Fa//b?", "", "/%2Fa//b?"},
		{http.MethodGet, "//zoom.us/x", "", "//zoom.us/x"},
		{http.MethodPost, "/", "the content", "/"},
	} {
		response, body := s.plain(request(test.method, test.path, test.body))
		if response.StatusCode != http.StatusOK || body != "hello" || response.Trailer.Get("X-Sum") != "5" || response.Header.Get("Connection") != "" {
			t.Errorf("%s: %s %v %q %v", test.path, response.Status, response.Header, body, response.Trailer)
			continue
		}
		if saw := <-got; saw.method != test.method || saw.host != target || saw.uri != test.uri || saw.body != test.body || !strings.HasPrefix(saw.via, "2.0 sallyport") {
			t.Errorf("the origin saw %+v, want %+v", saw, test)
		}
	}
	decisions, _ := d.await(4, 0)
	if decisions[0].Transport != "http" || decisions[0].Host.String() != "fine.example" || decisions[0].Port != server.Port() {
		t.Errorf("decision %+v", decisions[0])
	}
	if n := d.metric("sallyport_proxy_requests_total", "http", "200"); n != 4 {
		t.Errorf("%v requests counted", n)
	}
}

// A client that is still sending hears no at once, and stops.
func TestStreamRefusesPlainRequests(t *testing.T) {
	d := openSecure(t, nil)
	s := d.session(nil)
	endless, up := io.Pipe()
	defer up.Close()
	go func() {
		for {
			if _, err := up.Write(make([]byte, 32<<10)); err != nil {
				return
			}
		}
	}()
	for name, test := range map[string]struct {
		r      *http.Request
		status int
	}{
		"refused":             {&http.Request{Method: http.MethodGet, URL: mustParse("http://zoom.us/")}, http.StatusForbidden},
		"refused, and sends":  {&http.Request{Method: http.MethodPost, URL: mustParse("http://zoom.us/"), Body: endless, ContentLength: -1}, http.StatusForbidden},
		"https":               {&http.Request{Method: http.MethodGet, URL: mustParse("https://fine.example/")}, http.StatusBadRequest},
		"no host":             {&http.Request{Method: http.MethodGet, URL: mustParse("http://a..b/")}, http.StatusBadRequest},
		"TRACE":               {&http.Request{Method: http.MethodTrace, URL: mustParse("http://fine.example/")}, http.StatusBadRequest},
		"a name without host": {&http.Request{Method: http.MethodGet, URL: mustParse("http://nowhere.example/")}, http.StatusBadGateway},
	} {
		test.r.Header = http.Header{}
		response, body := s.plain(test.r)
		if response.StatusCode != test.status || body == "" {
			t.Errorf("%s: %s %q", name, response.Status, body)
		}
	}
	if !s.CanTakeNewRequest() {
		t.Error("the connection is good for nothing any more")
	}
}

func mustParse(text string) *url.URL {
	u, err := url.Parse(text)
	if err != nil {
		panic(err)
	}
	return u
}

// A body whose end is not known is sent on as it comes; and a policy ends it.
func TestStreamOfPlainRequest(t *testing.T) {
	d := openSecure(t, nil)
	d.decide(func(*policy.Request) policy.Verdict { return allowed() })
	more := make(chan struct{})
	server := plainOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		for i := 0; ; i++ {
			fmt.Fprintf(w, "line %d\n", i)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-more:
			case <-r.Context().Done():
				return
			}
		}
	})
	d.name("zoom.us", "127.0.0.1")
	s := d.session(nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at(server.Port(), "zoom.us")+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := s.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := newReader(response.Body)
	for i := range 3 {
		if line, err := lines.ReadString('\n'); line != fmt.Sprintf("line %d\n", i) {
			t.Fatalf("got %q, %v", line, err)
		}
		if i < 2 {
			more <- struct{}{}
		}
	}
	d.decide(memo)
	if result := d.Recheck(); result.Closed != 1 {
		t.Errorf("%+v", result)
	}
	if rest, err := io.ReadAll(lines); err == nil {
		t.Errorf("the answer looks whole: %q", rest)
	}
	d.decide(func(*policy.Request) policy.Verdict { return allowed() })
	c := s.open(origin(t, echoing).String())
	if got := c.echo("hello"); got != "hello" {
		t.Errorf("echo %q", got)
	}
}

// What a stream's handler leaves behind is not touched: a Recheck may come a
// moment too late.
func TestStreamWriterIsRetired(t *testing.T) {
	w := &streamWriter{ResponseWriter: nil}
	w.retire()
	past := time.Unix(1, 0)
	if err := http.NewResponseController(w).SetReadDeadline(past); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if err := http.NewResponseController(w).SetWriteDeadline(past); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func TestStreamLimits(t *testing.T) {
	d := openSecure(t, func(c *Config, _ *Dependencies) { c.MaxTunnels = 3 })
	where := origin(t, echoing)
	s := d.session(nil)
	for range 3 {
		s.open(where.String())
	}
	c, err := s.ask(where.String(), "")
	if err != nil {
		t.Fatal(err)
	}
	if c.down.StatusCode != http.StatusServiceUnavailable || c.down.Header.Get("Retry-After") == "" {
		t.Errorf("one too many: %s %v", c.down.Status, c.down.Header)
	}
}

func TestStreamStops(t *testing.T) {
	t.Run("for who is done", func(t *testing.T) {
		d := openSecure(t, nil)
		where := origin(t, echoing)
		s := d.session(nil)
		c := s.open(where.String())
		stopped := make(chan error, 1)
		go func() { stopped <- d.Shutdown(context.Background()) }()
		eventually(t, "no new streams are taken", func() bool { return !s.CanTakeNewRequest() })
		if got := c.echo("still here"); got != "still here" {
			t.Errorf("echo %q", got)
		}
		c.end()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	t.Run("without who is not", func(t *testing.T) {
		d := openSecure(t, nil)
		where := origin(t, echoing)
		d.session(nil) // with nothing in it
		c := d.session(nil).open(where.String())
		c.echo("hello")
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if err := d.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if _, ends := d.await(1, 1); ends[0].ClosedBy != closedByShutdown {
			t.Errorf("end %+v", ends[0])
		}
	})
	t.Run("without who is quiet", func(t *testing.T) {
		d := openSecure(t, nil)
		where := origin(t, echoing)
		d.session(nil).open(where.String()).echo("hello")
		if err := d.drain(context.Background(), 100*time.Millisecond, nil); err != nil {
			t.Error(err)
		}
		if _, ends := d.await(1, 1); ends[0].ClosedBy != closedByShutdown {
			t.Errorf("end %+v", ends[0])
		}
	})
}

func TestStreamBehindBalancer(t *testing.T) {
	d := openSecure(t, behindBalancers)
	where := origin(t, echoing)
	conn, err := d.trySecure(introduction4, d.config("h2"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := (&http2.Transport{}).NewClientConn(conn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := &session{ClientConn: c, t: t, conn: conn}
	s.open(where.String()).echo("hello")
	if decisions, _ := d.await(1, 0); decisions[0].Client != netip.MustParseAddr("192.0.2.7") {
		t.Errorf("decision %+v", decisions[0])
	}
}
