package proxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sallyport/sallyport/internal/testpki"
	"github.com/sallyport/sallyport/policy"
)

// secureDoor is a door that speaks TLS, besides.
type secureDoor struct {
	*door
	root *testpki.Authority
}

func openSecure(t *testing.T, adjust func(*Config, *Dependencies)) *secureDoor {
	t.Helper()
	d := &secureDoor{root: testpki.New(t, "root")}
	certificate, key := d.root.ServerFiles(t)
	d.door = open(t, func(c *Config, deps *Dependencies) {
		c.TLS = TLS{Listen: []string{"127.0.0.1:0"}, Certificate: certificate, Key: key}
		if adjust != nil {
			adjust(c, deps)
		}
	})
	return d
}

func (d *secureDoor) config(protocols ...string) *tls.Config {
	return &tls.Config{RootCAs: d.root.Pool(), ServerName: "127.0.0.1", NextProtos: protocols}
}

// secureClient is a client's TLS connection to the proxy.
type secureClient struct {
	*tls.Conn
	t      *testing.T
	reader *bufio.Reader
}

// secure opens a connection that speaks HTTP/1.1.
func (d *secureDoor) secure() *secureClient {
	d.t.Helper()
	c, err := d.trySecure("", d.config("http/1.1"))
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

// trySecure opens a connection that begins with something, and shakes hands.
func (d *secureDoor) trySecure(beginning string, config *tls.Config) (*secureClient, error) {
	d.t.Helper()
	bare := d.clientAt(d.listener("proxy tls"))
	bare.send(beginning)
	conn := tls.Client(bare.TCPConn, config)
	if err := conn.Handshake(); err != nil {
		return nil, err
	}
	return &secureClient{Conn: conn, t: d.t, reader: bufio.NewReader(conn)}, nil
}

func (c *secureClient) send(raw string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, raw); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

func (c *secureClient) answer(method string) (*http.Response, string) {
	c.t.Helper()
	return (&client{t: c.t, reader: c.reader}).answer(method)
}

func (c *secureClient) read(n int) string {
	c.t.Helper()
	return (&client{t: c.t, reader: c.reader}).read(n)
}

func (c *secureClient) echo(text string) string {
	c.t.Helper()
	c.send(text)
	return c.read(len(text))
}

// rest is all that still comes. The end may be a reset.
func (c *secureClient) rest() string {
	c.t.Helper()
	data, err := io.ReadAll(c.reader)
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		c.t.Fatalf("the connection was not closed; read %q", data)
	}
	return string(data)
}

func TestTLSConnect(t *testing.T) {
	d := openSecure(t, nil)
	where := origin(t, echoing)
	for i, config := range []*tls.Config{d.config(), d.config("http/1.1"), d.config("http/1.1", "h2"), func() *tls.Config {
		old := d.config("http/1.1")
		old.MaxVersion = tls.VersionTLS12
		return old
	}()} {
		config.NextProtos = slices.DeleteFunc(config.NextProtos, func(p string) bool { return p == "h2" })
		c, err := d.trySecure("", config)
		if err != nil {
			t.Fatal(err)
		}
		c.send(connectTo(where.String()) + "early")
		if response, body := c.answer(http.MethodConnect); response.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", response.Status, body)
		}
		if got := c.read(5); got != "early" {
			t.Errorf("echo %q", got)
		}
		if got := c.echo("hello"); got != "hello" {
			t.Errorf("echo %q", got)
		}
		if err := c.CloseWrite(); err != nil { // half-close
			t.Fatal(err)
		}
		if rest := c.rest(); rest != "" {
			t.Errorf("got %q", rest)
		}
		decisions, ends := d.await(i+1, i+1)
		if decision := decisions[i]; decision.Transport != "connect" || decision.Client != netip.MustParseAddr("127.0.0.1") {
			t.Errorf("decision %+v", decision)
		}
		if end := ends[i]; end.BytesUp != 10 || end.BytesDown != 10 || end.ClosedBy != closedByClient {
			t.Errorf("end %+v", end)
		}
	}
	eventually(t, "nobody is inside", func() bool { return d.crowd.size() == 0 })
}

