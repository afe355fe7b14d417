package e2e

//lint:file-ignore SA1019 net/http has no client that speaks HTTP/2 to its proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// fronts is a town whose proxy door has every way in.
type fronts struct {
	town
	socks, tls string     // host:port
	authority  *authority // of the TLS listener's certificate
	spki       string     // hash of its key
}

// startFronts runs the binary with all listeners and a user, and more settings
// of the proxy door, or none.
func startFronts(t *testing.T, more string) fronts {
	t.Helper()
	for _, program := range []string{"unbound", "nginx"} {
		need(t, program)
	}
	binary := sallyport(t)
	upstream, site := startUnbound(t), startNginx(t)
	dir, config := configure(t, setting{Upstream: upstream, Users: "users.htpasswd"}, readFile(t, "testdata/policy.yaml"))
	writeFile(t, filepath.Join(dir, "users.htpasswd"), []byte(htpasswd(t, "priya@corp.example", "orbit")+htpasswd(t, "alex@corp.example", "apogee")))
	f := fronts{authority: newAuthority(t, dir)}
	f.spki = f.authority.serverCertificate(t, dir, 2)
	const drain = "  drain: 2s\n"
	writeFile(t, config, []byte(changed(t, readFile(t, config), drain, drain+more+
		"  socks: {listen: [127.0.0.1:0]}\n  tls: {listen: [127.0.0.1:0], certificate: server.crt, key: server.key}\n")))
	g := &gateway{dir: dir, child: spawn(t, dir, binary, "serve", "--config", config)}
	g.waitReady(t)
	addresses := g.printed()
	f.town = town{gateway: g, upstream: upstream, origin: site}
	f.socks, f.tls = addresses["proxy socks"], addresses["proxy tls"]
	if f.socks == "" || f.tls == "" {
		t.Fatalf("not all listeners are printed: %v", addresses)
	}
	return f
}

// TestWaysIn goes through the SOCKS and the TLS listener with real clients.
func TestWaysIn(t *testing.T) {
	f := startFronts(t, "")
	t.Run("CurlSOCKS", f.curlSOCKS)
	t.Run("CurlSOCKSPasswords", f.curlSOCKSPasswords)
	t.Run("CurlTLS", f.curlTLS)
	t.Run("CurlTLSOverHTTP2", f.curlTLSOverHTTP2)
	t.Run("GoOverHTTP2", f.goOverHTTP2)
	t.Run("Git", f.gitThroughAll)
	t.Run("Chromium", f.chromiumThroughAll)
}

// local has curl look names up in the tests' internet.
func (f fronts) local(names ...string) []string {
	var args []string
	for _, name := range names {
		args = append(args, "--resolve", fmt.Sprintf("%s:%d:127.0.0.1", name, f.origin.https))
	}
	return args
}

// curlSOCKS asks by name and by address: a name is judged at once, an address
// by the server name that comes through the tunnel.
func (f fronts) curlSOCKS(t *testing.T) {
	free, meet := f.origin.url("https", "www.rockets.example", "/"), f.origin.url("https", "meet.google.com", "/")
	direct := f.direct(t, free)
	for _, way := range []string{"--socks5-hostname", "--socks5"} {
		args := append(f.local("www.rockets.example"), way, f.socks, free)
		through := f.curl(t, args...)
		if through.exit != 0 || through.status != 200 || through.body != direct.body {
			t.Errorf("%s: exit status %d, status %d, %d bytes of %d\n%s", way, through.exit, through.status, len(through.body), len(direct.body), through.stderr)
		}
	}
	refused := f.curl(t, "--socks5-hostname", f.socks, meet)
	if refused.exit != 97 || !strings.Contains(refused.stderr, "(2)") { // CURLE_PROXY, and the reply: not allowed by the rules
		t.Errorf("a refused name: exit status %d\n%s", refused.exit, refused.stderr)
	}
	refused = f.curl(t, append(f.local("meet.google.com"), "--socks5", f.socks, meet)...)
	if refused.exit != 35 { // CURLE_SSL_CONNECT_ERROR: an alert
		t.Errorf("a refused server name: exit status %d\n%s", refused.exit, refused.stderr)
	}
	for _, e := range []entry{
		f.logged(t, "the name by SOCKS", func(e entry) bool { return e.Transport == "socks" && e.Host == "meet.google.com" }),
		f.logged(t, "the address by SOCKS", func(e entry) bool { return e.Transport == "socks" && e.Host == "127.0.0.1" && e.Action == "warn" }),
	} {
		if e.Rule != "coach-the-rest" || e.Door != "proxy" {
			t.Errorf("entry %+v", e)
		}
	}
	blob := f.origin.url("http", "www.rockets.example", "/blob.bin")
	whole, through := f.direct(t, blob), f.curl(t, "--socks5-hostname", f.socks, blob)
	if through.body != whole.body || len(through.body) != blobSize {
		t.Errorf("%d bytes came through of %d", len(through.body), blobSize)
	}
	for _, old := range []string{"--socks4", "--socks4a"} {
		if got := f.curl(t, append(f.local("www.rockets.example"), old, f.socks, free)...); got.exit == 0 || got.status != 0 {
			t.Errorf("%s: exit status %d, status %d, want a refusal", old, got.exit, got.status)
		}
	}
}

