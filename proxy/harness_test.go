package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sallyport/sallyport/policy"
)

// patience bounds every wait of the tests; none of them waits that long unless
// it fails.
const patience = 10 * time.Second

// deciderFunc is a policy in one func.
type deciderFunc func(*policy.Request) policy.Verdict

func (f deciderFunc) Decide(r *policy.Request) policy.Verdict { return f(r) }

var (
	testOrganisation = &policy.Organisation{Name: "Example Rockets", Contact: "it-help@corp.example"}
	testApp          = &policy.App{ID: "zoom", Name: "Zoom"}
	testRule         = &policy.Rule{Name: "zoom-memo", Reason: "Privacy and security concerns", Message: "Please move your meetings.",
		Alternatives: []string{"email", "text", "phone"}}
)

func allowed() policy.Verdict {
	return policy.Verdict{Action: policy.ActionAllow, Rule: &policy.Rule{Name: policy.DefaultRule}, Revision: "r1", Organisation: testOrganisation}
}

func refused(fact policy.Host) policy.Verdict {
	return policy.Verdict{Action: policy.ActionBlock, Rule: testRule, App: testApp, Group: "employees", Fact: fact,
		Revision: "r1", Organisation: testOrganisation}
}

// zoomNetwork is the prefix that the test policy takes for Zoom's.
var zoomNetwork = netip.MustParsePrefix("3.7.35.0/25")

// isZoom says whether the test policy's app owns a host.
func isZoom(h policy.Host) bool {
	if h.IsAddr() {
		return zoomNetwork.Contains(h.Addr())
	}
	return h.Name() == "zoom.us" || strings.HasSuffix(h.Name(), ".zoom.us")
}

// memo refuses Zoom, by any fact that a request has, to everyone.
func memo(r *policy.Request) policy.Verdict {
	for _, fact := range slices.Concat([]policy.Host{r.Host}, r.Derived, r.Claimed) {
		if isZoom(fact) {
			return refused(fact)
		}
	}
	return allowed()
}

// door is a running proxy with everything that a test may want to look at.
type door struct {
	*Server
	t        *testing.T
	addr     string
	registry *prometheus.Registry

	mu        sync.Mutex
	decider   deciderFunc
	names     map[string]Resolution
	decisions []*policy.Decision
	ends      []*policy.TunnelEnd
	news      chan struct{} // somebody recorded something
}

// open starts a proxy on a free port. adjust may change what is configured.
func open(t *testing.T, adjust func(*Config, *Dependencies)) *door {
	t.Helper()
	d := &door{t: t, registry: prometheus.NewRegistry(), decider: memo, names: map[string]Resolution{}, news: make(chan struct{}, 1)}
	config := Config{
		Listen:       []string{"127.0.0.1:0"},
		Clients:      []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		DenyNetworks: DenyNetworks{None: true},
	}
	dependencies := Dependencies{
		Decider: deciderFunc(func(r *policy.Request) policy.Verdict {
			d.mu.Lock()
			decide := d.decider
			d.mu.Unlock()
			return decide(r)
		}),
		Identify: func(client netip.Addr, _ string) (policy.Subject, error) {
			return policy.Subject{Identity: policy.Identity{Addr: client, Source: "network"}}, nil
		},
		Resolve:    d.resolve,
		Record:     d.record,
		RecordEnd:  d.recordEnd,
		Registerer: d.registry,
	}
	if adjust != nil {
		adjust(&config, &dependencies)
	}
	server, err := New(config, dependencies)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.Server = server
	d.addr = server.Addrs()[0].Addr
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // whatever a test has left open is cut
		_ = server.Shutdown(ctx)
	})
	return d
}

func (d *door) decide(f deciderFunc) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.decider = f
}

// name makes a name resolve to addresses.
func (d *door) name(name string, addresses ...string) {
	var r Resolution
	for _, a := range addresses {
		r.Addrs = append(r.Addrs, netip.MustParseAddr(a))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names[name] = r
}

func (d *door) resolve(_ context.Context, name string) (Resolution, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.names[name]
	if !ok {
		return Resolution{}, errors.New("no such name in 10.20.30.40's zone")
	}
	return r, nil
}

func (d *door) record(decision *policy.Decision) {
	d.mu.Lock()
	d.decisions = append(d.decisions, decision)
	d.mu.Unlock()
	d.notify()
}

func (d *door) recordEnd(end *policy.TunnelEnd) {
	d.mu.Lock()
	d.ends = append(d.ends, end)
	d.mu.Unlock()
	d.notify()
}

func (d *door) notify() {
	select {
	case d.news <- struct{}{}:
	default:
	}
}

func (d *door) recorded() ([]*policy.Decision, []*policy.TunnelEnd) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.decisions), slices.Clone(d.ends)
}

// await waits until so many decisions and closing entries are recorded; ends -1:
// any number of those.
func (d *door) await(decisions, ends int) ([]*policy.Decision, []*policy.TunnelEnd) {
	d.t.Helper()
	deadline := time.After(patience)
	for {
		ds, es := d.recorded()
		if len(ds) >= decisions && len(es) >= ends {
			if len(ds) > decisions || ends >= 0 && len(es) > ends {
				d.t.Errorf("%d decisions and %d ends, want %d and %d", len(ds), len(es), decisions, ends)
			}
			return ds, es
		}
		select {
		case <-d.news:
		case <-deadline:
			d.t.Fatalf("%d decisions and %d ends, want %d and %d", len(ds), len(es), decisions, ends)
		}
	}
}