// Much in both directions at once.
func TestTLSBulk(t *testing.T) {
	d := openSecure(t, nil)
	where := origin(t, echoing)
	c := d.secure()
	c.send(connectTo(where.String()))
	c.answer(http.MethodConnect)
	data := bytes.Repeat([]byte("sallyport"), 500_000)
	var sending sync.WaitGroup
	sending.Go(func() {
		_, _ = c.Write(data)
		_ = c.CloseWrite()
	})
	got, err := io.ReadAll(c.reader)
	sending.Wait()
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes came back of %d, %v", len(got), len(data), err)
	}
}

// The connection of a refusal serves the next request, unless something has come
// behind the first that may have been meant for a tunnel: in the same record, or
// in one that TLS has read along.
func TestTLSRefusals(t *testing.T) {
	d := openSecure(t, nil)
	where := origin(t, echoing)
	c := d.secure()
	for range 2 {
		c.send(connectTo("zoom.us:443"))
		response, body := c.answer(http.MethodConnect)
		if response.StatusCode != http.StatusForbidden || response.Close || !strings.Contains(body, "Privacy and security concerns") {
			t.Fatalf("%s %v\n%s", response.Status, response.Header, body)
		}
	}
	c.send(connectTo(where.String()))
	if response, _ := c.answer(http.MethodConnect); response.StatusCode != http.StatusOK {
		t.Fatalf("the next request: %s", response.Status)
	}

	refused, behind := connectTo("zoom.us:443"), connectTo(where.String())
	for name, records := range map[string][]string{"in the same record": {refused + behind}, "in the next": {refused, behind}} {
		before, _ := d.recorded()
		bare := d.clientAt(d.listener("proxy tls"))
		gathered := &gatheringConn{TCPConn: bare.TCPConn}
		conn := tls.Client(gathered, d.config("http/1.1"))
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		c := &secureClient{Conn: conn, t: t, reader: bufio.NewReader(conn)}
		gathered.gather = true
		for _, record := range records {
			c.send(record)
		}
		gathered.flush(t)
		response, _ := c.answer(http.MethodConnect)
		if response.StatusCode != http.StatusForbidden || !response.Close {
			t.Errorf("%s: %s %v", name, response.Status, response.Header)
		}
		if rest := c.rest(); rest != "" {
			t.Errorf("%s: got %q", name, rest)
		}
		if after, _ := d.recorded(); len(after) != len(before)+1 {
			t.Errorf("%s: %d decisions", name, len(after)-len(before))
		}
	}
	eventually(t, "nobody is inside but the tunnel", func() bool { return d.crowd.size() == 0 })
}

// gatheringConn sends what is written to it in one piece.
type gatheringConn struct {
	*net.TCPConn
	gather bool
	held   []byte
}

func (c *gatheringConn) Write(p []byte) (int, error) {
	if !c.gather {
		return c.TCPConn.Write(p)
	}
	c.held = append(c.held, p...)
	return len(p), nil
}

func (c *gatheringConn) flush(t *testing.T) {
	t.Helper()
	c.gather = false
	if _, err := c.TCPConn.Write(c.held); err != nil {
		t.Fatal(err)
	}
}

