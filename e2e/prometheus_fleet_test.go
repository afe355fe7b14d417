package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// watchedFleet is two gateways with everything switched on that there are
// metrics of, and what is around them.
type watchedFleet struct {
	a, b          *watchedGateway
	first, second *resolver
	parent        *parentProxy
	echo          string // host:port
	lists         string // URL of a server of lists
	policy        string // as it is at first
}

// watchedGateway is one of them.
type watchedGateway struct {
	*gateway
	authority *authority // of its listeners' certificate
}

func startWatchedFleet(t *testing.T) *watchedFleet {
	t.Helper()
	sallyport(t)
	f := &watchedFleet{first: startResolver(t, ""), second: startResolver(t, ""), parent: startParent(t), echo: echoServer(t)}
	lists := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("tracker.example\n")) }))
	t.Cleanup(lists.Close)
	f.policy = changed(t, readFile(t, "testdata/watched-policy.yaml"), "LISTS", lists.URL)
	f.lists = lists.URL
	f.a, f.b = f.start(t), f.start(t)
	return f
}

func (f *watchedFleet) start(t *testing.T) *watchedGateway {
	t.Helper()
	dir := t.TempDir()
	g := &watchedGateway{authority: newAuthority(t, dir)}
	g.certificate(t, dir, 365*24*time.Hour)
	if made := run(t, dir, sallyport(t), "ca", "init", "--certificate", "ca.crt", "--key", "ca.key", "--permit", "zoom.us"); made.code != 0 {
		t.Fatalf("ca init: %d\n%s", made.code, made.stderr)
	}
	writeFile(t, filepath.Join(dir, "partners.txt"), []byte("partner-meetings.example\n"))
	writeFile(t, filepath.Join(dir, "users.htpasswd"), []byte(htpasswd(t, "priya@corp.example", "orbit")))
	writeFile(t, filepath.Join(dir, "policy.yaml"), []byte(f.policy))
	config := render(t, dir, "watched.yaml", map[string]any{"First": f.first.port, "Second": f.second.port, "Parent": f.parent.port})
	g.gateway = &gateway{dir: dir, child: spawn(t, dir, sallyport(t), "serve", "--config", config)}
	g.waitReady(t)
	return g
}

// certificate gives the listeners one that has so long to live.
func (g *watchedGateway) certificate(t *testing.T, dir string, life time.Duration) {
	t.Helper()
	g.authority.cert.NotAfter = time.Now().Add(life)
	g.authority.serverCertificate(t, dir, time.Now().UnixNano())
}

// replace writes a file as an admin's tool does, whole.
func (g *watchedGateway) replace(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(g.dir, name)
	writeFile(t, path+".new", []byte(text))
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// widen adds a list by URL to the policy of both, which is then fetched.
func (f *watchedFleet) widen(t *testing.T) {
	t.Helper()
	f.policy = changed(t, f.policy, "/trackers.txt\"}\n", "/trackers.txt\"}\n  more: {url: \""+f.lists+"/more.txt\"}\n")
	f.policy = changed(t, f.policy, "lists: [partners, trackers]", "lists: [partners, trackers, more]")
	for _, g := range []*watchedGateway{f.a, f.b} {
		g.replace(t, "policy.yaml", f.policy)
		eventually(t, "the new list is in force", func() error {
			if g.metric(t, "sallyport_list_entries", `list="more"`) == 0 {
				return errors.New("it is not")
			}
			return nil
		})
	}
}

// fill has the system find no room for what the gateway logs, or some again.
func (g *watchedGateway) fill(t *testing.T, full bool) {
	t.Helper()
	for _, name := range []string{"decisions.jsonl", "access.log"} {
		path := filepath.Join(g.dir, name)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if full {
			if err := os.Symlink("/dev/full", path); err != nil {
				t.Fatal(err)
			}
		}
	}
	g.signal(t, hangup)
}

// hold opens n tunnels, and gives a func that closes them.
func (g *watchedGateway) hold(t *testing.T, n int, target string) func() {
	t.Helper()
	var open []net.Conn
	for range n {
		conn, _, err := connectVia(g.proxy, target)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
	}
	return func() {
		for _, conn := range open {
			conn.Close()
		}
	}
}

// grant has somebody continue past a warning, and somebody else fail to.
func (f *watchedFleet) grant(t *testing.T) {
	t.Helper()
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true, Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: f.a.proxy}),
	}}
	warned, err := client.Get("http://whereby.com/")
	if err != nil {
		t.Fatal(err)
	}
	warned.Body.Close()
	link := warned.Header.Get("X-Sallyport-Continue")
	direct := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, to := range []string{link, strings.Replace(link, "?t=A", "?t=B", 1)} {
		answer, err := direct.PostForm(to, url.Values{})
		if err != nil {
			t.Fatalf("continue past a warning by %q: %v", to, err)
		}
		answer.Body.Close()
	}
	eventually(t, "the grant is counted", func() error {
		if held := f.a.metric(t, "sallyport_coaching_grants"); held != 1 {
			return fmt.Errorf("%v are held", held)
		}
		return nil
	})
}

// parentProxy stands for a proxy between the gateways and the internet: it has a
// page for whatever it is asked for.
type parentProxy struct {
	server *httptest.Server
	port   int
}

func startParent(t *testing.T) *parentProxy {
	t.Helper()
	p := &parentProxy{}
	p.start(t, "127.0.0.1:0")
	t.Cleanup(func() { p.server.Close() })
	return p
}

func (p *parentProxy) start(t *testing.T, address string) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	p.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(strings.Repeat("a page\n", 10)))
	}))
	p.server.Listener.Close()
	p.server.Listener = listener
	p.server.Start()
	p.port = listener.Addr().(*net.TCPAddr).Port
}

// again starts it anew at its port.
func (p *parentProxy) again(t *testing.T) {
	t.Helper()
	p.start(t, loopback(p.port))
}
