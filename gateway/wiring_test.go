package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// excepted bans an app for everybody but one user.
const excepted = `
version: 1
groups:
  employees: {networks: [127.0.0.0/8]}
  liaison: {users: [priya@corp.example]}
rules:
  - {name: liaison, who: {groups: [liaison]}, what: {apps: [zoom]}, action: allow}
  - {name: memo, who: {groups: [employees]}, what: {apps: [zoom]}, action: block}
default: allow
`

// TestUsers signs in at the proxy, and is known at the DNS door afterwards.
func TestUsers(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("open: sesame"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	users := filepath.Join(t.TempDir(), "users.htpasswd")
	writeFile(t, users, "priya@corp.example:"+string(hash)+"\n")
	port := echoServer(t)
	g := start(t, excepted, func(c *Config, _ *Dependencies) {
		c.Proxy.UsersFile = users
		c.Users.Remember = time.Hour
	})
	ask := func(password string) *http.Response {
		t.Helper()
		header := ""
		if password != "" {
			header = "Proxy-Authorization: " + basic("Priya@corp.example", password) + "\r\n"
		}
		conn, err := net.Dial("tcp", g.addr("proxy http"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		response, err := sendConnect(conn, "us04web.zoom.us:"+port, header)
		if err != nil {
			t.Fatal(err)
		}
		return response
	}
	if r := ask(""); r.StatusCode != http.StatusProxyAuthRequired || r.Header.Get("Proxy-Authenticate") == "" {
		t.Errorf("nobody has signed in: %s, %v", r.Status, r.Header)
	}
	if r := ask("guess"); r.StatusCode != http.StatusProxyAuthRequired {
		t.Errorf("a wrong password: %s", r.Status)
	}
	if !g.blockedByDNS("zoom.us") {
		t.Error("the DNS door knows a user who has not signed in")
	}
	if r := ask("open: sesame"); r.StatusCode != http.StatusOK {
		t.Errorf("the right password: %s", r.Status)
	}
	if g.blockedByDNS("zoom.us") {
		t.Error("the DNS door does not know who signed in from this address")
	}
	eventually(t, func() error {
		for _, e := range g.entries() {
			if e["user"] == "priya@corp.example" && e["door"] == "dns" && e["identity"] == "remembered" {
				return nil
			}
		}
		return errors.New("no entry says how the user was known")
	})

	// A file that cannot be read takes nobody away.
	writeFile(t, users, "not a password file\n")
	if out, err := g.reloader.ask(t.Context()); err != nil || !out.problems.HasErrors() {
		t.Errorf("the bad file was taken: %v, %v", out.problems, err)
	}
	if r := ask("open: sesame"); r.StatusCode != http.StatusOK {
		t.Errorf("after a bad edit of the users: %s", r.Status)
	}
}

// TestDestinationsThatAreNeverDialled goes for private networks and for the
// gateway's own listeners.
func TestDestinationsThatAreNeverDialled(t *testing.T) {
	port := echoServer(t)
	g := start(t, memo, func(c *Config, _ *Dependencies) { c.Proxy.DenyNone = false })
	if _, status, header := g.connect("intranet.corp.example:" + port); status != http.StatusForbidden {
		t.Errorf("a name that leads to loopback: %d %v", status, header)
	}
	g = start(t, memo, func(c *Config, _ *Dependencies) {
		c.Proxy.DenyNone, c.Proxy.DenyNetworks = false, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	})
	if conn, status, _ := g.connect("intranet.corp.example:" + port); status != http.StatusOK {
		t.Errorf("only 192.0.2.0/24 is denied: %d", status)
	} else {
		_ = conn.Close()
	}
	for _, name := range []string{"admin http", "portal http", "proxy http", "dns tcp"} {
		if _, status, _ := g.connect(g.addr(name)); status != http.StatusForbidden {
			t.Errorf("the proxy leads to the gateway's own %s listener: %d", name, status)
		}
	}
}

func TestUpstreams(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "resolv.conf")
	writeFile(t, conf, "search corp.example\nnameserver 192.0.2.53\nnameserver 2001:db8::53\n")
	for _, test := range []struct {
		configured []string
		conf       string
		want       []string
	}{
		{[]string{"udp://192.0.2.1:53"}, conf, []string{"udp://192.0.2.1:53"}},
		{nil, conf, []string{"udp://192.0.2.53:53", "udp://[2001:db8::53]:53"}},
		{nil, filepath.Join(dir, "none"), []string{libcResolver}},
	} {
		g := &Gateway{config: &Config{DNS: DNSConfig{Upstreams: test.configured}}, deps: Dependencies{}.withDefaults()}
		if got := g.upstreams(test.conf); !slices.Equal(got, test.want) {
			t.Errorf("configured %v, system %s: got %v, want %v", test.configured, test.conf, got, test.want)
		}
	}
}

func TestPageAddresses(t *testing.T) {
	interfaces := func() ([]net.Addr, error) {
		var all []net.Addr
		for _, text := range []string{"127.0.0.1/8", "169.254.1.1/16", "192.0.2.7/24", "192.0.2.8/24", "::1/128", "fe80::1/64", "2001:db8::7/64"} {
			ip, network, err := net.ParseCIDR(text)
			if err != nil {
				return nil, err
			}
			all = append(all, &net.IPNet{IP: ip, Mask: network.Mask})
		}
		return all, nil
	}
	for _, test := range []struct {
		config PortalConfig
		want   string
	}{
		{PortalConfig{Listen: "192.0.2.1:80"}, "[192.0.2.1]"},
		{PortalConfig{Listen: "[::1]:80"}, "[::1]"},
		{PortalConfig{Listen: "0.0.0.0:80"}, "[192.0.2.7]"},
		{PortalConfig{Listen: ":80"}, "[192.0.2.7 2001:db8::7]"},
		{PortalConfig{Listen: "[::]:80"}, "[192.0.2.7 2001:db8::7]"},
		{PortalConfig{Listen: ""}, "[]"},
		{PortalConfig{Listen: ":80", Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.1")}}, "[198.51.100.1]"},
	} {
		if got := fmt.Sprint(pageAddresses(test.config, interfaces)); got != test.want {
			t.Errorf("%+v: got %s, want %s", test.config, got, test.want)
		}
	}
	broken := func() ([]net.Addr, error) { return nil, errors.New("no interfaces") }
	if got := pageAddresses(PortalConfig{Listen: ":80"}, broken); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}