// What net/http serves goes inside TLS, too, and a CONNECT behind it.
func TestTLSPlainRequests(t *testing.T) {
	d := openSecure(t, nil)
	where := origin(t, echoing)
	server := plainOrigin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	c := d.secure()
	for range 2 {
		c.send("POST http://" + server.String() + "/ HTTP/1.1\r\nHost: " + server.String() + "\r\nContent-Length: 5\r\n\r\nhello")
		if response, body := c.answer(http.MethodPost); response.StatusCode != http.StatusOK || body != "hello" {
			t.Errorf("%s: %s", response.Status, body)
		}
	}
	c.send(getting("http://zoom.us/"))
	if response, _ := c.answer(http.MethodGet); response.StatusCode != http.StatusForbidden {
		t.Errorf("got %s", response.Status)
	}
	c.send(connectTo(where.String()) + "early")
	if response, _ := c.answer(http.MethodConnect); response.StatusCode != http.StatusOK {
		t.Fatalf("got %s", response.Status)
	}
	if got := c.read(5); got != "early" {
		t.Errorf("echo %q", got)
	}
	decisions, _ := d.await(4, 0)
	for i, transport := range []string{"http", "http", "http", "connect"} {
		if decisions[i].Transport != transport {
			t.Errorf("decision %+v", decisions[i])
		}
	}
	// A refused CONNECT behind a plain request ends the connection: net/http may
	// have read on, and nobody can tell how far.
	c = d.secure()
	c.send(getting("http://" + server.String() + "/"))
	c.answer(http.MethodGet)
	c.send(connectTo("zoom.us:443"))
	if response, _ := c.answer(http.MethodConnect); response.StatusCode != http.StatusForbidden || !response.Close {
		t.Errorf("%s %v", response.Status, response.Header)
	}
	if rest := c.rest(); rest != "" {
		t.Errorf("got %q", rest)
	}
}

