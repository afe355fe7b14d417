package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/template"
)

// parentSettings go into sallyport.yaml: one route for each name that the tests
// ask for.
const parentSettings = `
  parents:
    squid:    {url: "http://127.0.0.1:{{.Squid.HTTP}}", credentials: parent.secret}
    secure:   {url: "https://service.rockets.example:{{.Squid.HTTPS}}", credentials: parent.secret, ca: {{.Squid.Dir}}/authority.crt}
    partner:  {url: "http://127.0.0.1:{{.Squid.HTTP}}", credentials: parent.secret, resolve: parent}
    stranger: {url: "http://127.0.0.1:{{.Squid.HTTP}}", credentials: wrong.secret}
    tiny:     {url: "http://127.0.0.1:{{.Tiny}}", credentials: parent.secret, send: address}
    socks:    {url: "socks5://127.0.0.1:{{.Socks}}", credentials: parent.secret}
    names:    {url: "socks5h://127.0.0.1:{{.Socks}}", credentials: parent.secret, resolve: parent}
    dead:     {url: "http://127.0.0.1:{{.Dead}}"}
  routes:
    - {to: alias.rockets.example, via: secure}
    - {to: partner.example, via: partner}
    - {to: notzoom.us, via: [stranger, direct]}
    - {to: git.rockets.example, via: tiny}
    - {to: zoom.us.evil.example, via: socks}
    - {to: localhost, via: names}
    - {to: ocsp.digicert.com, via: [dead, direct]}
    - {via: squid}
`

// parentSquid is a real parent proxy, running.
type parentSquid struct {
	*child
	HTTP, HTTPS int // ports
	Dir         string
	Helper      string // that knows passwords
}

// startParentSquid runs squid. Its certificate is for service.rockets.example.
func startParentSquid(t *testing.T) *parentSquid {
	t.Helper()
	path := need(t, "squid")
	for range startTries {
		s := &parentSquid{HTTP: freePort(t), HTTPS: freePort(t), Dir: openDir(t), Helper: "/usr/lib/squid/basic_ncsa_auth"}
		certify(t, s.Dir, []string{"service.rockets.example"})
		writeFile(t, filepath.Join(s.Dir, "hosts"), []byte("127.0.0.1 www.rockets.example alias.rockets.example zoomlion.com notzoom.us partner.example zoom.us\n"))
		writeFile(t, filepath.Join(s.Dir, "users"), []byte(htpasswd(t, "alex", "apogee")))
		s.openUp(t)
		s.start(t, path)
		if acceptsSoon(t, s.child, s.HTTP, s.HTTPS) {
			return s
		}
		t.Logf("squid did not start:\n%s", s.stderr.String())
	}
	t.Fatal("squid does not start")
	return nil
}

// start runs squid with the ports that it has.
func (s *parentSquid) start(t *testing.T, path string) {
	t.Helper()
	config := render(t, s.Dir, "parent-squid.conf", s)
	s.child = spawn(t, s.Dir, path, "-N", "-d", "1", "-f", config)
}