// lastVerdict is what was decided in the end of the only tunnel, which has ended.
// There are two decisions where the client took its time before it said a word.
func (d *door) lastVerdict() policy.Verdict {
	d.t.Helper()
	eventually(d.t, "the tunnel has ended", func() bool { _, ends := d.recorded(); return len(ends) == 1 })
	decisions, _ := d.recorded()
	return decisions[len(decisions)-1].Verdict
}

// metric is the value of a counter or gauge with these label values.
func (d *door) metric(name string, labels ...string) float64 {
	d.t.Helper()
	families, err := d.registry.Gather()
	if err != nil {
		d.t.Fatal(err)
	}
	total := 0.0
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			var values []string
			for _, pair := range m.GetLabel() {
				values = append(values, pair.GetValue())
			}
			slices.Sort(values)
			wanted := slices.Sorted(slices.Values(labels))
			if len(labels) > 0 && !slices.Equal(values, wanted) {
				continue
			}
			total += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return total
}

// awaitMetric waits for a metric to reach a value.
func (d *door) awaitMetric(want float64, name string, labels ...string) {
	d.t.Helper()
	eventually(d.t, fmt.Sprintf("%s%v is %v", name, labels, want), func() bool { return d.metric(name, labels...) == want })
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("never seen: %s", what)
}

// dialProxy opens a connection to the proxy with a deadline.
func (d *door) dialProxy() *net.TCPConn {
	d.t.Helper()
	conn, err := net.Dial("tcp", d.addr)
	if err != nil {
		d.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	d.t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.TCPConn)
}

// say sends raw bytes to the proxy and reads one answer.
func (d *door) say(raw string) (*http.Response, string, *client) {
	d.t.Helper()
	c := d.client()
	c.send(raw)
	response, body := c.answer(requestMethod(raw))
	return response, body, c
}

func requestMethod(raw string) string {
	method, _, _ := strings.Cut(raw, " ")
	return method
}

// client is a client's connection to the proxy.
type client struct {
	*net.TCPConn
	t      *testing.T
	reader *bufio.Reader
}

func (d *door) client() *client {
	d.t.Helper()
	conn := d.dialProxy()
	return &client{TCPConn: conn, t: d.t, reader: bufio.NewReader(conn)}
}

func (c *client) Read(p []byte) (int, error) { return c.reader.Read(p) }

func (c *client) send(raw string) {
	c.t.Helper()
	if _, err := io.WriteString(c.TCPConn, raw); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

func (c *client) answer(method string) (*http.Response, string) {
	c.t.Helper()
	response, err := http.ReadResponse(c.reader, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("read answer: %v", err)
	}
	if method == http.MethodConnect && response.StatusCode == http.StatusOK {
		return response, ""
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatalf("read body: %v", err)
	}
	return response, string(body)
}

// tunnel opens a CONNECT tunnel.
func (d *door) tunnel(target string) *client {
	d.t.Helper()
	response, body, c := d.say("CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n")
	if response.StatusCode != http.StatusOK {
		d.t.Fatalf("CONNECT %s: %s\n%s", target, response.Status, body)
	}
	return c
}

// exchange sends text through a connection and expects the same number of
// bytes back.
func (c *client) echo(text string) string {
	c.t.Helper()
	c.send(text)
	return c.read(len(text))
}

func (c *client) read(n int) string {
	c.t.Helper()
	buffer := make([]byte, n)
	if _, err := io.ReadFull(c.reader, buffer); err != nil {
		c.t.Fatalf("read %d bytes: %v", n, err)
	}
	return string(buffer)
}

// closed reports how the connection ends from here on: what is still to read,
// and nothing else.
func (c *client) rest() string {
	c.t.Helper()
	data, err := io.ReadAll(c.reader)
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		c.t.Fatalf("the connection was not closed; read %q", data)
	}
	return string(data)
}

// origin is a TCP server that does what serve says with every connection.
func origin(t *testing.T, serve func(*net.TCPConn)) netip.AddrPort {
	t.Helper()
	return originAt(t, "127.0.0.1:0", serve)
}

func originAt(t *testing.T, address string, serve func(*net.TCPConn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(2 * patience))
				serve(conn.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		running.Wait()
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// echoing is an origin that sends back what it gets.
func echoing(conn *net.TCPConn) { _, _ = io.Copy(conn, conn) }

// secureOrigin is an HTTPS server for any name.
func secureOrigin(t *testing.T, handler http.Handler) (*httptest.Server, netip.AddrPort) {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	return server, server.Listener.Addr().(*net.TCPAddr).AddrPort()
}

// browser is an HTTP client that uses the proxy and trusts a server.
func (d *door) browser(trusted *httptest.Server) *http.Client {
	d.t.Helper()
	roots := x509.NewCertPool()
	if trusted != nil && trusted.Certificate() != nil {
		roots.AddCert(trusted.Certificate())
	}
	transport := &http.Transport{
		Proxy:              http.ProxyURL(&url.URL{Scheme: "http", Host: d.addr}),
		TLSClientConfig:    &tls.Config{RootCAs: roots, ServerName: "example.com"},
		DisableCompression: true,
	}
	d.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func at(port uint16, host string) string { return net.JoinHostPort(host, fmt.Sprint(port)) }
