package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/policy"
)

// memo bans one app from a date on; what follows it can be replaced by tests.
const memo = `
version: 1
timezone: America/Los_Angeles
organisation: {name: Example Rockets, contact: it-help@corp.example}
groups:
  employees: {networks: [127.0.0.0/8]}
rules:
  - name: zoom-memo
    who:  {groups: [employees]}
    what: {apps: [zoom]}
    action: block
    reason: Privacy and security concerns
default: allow
`

// open is the memo before the memo.
const open = `
version: 1
groups:
  employees: {networks: [127.0.0.0/8]}
rules:
  - {name: all-of-it, who: {groups: [employees]}, what: {apps: [zoom]}, action: allow}
default: allow
`

func TestGateway(t *testing.T) {
	g := start(t, memo, nil)
	if !g.blockedByDNS("us04web.zoom.us") || g.blockedByDNS("zoomlion.com") {
		t.Error("the DNS door does not enforce the memo")
	}
	port := echoServer(t)
	if _, status, header := g.connect("us04web.zoom.us:" + port); status != http.StatusForbidden || header.Get("X-Sallyport-Rule") != "zoom-memo" {
		t.Errorf("the proxy door answers %d, %v", status, header)
	}
	conn, status, _ := g.connect("zoomlion.com:" + port)
	if status != http.StatusOK {
		t.Fatalf("an allowed name is answered %d", status)
	}
	defer conn.Close()
	if err := echo(conn); err != nil {
		t.Error(err)
	}

	var want strings.Builder
	for _, name := range []string{"dns udp", "dns tcp", "proxy http", "admin http", "portal http"} {
		fmt.Fprintf(&want, "%s %s\n", name, g.addr(name))
	}
	want.WriteString("ready\n")
	if got := g.stdout.String(); !strings.HasPrefix(got, want.String()) {
		t.Errorf("printed %q, want %q first", got, want.String())
	}
	if status, body := g.get("/readyz"); status != 200 || body != "ready\n" {
		t.Errorf("readyz: %d %q", status, body)
	}
	if _, body := g.get("/api/v1/status"); !strings.Contains(body, `"tunnels": 1`) || !strings.Contains(body, g.addr("dns udp")) {
		t.Errorf("status: %s", body)
	}
	if _, body := g.get("/api/v1/explain?ip=127.0.0.1&host=zoom.us"); !strings.Contains(body, `"rule": "zoom-memo"`) {
		t.Errorf("explain: %s", body)
	}
	if _, body := g.get("/api/v1/policy"); !strings.Contains(body, `"hits": 2`) {
		t.Errorf("two were refused by the memo: %s", body)
	}
	for _, want := range []string{
		`sallyport_build_info{goversion="`, `sallyport_policy_info{revision="` + g.engine.Program().Revision() + `"} 1`,
		"sallyport_policy_last_reload_successful 1", "sallyport_policy_last_reload_success_timestamp_seconds ",
		`sallyport_policy_reloads_total{result="failure"} 0`, "sallyport_policy_time_to_enforce_seconds_count 0",
		`sallyport_decisions_total{action="block",app="zoom",door="dns",group="employees",rule="zoom-memo"} 1`,
		`sallyport_decisions_total{action="block",app="zoom",door="proxy",group="employees",rule="zoom-memo"} 1`,
		"sallyport_proxy_tunnels 1", "sallyport_audit_entries_total",
	} {
		if _, body := g.get("/metrics"); !strings.Contains(body, want) {
			t.Errorf("metrics have no %s", want)
		}
	}
	eventually(t, func() error {
		if n := len(g.entries()); n != 4 {
			return fmt.Errorf("%d entries, want 4 decisions", n)
		}
		return nil
	})
}