// The page of a refusal inside a tunnel goes through the TLS to the proxy.
func TestTLSJudgesServerName(t *testing.T) {
	d := openSecure(t, nil)
	server, where := secureOrigin(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	for name, allowed := range map[string]bool{"example.com": true, "us04web.zoom.us": false} {
		c := d.secure()
		c.send(connectTo(where.String()))
		c.answer(http.MethodConnect)
		inner := tls.Client(c.Conn, &tls.Config{RootCAs: roots, ServerName: name})
		err := inner.Handshake()
		if (err == nil) != allowed || !allowed && !strings.Contains(err.Error(), "access denied") {
			t.Errorf("%s: %v", name, err)
		}
		_ = inner.Close() // says goodbye to a server that reads on
		_ = c.Close()
	}
	d.await(2, 2)
}

// What does not come about is closed, and counted; whoever forgot about TLS is
// told so.
func TestTLSHandshakes(t *testing.T) {
	d := openSecure(t, func(c *Config, _ *Dependencies) { c.Timeouts.Header = 300 * time.Millisecond })
	counted := 0.0
	for name, test := range map[string]struct{ sent, want string }{
		"CONNECT":             {connectTo("example.com:443"), "HTTP/1.1 400 Bad Request\r\n"},
		"GET":                 {getting("http://example.com/"), "HTTP/1.1 400 Bad Request\r\n"},
		"SOCKS":               {greetingNone + socksTo("example.com", 443), ""},
		"SSH":                 {"SSH-2.0-OpenSSH_9.9\r\n", ""},
		"half a hello":        {string(clientHello(t, "proxy.example")[:40]), ""},
		"another certificate": {string(bytes.Repeat([]byte{0x16, 3, 1, 0, 1, 7}, 20)), "\x15"},
		"nothing":             {"", ""},
	} {
		c := d.clientAt(d.listener("proxy tls"))
		c.send(test.sent)
		data, err := io.ReadAll(c)
		var network net.Error
		if errors.As(err, &network) && network.Timeout() {
			t.Errorf("%s: the connection was not closed", name)
		}
		if !strings.HasPrefix(string(data), test.want) || test.want == "" && len(data) > 0 {
			t.Errorf("%s: got %q", name, data)
		}
		if strings.HasPrefix(test.want, "HTTP") && !strings.Contains(string(data), "https://") {
			t.Errorf("%s: got %q", name, data)
		}
		counted++
		d.awaitMetric(counted, "sallyport_proxy_shed_total", shedHandshake)
	}
	eventually(t, "nobody is inside", func() bool { return d.crowd.size() == 0 })
	if decisions, _ := d.recorded(); len(decisions) > 0 {
		t.Errorf("decisions %+v", decisions)
	}
}

// A slow handshake keeps nobody else waiting.
func TestTLSSlowHandshakes(t *testing.T) {
	d := openSecure(t, nil)
	where := origin(t, echoing)
	for range 50 {
		d.clientAt(d.listener("proxy tls")).send("\x16\x03")
	}
	c := d.secure()
	c.send(connectTo(where.String()))
	if response, _ := c.answer(http.MethodConnect); response.StatusCode != http.StatusOK {
		t.Error(response.Status)
	}
}

// recognising identifies clients by what their certificates say.
func recognising(d *Dependencies) {
	d.IdentifyPeer = func(client netip.Addr, peer Peer) policy.Subject {
		return policy.Subject{Identity: policy.Identity{Addr: client, User: peer.User, Devices: peer.Devices, Source: peer.Source}}
	}
}

func TestTLSClientCertificates(t *testing.T) {
	clients := testpki.New(t, "clients")
	d := openSecure(t, func(c *Config, deps *Dependencies) {
		c.TLS.ClientCA = filepath.Join(filepath.Dir(c.TLS.Key), "clients.pem")
		testpki.Put(t, c.TLS.ClientCA, clients.PEM())
		passwords(c, deps)
		recognising(deps)
	})
	where := origin(t, echoing)
	laptop := x509.Certificate{DNSNames: []string{"Laptop.corp.example"}}
	bob := x509.Certificate{DNSNames: []string{"laptop.corp.example"}, EmailAddresses: []string{"Bob@corp.example"}}
	password := "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("alice:secret")) + "\r\n"
	wrong := "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("alice:guess")) + "\r\n"
	n := 0
	for _, test := range []struct {
		name         string
		subject      x509.Certificate
		field        string
		user, source string
	}{
		{"a device", laptop, "", "", "certificate"},
		{"a device and a user", bob, "", "bob@corp.example", "certificate"},
		{"a device and a password", laptop, password, "alice", "basic+certificate"},
		{"a user and another's password", bob, password, "alice", "basic+certificate"},
		{"a user and a wrong password", bob, wrong, "bob@corp.example", "certificate"},
	} {
		for _, protocol := range []string{"http/1.1", "h2"} {
			config := d.config(protocol)
			config.Certificates = []tls.Certificate{clients.Client(t, test.subject)}
			if protocol == "h2" {
				s := d.session(config)
				s.openWith(where.String(), test.field).end()
			} else {
				c, err := d.trySecure("", config)
				if err != nil {
					t.Fatal(err)
				}
				c.send("CONNECT " + where.String() + " HTTP/1.1\r\nHost: x\r\n" + test.field + "\r\n")
				if response, _ := c.answer(http.MethodConnect); response.StatusCode != http.StatusOK {
					t.Errorf("%s: %s", test.name, response.Status)
				}
				_ = c.Close()
			}
			n++
			decisions, _ := d.await(n, n)
			got := decisions[n-1].Subject.Identity
			if got.User != test.user || got.Source != test.source || !reflect.DeepEqual(got.Devices, []string{"laptop.corp.example"}) {
				t.Errorf("%s over %s: identity %+v", test.name, protocol, got)
			}
		}
	}
	for name, shown := range map[string][]tls.Certificate{"none": nil, "another authority's": {testpki.New(t, "others").Client(t, laptop)}} {
		config := d.config("http/1.1")
		config.Certificates = shown
		if c, err := d.trySecure("", config); err == nil { // in TLS 1.3 the client learns it from the first read
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Errorf("%s: let in", name)
			}
		}
	}
	d.awaitMetric(2, "sallyport_proxy_shed_total", shedHandshake)
}