func (f fronts) curlSOCKSPasswords(t *testing.T) {
	zoom := f.origin.url("https", "us04web.zoom.us", "/")
	ask := func(user, url string) fetched {
		t.Helper()
		return f.curl(t, "--socks5-hostname", f.socks, "--proxy-user", user, url)
	}
	if got := ask("priya@corp.example:orbit", zoom); got.exit != 0 || got.status != 200 {
		t.Errorf("with an exception: exit status %d, status %d\n%s", got.exit, got.status, got.stderr)
	}
	f.logged(t, "the exception's use", func(e entry) bool {
		return e.Transport == "socks" && e.User == "priya@corp.example" && e.Rule == "nasa-review" && e.Identity == "basic"
	})
	if got := ask("alex@corp.example:apogee", zoom); got.exit != 97 || !strings.Contains(got.stderr, "(2)") {
		t.Errorf("without one: exit status %d\n%s", got.exit, got.stderr)
	}
	if got := ask("alex@corp.example:guess", f.origin.url("https", "www.rockets.example", "/")); got.exit != 97 {
		t.Errorf("a wrong password: exit status %d\n%s", got.exit, got.stderr)
	}
}

// secured is what curl must be told of the proxy.
func (f fronts) secured(args ...string) []string {
	return append([]string{"--proxy", "https://" + f.tls, "--proxy-cacert", f.authority.file}, args...)
}

func (f fronts) curlTLS(t *testing.T) {
	f.curlSecurely(t)
	if got := f.curl(t, "--proxy", "https://"+f.tls, f.origin.url("https", "www.rockets.example", "/")); got.exit != 60 { // CURLE_PEER_FAILED_VERIFICATION
		t.Errorf("a proxy that is not trusted: exit status %d", got.exit)
	}
	got := f.curl(t, "--proxy", "http://"+f.tls, f.origin.url("http", "www.rockets.example", "/"))
	if got.status != 400 || !strings.Contains(got.body, "https://") {
		t.Errorf("without TLS: status %d, %q", got.status, got.body)
	}
}

// curlTLSOverHTTP2 needs a curl of 2023 or later.
func (f fronts) curlTLSOverHTTP2(t *testing.T) {
	if help := run(t, t.TempDir(), need(t, "curl"), "--help", "all"); !strings.Contains(help.stdout, "--proxy-http2") {
		t.Skip("this curl speaks no HTTP/2 to proxies")
	}
	f.curlSecurely(t, "--proxy-http2")
}

func (f fronts) curlSecurely(t *testing.T, more ...string) {
	t.Helper()
	for _, scheme := range []string{"http", "https"} {
		page := f.origin.url(scheme, "www.rockets.example", "/")
		direct, through := f.direct(t, page), f.curl(t, f.secured(append(more, page)...)...)
		if through.exit != 0 || through.status != 200 || through.body != direct.body {
			t.Errorf("%s: exit status %d, status %d, %q\n%s", page, through.exit, through.status, through.body, through.stderr)
		}
	}
	refused := f.curl(t, f.secured(append(more, f.origin.url("http", "meet.google.com", "/"))...)...)
	if refused.status != 403 || !strings.Contains(refused.body, "Please use the approved app") {
		t.Errorf("a refused page: status %d\n%s", refused.status, refused.body)
	}
	if refused := f.curl(t, f.secured(append(more, f.origin.url("https", "meet.google.com", "/"))...)...); refused.connect != 403 {
		t.Errorf("a refused tunnel: CONNECT answered %d", refused.connect)
	}
	zoom := f.origin.url("https", "us04web.zoom.us", "/")
	if refused := f.curl(t, f.secured(append(more, zoom)...)...); refused.connect != 407 {
		t.Errorf("a tunnel that needs a user: CONNECT answered %d", refused.connect)
	}
	if allowed := f.curl(t, f.secured(append(more, "--proxy-user", "priya@corp.example:orbit", zoom)...)...); allowed.status != 200 {
		t.Errorf("with an exception: status %d, CONNECT answered %d\n%s", allowed.status, allowed.connect, allowed.stderr)
	}
}