// TestPortalJudgesAsTheDNSDoor asks the portal under a refused name, as a
// browser does that was answered with its address.
func TestPortalJudgesAsTheDNSDoor(t *testing.T) {
	page := netip.MustParseAddr("192.0.2.80")
	g := start(t, memo, func(c *Config, _ *Dependencies) {
		c.DNS.Answer, c.Portal.Addresses = policy.AnswerPage, []netip.Addr{page}
	})
	for name, want := range map[string]netip.Addr{
		"zoom.us": page, "vanity.corp.example": page, "zoomlion.com": loopback(),
	} {
		addrs, _, err := queryA(g.addr("dns udp"), name)
		if err != nil || len(addrs) != 1 || addrs[0] != want {
			t.Fatalf("%s has %v, %v: want %v", name, addrs, err, want)
		}
	}
	for _, test := range []struct {
		host   string
		status int
		body   string
	}{
		{"us04web.zoom.us", 403, "Privacy and security concerns"},
		{"zoomlion.com", 200, "is not refused"},
		{"vanity.corp.example", 403, "Privacy and security concerns"},  // an alias
		{"service.corp.example", 403, "Privacy and security concerns"}, // by its HTTPS record
		{g.addr("portal http"), 200, "Example Rockets"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+g.addr("portal http")+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = test.host
		status, body := do(t, r)
		if status != test.status || !strings.Contains(body, test.body) {
			t.Errorf("%s: got %d %s", test.host, status, body)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+g.addr("portal http")+"/proxy.pac", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, body := do(t, r); !strings.Contains(body, "PROXY "+g.addr("proxy http")) {
		t.Errorf("the PAC file does not name the proxy: %s", body)
	}
}

func TestStartRefusals(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	occupied := taken.Addr().String()
	busy, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	files := newDeviceFiles(t)
	at := func(addr string) EndpointConfig {
		e := files.endpoint("")
		e.Listen = []string{addr}
		return e
	}
	dir := t.TempDir()
	for _, test := range []struct {
		name   string
		policy string
		edit   func(*Config)
		want   []string
	}{
		{"no policy", "", nil, []string{"there is no policy at", "the gateway does not start"}},
		{"bad policy", "version: 1\nrulez: []", nil, []string{"policy.yaml:2:1", "rules"}},
		{"fails its own tests", memo + "tests:\n  - {who: {ip: 127.0.0.1}, what: zoom.us, want: allow}\n", nil, []string{"test failed: ", "want allow, got block by zoom-memo"}},
		{"dns port taken", memo, func(c *Config) { c.DNS.Listen = []string{occupied} }, []string{occupied, "address already in use", "change dns.listen"}},
		{"dns tls port taken", memo, func(c *Config) { c.DNS.TLS = at(occupied) }, []string{occupied, "address already in use", "change dns.tls.listen"}},
		{"dns https port taken", memo, func(c *Config) { c.DNS.HTTPS = at(occupied) }, []string{occupied, "address already in use", "change dns.https.listen"}},
		{"dns quic port taken", memo, func(c *Config) { c.DNS.QUIC = at(busy.LocalAddr().String()) }, []string{busy.LocalAddr().String(), "address already in use", "change dns.quic.listen"}},
		{"dns https no such address", memo, func(c *Config) { c.DNS.HTTPS = at("192.0.2.1:0") }, []string{"this machine has no such address", "change dns.https.listen"}},
		{"dns tls without its file", memo, func(c *Config) { c.DNS.TLS = at("127.0.0.1:0"); c.DNS.TLS.Certificate = "none.crt" }, []string{"none.crt", "no such file", "name another under dns.tls in"}},
		{"proxy port taken", memo, func(c *Config) { c.Proxy.Listen = []string{occupied} }, []string{occupied, "address already in use", "change proxy.listen"}},
		{"admin port taken", memo, func(c *Config) { c.Admin.Listen = occupied }, []string{occupied, "change admin.listen"}},
		{"portal port taken", memo, func(c *Config) { c.Portal.Listen = occupied }, []string{occupied, "change portal.listen"}},
		{"no such address", memo, func(c *Config) { c.Admin.Listen = "192.0.2.1:0" }, []string{"this machine has no such address", "change admin.listen"}},
		{"no htpasswd", memo, func(c *Config) { c.Proxy.UsersFile = filepath.Join(dir, "none") }, []string{"proxy.users", "none"}},
		{"audit file", memo, func(c *Config) { c.Audit.File = filepath.Join(dir, "no", "such", "folder.jsonl") }, []string{"audit.file", "folder"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "policy.yaml")
			if test.policy != "" {
				writeFile(t, path, test.policy)
			}
			config := testConfig(t, path)
			if test.edit != nil {
				test.edit(config)
			}
			g, err := New(config, Dependencies{Stdout: &transcript{}})
			if err == nil {
				err = g.Start(t.Context())
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				if stop := g.Shutdown(ctx); stop != nil {
					t.Error(stop)
				}
			}
			if err == nil {
				t.Fatal("it started")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q has no %q", err, want)
				}
			}
			var bad *PolicyError
			if want := test.policy == "" || !strings.HasPrefix(test.policy, memo) || strings.Contains(test.policy, "tests:"); errors.As(err, &bad) != want {
				t.Errorf("a *PolicyError: %v, want %v", !want, want)
			}
		})
	}
}

// TestAuditAdvice speaks of the file only where the file is what failed.
func TestAuditAdvice(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		name string
		file string
		edit func(*Gateway)
		want string
		not  string
	}{
		{"no folder", filepath.Join(dir, "none", "d.jsonl"), nil, "make the folder, writable for", ""},
		{"a folder", dir, nil, "or name another file", ""},
		{"metrics registered already", "", func(g *Gateway) {
			log, err := g.newAudit()
			if err != nil {
				t.Fatal(err)
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
		}, "register metrics", "another file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := DefaultConfig()
			config.Audit.File = test.file
			g := &Gateway{config: config, deps: Dependencies{Log: zap.NewNop(), Stdout: &transcript{}, Now: time.Now}, registry: prometheus.NewRegistry()}
			if test.edit != nil {
				test.edit(g)
			}
			_, err := g.newAudit()
			if err == nil || !strings.Contains(err.Error(), test.want) || test.not != "" && strings.Contains(err.Error(), test.not) {
				t.Errorf("got %v, want %q and not %q", err, test.want, test.not)
			}
		})
	}
}

// TestDrain stops a gateway with a tunnel open: it stays until its time is over
// or its client leaves, while nothing new is let in.
func TestDrain(t *testing.T) {
	port := echoServer(t)
	g := start(t, memo, func(c *Config, _ *Dependencies) { c.Proxy.Drain = time.Minute })
	conn, status, _ := g.connect("zoomlion.com:" + port)
	if status != http.StatusOK {
		t.Fatal(status)
	}
	defer conn.Close()
	proxy := g.addr("proxy http")
	stopped := make(chan error, 1)
	go func() { stopped <- g.Shutdown(context.Background()) }()
	eventually(t, func() error {
		c, err := net.Dial("tcp", proxy)
		if err == nil {
			_ = c.Close()
			return errors.New("the proxy still listens")
		}
		return nil
	})
	if err := echo(conn); err != nil {
		t.Errorf("the tunnel did not outlive the listener: %v", err)
	}
	if status, body := g.get("/readyz"); status != http.StatusServiceUnavailable || body != "not ready\nstopping\n" {
		t.Errorf("readyz while tunnels drain: %d %q", status, body)
	}
	select {
	case err := <-stopped:
		t.Fatalf("stopped with a tunnel open: %v", err)
	default:
	}
	_ = conn.Close()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func do(t *testing.T, r *http.Request) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var b strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := response.Body.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			return response.StatusCode, b.String()
		}
	}
}