// The certificate is a file, and may be renewed.
func TestTLSReload(t *testing.T) {
	var files TLS
	d := openSecure(t, func(c *Config, _ *Dependencies) { files = c.TLS })
	const metric = "sallyport_proxy_certificate_not_after_timestamp_seconds"
	first := d.metric(metric)
	if first < float64(time.Now().Unix()) {
		t.Errorf("it expires at %v", first)
	}
	later := time.Now().Add(48 * time.Hour)
	d.root.Renew(t, files.Certificate, files.Key, later)
	d.awaitMetric(float64(later.Unix()), metric)
	if got := d.secure().ConnectionState().PeerCertificates[0].NotAfter; got.Unix() != later.Unix() {
		t.Errorf("a new client sees %v", got)
	}
}

func TestTLSBehindBalancer(t *testing.T) {
	d := openSecure(t, behindBalancers)
	where := origin(t, echoing)
	c, err := d.trySecure(introduction4, d.config("http/1.1"))
	if err != nil {
		t.Fatal(err)
	}
	c.send(connectTo(where.String()) + "hello")
	c.answer(http.MethodConnect)
	c.read(5)
	if decisions, _ := d.await(1, 0); decisions[0].Client != netip.MustParseAddr("192.0.2.7") {
		t.Errorf("decision %+v", decisions[0])
	}
}

// A stop waits neither for handshakes nor for those who have said nothing.
func TestTLSStop(t *testing.T) {
	d := openSecure(t, nil)
	silent := d.clientAt(d.listener("proxy tls"))
	ready := d.secure()
	where := origin(t, echoing)
	tunnel := d.secure()
	tunnel.send(connectTo(where.String()))
	tunnel.answer(http.MethodConnect)
	eventually(t, "two wait for something", func() bool {
		d.crowd.mu.Lock()
		defer d.crowd.mu.Unlock()
		return len(d.crowd.silent) == 2
	})
	stopped := make(chan error, 1)
	go func() { stopped <- d.Shutdown(t.Context()) }()
	if rest := silent.rest(); rest != "" {
		t.Errorf("got %q", rest)
	}
	if rest := ready.rest(); rest != "" {
		t.Errorf("got %q", rest)
	}
	if got := tunnel.echo("still here"); got != "still here" {
		t.Errorf("echo %q", got)
	}
	_ = tunnel.Close()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestTLSSettings(t *testing.T) {
	certificate, key := testpki.New(t, "root").ServerFiles(t)
	complete := Dependencies{
		Decider:   deciderFunc(memo),
		Identify:  func(netip.Addr, string) (policy.Subject, error) { return policy.Subject{}, nil },
		Resolve:   (&door{}).resolve,
		Record:    func(*policy.Decision) {},
		RecordEnd: func(*policy.TunnelEnd) {},
	}
	for name, test := range map[string]struct {
		tls  TLS
		want string
	}{
		"no certificate":              {TLS{Listen: []string{"127.0.0.1:0"}}, "proxy tls: read certificate file"},
		"the key for the certificate": {TLS{Listen: []string{"127.0.0.1:0"}, Certificate: key, Key: key}, "proxy tls: read certificate"},
		"nobody to know certificates": {TLS{Listen: []string{"127.0.0.1:0"}, Certificate: certificate, Key: key, ClientCA: certificate}, "identify"},
		"no port":                     {TLS{Listen: []string{"127.0.0.1"}, Certificate: certificate, Key: key}, "host:port"},
	} {
		if _, err := New(Config{TLS: test.tls}, complete); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, test.want)
		}
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	complete.Registerer = prometheus.NewRegistry()
	s, err := New(Config{TLS: TLS{Listen: []string{taken.Addr().String()}, Certificate: certificate, Key: key}}, complete)
	if err != nil {
		t.Fatal(err)
	}
	var failed *ListenError
	if err := s.Listen(t.Context()); !errors.As(err, &failed) || failed.Name != "proxy tls" || failed.Address != taken.Addr().String() {
		t.Errorf("got %v", err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