// heading is on every page of the origin, before its script has run.
const heading = "<h1>Launch calendar</h1>"

// goOverHTTP2 opens tunnels and asks for pages in one connection, as browsers do.
func (f fronts) goOverHTTP2(t *testing.T) {
	config := &tls.Config{RootCAs: f.authority.pool, ServerName: doorName, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}
	conn, err := tls.Dial("tcp", f.tls, config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	session, err := (&http2.Transport{}).NewClientConn(conn)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, test := range []struct {
		host   string
		status int
	}{{"www.rockets.example", 200}, {"zoom.us", 407}, {"www.rockets.example", 200}} {
		target := fmt.Sprintf("%s:%d", test.host, f.origin.https)
		body, up := io.Pipe()
		r := (&http.Request{Method: http.MethodConnect, Host: target, URL: &url.URL{Scheme: "https", Host: target}, Header: http.Header{}, Body: body}).WithContext(ctx)
		response, err := session.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != test.status {
			t.Errorf("CONNECT %s: %s, want %d", target, response.Status, test.status)
		}
		if test.status == 200 {
			inside := &http.Transport{
				TLSClientConfig: &tls.Config{RootCAs: f.origin.pool, MinVersion: tls.VersionTLS12},
				DialContext: func(context.Context, string, string) (net.Conn, error) {
					return streamConn{Conn: conn, Reader: response.Body, Writer: up}, nil
				},
			}
			got, err := (&http.Client{Transport: inside, Timeout: patience}).Get("https://" + target + "/")
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(got.Body)
			if err != nil || !strings.Contains(string(text), heading) {
				t.Errorf("%s: %s, %v, %q", target, got.Status, err, text)
			}
			_ = got.Body.Close()
			inside.CloseIdleConnections()
		}
		_ = up.Close()
		_ = response.Body.Close()
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.origin.url("http", "www.rockets.example", "/"), nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := session.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, err := io.ReadAll(response.Body); response.StatusCode != 200 || !strings.Contains(string(text), heading) {
		t.Errorf("a plain page: %s, %v", response.Status, err)
	}
}

// streamConn is a stream of HTTP/2 as a connection.
type streamConn struct {
	net.Conn // for its addresses
	io.Reader
	io.Writer
}

func (c streamConn) Read(p []byte) (int, error)  { return c.Reader.Read(p) }
func (c streamConn) Write(p []byte) (int, error) { return c.Writer.Write(p) }

func (c streamConn) Close() error                     { return nil }
func (c streamConn) SetDeadline(time.Time) error      { return nil } // which would be the whole connection's
func (c streamConn) SetReadDeadline(time.Time) error  { return nil }
func (c streamConn) SetWriteDeadline(time.Time) error { return nil }

// gitThroughAll asks for a repository through each listener. There is none: the
// origin's own words show that git was led there.
func (f fronts) gitThroughAll(t *testing.T) {
	path := need(t, "git")
	for _, proxy := range []string{"socks5h://" + f.socks, "socks5h://alex%40corp.example:apogee@" + f.socks, "https://" + f.tls} {
		ask := func(host string) result {
			return run(t, t.TempDir(), path, "-c", "http.proxy="+proxy, "-c", "http.proxySSLCAInfo="+f.authority.file,
				"-c", "http.sslCAInfo="+f.origin.authority, "ls-remote", f.origin.url("https", host, "/none.git"))
		}
		if r := ask("git.rockets.example"); r.code == 0 || !strings.Contains(r.stderr, "not found") {
			t.Errorf("%s: exit status %d, want the origin's 404\n%s", proxy, r.code, r.stderr)
		}
		if r := ask("zoom.us"); r.code == 0 || strings.Contains(r.stderr, "not found") {
			t.Errorf("%s: exit status %d, want a refusal\n%s", proxy, r.code, r.stderr)
		}
	}
}

// chromiumThroughAll browses by way of each listener.
func (f fronts) chromiumThroughAll(t *testing.T) {
	path := need(t, "chromium")
	for name, proxy := range map[string]string{"socks": "socks5://" + f.socks, "tls": "https://" + f.tls} {
		browse := func(url string) string {
			t.Helper()
			profile := t.TempDir()
			r := run(t, profile, path,
				"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
				"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
				"--disable-extensions", "--user-data-dir="+filepath.Join(profile, "chromium"), "--proxy-server="+proxy,
				"--ignore-certificate-errors-spki-list="+f.origin.spki+","+f.spki, // these keys alone
				"--dump-dom", url)
			if at := strings.Index(r.stderr, "net::ERR_"); at >= 0 && r.stdout == "" {
				return r.stderr[at:]
			}
			return r.stdout
		}
		for _, scheme := range []string{"http", "https"} {
			if page := browse(f.origin.url(scheme, "www.rockets.example", "/")); !strings.Contains(page, launch) {
				t.Errorf("%s, %s: %s", name, scheme, lastLines(page, 20))
			}
		}
		if page := browse(f.origin.url("https", "meet.google.com", "/")); strings.Contains(page, launch) || !strings.Contains(page, "ERR_") {
			t.Errorf("%s, refused: %s", name, lastLines(page, 20))
		}
	}
}

// TestBehindHAProxy puts a load balancer before every listener, which says for
// whom it comes in either version.
func TestBehindHAProxy(t *testing.T) {
	path := need(t, "haproxy")
	f := startFronts(t, "  proxy_protocol: [127.0.0.1/32]\n")
	for version, option := range map[string]string{"version 1": "send-proxy", "version 2": "send-proxy-v2"} {
		t.Run(version, func(t *testing.T) {
			dir := t.TempDir()
			ports := map[string]int{"http": freePort(t), "socks": freePort(t), "tls": freePort(t)}
			var config strings.Builder
			config.WriteString("global\n  maxconn 100\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n")
			for name, server := range map[string]string{"http": f.proxy, "socks": f.socks, "tls": f.tls} {
				fmt.Fprintf(&config, "listen %s\n  bind 127.0.0.1:%d\n  server gateway %s %s source 127.0.0.1\n", name, ports[name], server, option)
			}
			file := filepath.Join(dir, "haproxy.cfg")
			writeFile(t, file, []byte(config.String()))
			c := spawn(t, dir, path, "-db", "-f", file)
			if !acceptsSoon(t, c, ports["http"], ports["socks"], ports["tls"]) {
				t.Skipf("haproxy does not start:\n%s", c.stderr.String())
			}
			free, zoom := f.origin.url("https", "www.rockets.example", "/"), f.origin.url("http", "zoom.us", "/")
			for i, way := range [][]string{
				{"--proxy", "http://" + loopback(ports["http"])},
				{"--socks5-hostname", loopback(ports["socks"])},
				{"--proxy", "https://" + loopback(ports["tls"]), "--proxy-cacert", f.authority.file},
			} {
				desk := fmt.Sprintf("127.0.%d.%d", len(option), 10+i)
				args := slices.Concat(way, []string{"--interface", desk})
				if got := f.curl(t, append(args, free)...); got.exit != 0 || got.status != 200 {
					t.Errorf("%v: exit status %d, status %d\n%s", way, got.exit, got.status, got.stderr)
				}
				if got := f.curl(t, append(args, zoom)...); got.status == 200 {
					t.Errorf("%v: a refused page came", way)
				}
				f.logged(t, "the desk "+desk, func(e entry) bool { return e.Client == desk && e.Action == "allow" })
			}
		})
	}
	// Whoever comes without a load balancer, from its address, is closed.
	if got := f.curl(t, "--proxy", "http://"+f.proxy, f.origin.url("http", "www.rockets.example", "/")); got.exit == 0 {
		t.Errorf("without a header: status %d", got.status)
	}
	f.wantMetric(t, 1, "sallyport_proxy_shed_total", `reason="proxy_header"`)
}
