package gateway

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestWaysIn goes in by every listener of the proxy door, under one policy: each
// is printed, and each is judged and logged as what it is.
func TestWaysIn(t *testing.T) {
	files := newDeviceFiles(t)
	r := start(t, memo, func(c *Config, _ *Dependencies) {
		c.Proxy.SOCKS = []string{"127.0.0.1:0"}
		c.Proxy.TLS = files.endpoint("")
		c.Audit.Allows = "all"
	})
	for _, name := range []string{"proxy http", "proxy socks", "proxy tls"} {
		if line := "\n" + name + " " + r.addr(name) + "\n"; !strings.Contains(r.stdout.String(), line) {
			t.Errorf("no line %q in %q", line, r.stdout)
		}
	}
	port := echoServer(t)
	for _, host := range []string{"www.corp.example", "us04web.zoom.us"} {
		for _, test := range []struct {
			transport string
			open      func(host, port string) (net.Conn, bool)
		}{
			{"socks", r.bySOCKS},
			{"connect", func(host, port string) (net.Conn, bool) { return r.byTLS(files.client(t, "").config(), host+":"+port) }},
		} {
			conn, ok := test.open(host, port)
			if want := host == "www.corp.example"; ok != want {
				t.Errorf("%s by %s: %v, want %v", host, test.transport, ok, want)
			}
			if ok {
				if err := echo(conn); err != nil {
					t.Error(err)
				}
			}
			_ = conn.Close()
			eventually(t, func() error {
				for _, e := range r.entries() {
					if e["action"] != nil && e["transport"] == test.transport && e["host"] == host && e["door"] == "proxy" {
						return nil
					}
				}
				return fmt.Errorf("no decision about %s by %s in %v", host, test.transport, r.entries())
			})
		}
	}
}

// bySOCKS asks for a tunnel, and reports whether it was granted.
func (r *running) bySOCKS(host, port string) (net.Conn, bool) {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.addr("proxy socks"))
	if err != nil {
		r.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	number := netip.MustParseAddrPort("127.0.0.1:" + port).Port()
	_, _ = conn.Write([]byte("\x05\x01\x00\x05\x01\x00\x03" + string(rune(len(host))) + host + string([]byte{byte(number >> 8), byte(number)})))
	reply := make([]byte, 12)
	if _, err := io.ReadFull(conn, reply); err != nil {
		r.t.Fatal(err)
	}
	return conn, reply[3] == 0
}

// byTLS asks for a tunnel inside TLS, by HTTP/1.1.
func (r *running) byTLS(config *tls.Config, target string) (net.Conn, bool) {
	r.t.Helper()
	conn, err := tls.Dial("tcp", r.addr("proxy tls"), config)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(conn, "CONNECT "+target+" HTTP/1.1\r\nHost: "+target+"\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
	if err != nil {
		r.t.Fatal(err)
	}
	return conn, response.StatusCode == http.StatusOK
}

// TestCertificatesAtTheProxy has clients judged by what their certificates say.
func TestCertificatesAtTheProxy(t *testing.T) {
	files := newDeviceFiles(t)
	r := start(t, devicesPolicy, func(c *Config, _ *Dependencies) {
		c.Proxy.TLS = files.endpoint("clients.crt")
		c.Users.Remember = time.Hour
		c.Audit.Allows = "all"
	})
	target := "us04web.zoom.us:" + echoServer(t)
	for _, test := range []struct {
		show, rule, devices string
		ok                  bool
	}{{"room", "rooms", "[room-1.corp.example]", true}, {"laptop", "zoom-memo", "[laptop-17.corp.example]", false}} {
		conn, ok := r.byTLS(files.client(t, test.show).config(), target)
		_ = conn.Close()
		if ok != test.ok {
			t.Errorf("%s: %v, want %v", test.show, ok, test.ok)
		}
		eventually(t, func() error {
			for _, e := range r.entries() {
				if e["action"] != nil && e["rule"] == test.rule && e["identity"] == "certificate" && fmt.Sprint(e["devices"]) == test.devices {
					return nil
				}
			}
			return fmt.Errorf("no decision by %s about %s in %v", test.rule, test.devices, r.entries())
		})
	}
	for _, show := range []string{"", "stranger"} {
		conn, err := tls.Dial("tcp", r.addr("proxy tls"), files.client(t, show).config())
		if err == nil { // in TLS 1.3 a client learns it from the first read
			_ = conn.SetDeadline(time.Now().Add(patience))
			_, err = conn.Read(make([]byte, 1))
			_ = conn.Close()
		}
		if err == nil {
			t.Errorf("showing %q: let in", show)
		}
	}
}

// TestBehindLoadBalancers takes the client from the PROXY header, for policy and
// log.
func TestBehindLoadBalancers(t *testing.T) {
	policy := strings.Replace(memo, "127.0.0.0/8", "192.0.2.0/24", 1)
	r := start(t, policy, func(c *Config, _ *Dependencies) {
		c.Proxy.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		c.Proxy.Clients = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	})
	conn, err := net.Dial("tcp", r.addr("proxy http"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "PROXY TCP4 192.0.2.7 192.0.2.1 40000 3128\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := sendConnect(conn, "us04web.zoom.us:443", "")
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusForbidden || response.Header.Get("X-Sallyport-Rule") != "zoom-memo" {
		t.Errorf("%s %v", response.Status, response.Header)
	}
	eventually(t, func() error {
		for _, e := range r.entries() {
			if e["client"] == "192.0.2.7" {
				return nil
			}
		}
		return fmt.Errorf("no entry of the client in %v", r.entries())
	})
}

// TestProxyListenersThatCannotOpen says which setting to change.
func TestProxyListenersThatCannotOpen(t *testing.T) {
	files := newDeviceFiles(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	occupied := []string{taken.Addr().String()}
	for name, test := range map[string]struct {
		edit func(*Config)
		want []string
	}{
		"socks": {func(c *Config) { c.Proxy.SOCKS = occupied }, []string{occupied[0], "address already in use", "change proxy.socks.listen"}},
		"tls": {func(c *Config) { c.Proxy.TLS = files.endpoint(""); c.Proxy.TLS.Listen = occupied },
			[]string{occupied[0], "address already in use", "change proxy.tls.listen"}},
		"certificate": {func(c *Config) { c.Proxy.TLS = files.endpoint(""); c.Proxy.TLS.Certificate = "none.crt" },
			[]string{"none.crt", "no such file", "name another under proxy.tls in"}},
	} {
		path := filepath.Join(t.TempDir(), "policy.yaml")
		writeFile(t, path, memo)
		config := testConfig(t, path)
		test.edit(config)
		g, err := New(config, Dependencies{Stdout: &transcript{}})
		if err == nil {
			err = g.Start(t.Context())
			if stop := g.Shutdown(t.Context()); stop != nil {
				t.Error(stop)
			}
		}
		for _, want := range test.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v has no %q", name, err, want)
			}
		}
	}
}