// openUp lets squid read its files where it is started by root, and becomes
// somebody else.
func (s *parentSquid) openUp(t *testing.T) {
	t.Helper()
	for _, name := range []string{"users", "hosts"} {
		if err := os.Chmod(filepath.Join(s.Dir, name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// asked is what squid has been asked, as its own log says: method, URL, user
// and status.
func (s *parentSquid) asked(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.Dir, "access.log"))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 7 {
			_, status, _ := strings.Cut(f[3], "/")
			all = append(all, strings.Join([]string{f[5], f[6], f[7], status}, " "))
		}
	}
	return all
}

// wantAsked waits until squid's log has a line.
func (s *parentSquid) wantAsked(t *testing.T, line string) {
	t.Helper()
	eventually(t, "squid's log has "+line, func() error {
		all := s.asked(t)
		for _, asked := range all {
			if asked == line {
				return nil
			}
		}
		return fmt.Errorf("it has %q", all)
	})
}

// startTinyproxy runs tinyproxy, and gives its port.
func startTinyproxy(t *testing.T) int {
	t.Helper()
	path := need(t, "tinyproxy")
	for range startTries {
		dir, port := t.TempDir(), freePort(t)
		c := spawn(t, dir, path, "-d", "-c", render(t, dir, "tinyproxy.conf", map[string]any{"Port": port}))
		if acceptsSoon(t, c, port) {
			return port
		}
		t.Logf("tinyproxy did not start:\n%s", c.stderr.String())
	}
	t.Fatal("tinyproxy does not start")
	return 0
}

// startMicrosocks runs a SOCKS proxy, and gives its port.
func startMicrosocks(t *testing.T) int {
	t.Helper()
	path := need(t, "microsocks")
	for range startTries {
		port := freePort(t)
		c := spawn(t, t.TempDir(), path, "-i", "127.0.0.1", "-p", strconv.Itoa(port), "-u", "alex", "-P", "apogee")
		if acceptsSoon(t, c, port) {
			return port
		}
		t.Logf("microsocks did not start:\n%s", c.stderr.String())
	}
	t.Fatal("microsocks does not start")
	return 0
}

// startBehindParents runs the gateway with the routes of parentSettings.
func startBehindParents(t *testing.T, upstream int, values any) *gateway {
	t.Helper()
	binary := sallyport(t)
	dir, config := configure(t, setting{Upstream: upstream}, readFile(t, "testdata/policy.yaml"))
	parsed, err := template.New("parents").Parse(parentSettings)
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	if err := parsed.Execute(&lines, values); err != nil {
		t.Fatal(err)
	}
	writeFile(t, config, []byte(changed(t, readFile(t, config), "\n  drain: 2s\n", "\n  drain: 2s"+lines.String())))
	writeFile(t, filepath.Join(dir, "parent.secret"), []byte("alex:apogee\n"))
	writeFile(t, filepath.Join(dir, "wrong.secret"), []byte("alex:perigee\n"))
	g := &gateway{dir: dir, child: spawn(t, dir, binary, "serve", "--config", config)}
	g.waitReady(t)
	return g
}

// parented is a town whose gateway goes through parents.
type parented struct {
	town
	squid *parentSquid
}

// TestParents leads the gateway's traffic through real proxies.
func TestParents(t *testing.T) {
	for _, server := range []string{"unbound", "nginx", "squid", "tinyproxy", "microsocks"} {
		need(t, server)
	}
	sallyport(t) // built before anything is started
	upstream, site, s := startUnbound(t), startNginx(t), startParentSquid(t)
	g := startBehindParents(t, upstream, map[string]any{
		"Squid": s, "Tiny": startTinyproxy(t), "Socks": startMicrosocks(t), "Dead": freePort(t),
	})
	p := parented{town{gateway: g, upstream: upstream, origin: site}, s}
	t.Run("Same", p.same)
	t.Run("Squid", p.bySquid)
	t.Run("NamesOfOthers", p.namesOfOthers)
	t.Run("Refused", p.refused)
	t.Run("Banned", p.banned)
	t.Run("NextWay", p.nextWay)
	t.Run("Restart", p.restart)
}

// same compares what comes through each parent with what comes directly.
func (p parented) same(t *testing.T) {
	for name, parent := range map[string]string{
		"www.rockets.example": "squid", "alias.rockets.example": "secure", "git.rockets.example": "tiny", "zoom.us.evil.example": "socks",
	} {
		for _, scheme := range []string{"http", "https"} {
			before := p.metric(t, "sallyport_proxy_outbound_dials_total", `parent="`+parent+`"`, `result="ok"`)
			for _, path := range []string{"/", "/blob.bin", "/no-such-page"} {
				url := p.origin.url(scheme, name, path)
				direct, through := p.direct(t, url), p.through(t, url)
				if through.exit != 0 || through.status != direct.status || through.body != direct.body {
					t.Errorf("%s by %s: curl exit %d, status %d, %d bytes; directly status %d, %d bytes: %s",
						url, parent, through.exit, through.status, len(through.body), direct.status, len(direct.body), through.stderr)
				}
			}
			eventually(t, fmt.Sprintf("a connection for %s by %s is counted", scheme, parent), func() error {
				return atLeast(p.metric(t, "sallyport_proxy_outbound_dials_total", `parent="`+parent+`"`, `result="ok"`), before+1)
			})
		}
	}
	if n := p.metric(t, "sallyport_proxy_outbound_dials_total", `parent="direct"`); n != 0 {
		t.Errorf("%v connections went directly", n)
	}
}

// bySquid looks at how squid was asked: by name, as somebody that it knows, and
// for a plain page not by CONNECT.
func (p parented) bySquid(t *testing.T) {
	seen := p.through(t, p.origin.url("http", "www.rockets.example", "/seen"))
	if seen.status != 200 || !strings.Contains(seen.body, "proxy-authorization=\n") || !strings.Contains(seen.body, "host=www.rockets.example:") {
		t.Errorf("the origin sees:\n%s", seen.body)
	}
	p.squid.wantAsked(t, "GET "+p.origin.url("http", "www.rockets.example", "/seen")+" alex 200")
	p.squid.wantAsked(t, "CONNECT www.rockets.example:"+strconv.Itoa(p.origin.https)+" alex 200")
	p.squid.wantAsked(t, "CONNECT alias.rockets.example:"+strconv.Itoa(p.origin.https)+" alex 200")
}

// namesOfOthers asks for names that only the parent can look up.
func (p parented) namesOfOthers(t *testing.T) {
	for _, name := range []string{"partner.example", "localhost"} {
		for _, scheme := range []string{"http", "https"} {
			f := p.through(t, p.origin.url(scheme, name, "/"), "--insecure")
			if f.status != 200 {
				t.Errorf("%s %s: status %d, CONNECT %d: %s", scheme, name, f.status, f.connect, f.stderr)
			}
		}
	}
}

// refused is what a parent does not allow, or whom it does not know: that is
// not gone round, and the client is not asked for a password.
func (p parented) refused(t *testing.T) {
	for name, want := range map[string]string{"zoomlion.com": "http_request_denied", "notzoom.us": "proxy_configuration_error"} {
		before := p.origin.requests(t)
		f := p.through(t, p.origin.url("https", name, "/"))
		if f.connect != 502 || !strings.Contains(f.proxy.Get("Proxy-Status"), want) || f.proxy.Get("Proxy-Authenticate") != "" {
			t.Errorf("%s: CONNECT answered %d, Proxy-Status %q, want 502 and %s", name, f.connect, f.proxy.Get("Proxy-Status"), want)
		}
		if p.origin.requests(t) != before {
			t.Errorf("%s was reached all the same", name)
		}
	}
	if f := p.through(t, p.origin.url("http", "notzoom.us", "/")); f.status != 502 || f.head.Get("Proxy-Authenticate") != "" {
		t.Errorf("plain: status %d, Proxy-Authenticate %q, want 502 and none", f.status, f.head.Get("Proxy-Authenticate"))
	}
	log := p.stderr.String()
	if !strings.Contains(log, "parent proxy does not let us in") || !strings.Contains(log, "stranger") {
		t.Errorf("the log does not say that a parent does not take our credentials:\n%s", lastLines(log, 10))
	}
	for _, secret := range []string{"apogee", "perigee", "YWxleDph", "YWxleDpw"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
}

// banned is refused here, whatever the way: no parent hears of it.
func (p parented) banned(t *testing.T) {
	if f := p.through(t, p.origin.url("https", "zoom.us", "/")); f.connect != 403 || f.proxy.Get("X-Sallyport-Rule") != "zoom-memo" {
		t.Errorf("CONNECT answered %d, want 403 by zoom-memo", f.connect)
	}
	for _, asked := range p.squid.asked(t) {
		if strings.Contains(asked, "//zoom.us") || strings.Contains(asked, " zoom.us") {
			t.Errorf("squid was asked for %s", asked)
		}
	}
}

// nextWay has a parent first at which nobody listens.
func (p parented) nextWay(t *testing.T) {
	for _, scheme := range []string{"https", "http", "https"} {
		if f := p.through(t, p.origin.url(scheme, "ocsp.digicert.com", "/")); f.status != 200 {
			t.Errorf("%s: status %d: %s", scheme, f.status, f.stderr)
		}
	}
	p.wantMetric(t, 0, "sallyport_proxy_parent_up", `parent="dead"`) // at which nobody listens
	p.wantMetric(t, 1, "sallyport_proxy_parent_up", `parent="squid"`)
}

// restart stops the only way, and starts it again.
func (p parented) restart(t *testing.T) {
	url := p.origin.url("https", "www.rockets.example", "/")
	p.squid.stop(t)
	before := p.origin.requests(t)
	if f := p.through(t, url); f.connect != 502 {
		t.Errorf("without its parent CONNECT is answered %d, want 502", f.connect)
	}
	if p.origin.requests(t) != before {
		t.Error("the origin was reached without the parent")
	}
	p.squid.start(t, need(t, "squid"))
	if !acceptsSoon(t, p.squid.child, p.squid.HTTP, p.squid.HTTPS) {
		t.Fatalf("squid did not start again:\n%s", p.squid.stderr.String())
	}
	eventually(t, "the parent is used again", func() error {
		if f := p.through(t, url); f.status != 200 {
			return fmt.Errorf("status %d, CONNECT %d", f.status, f.connect)
		}
		return nil
	})
}
