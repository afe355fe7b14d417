package gateway

import (
	"bytes"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/console"
	"github.com/sallyport/sallyport/pac"
	"github.com/sallyport/sallyport/policy"
)

const steered = `version: 1
groups: {here: {networks: [127.0.0.0/8]}, there: {networks: [10.0.0.0/8]}, board: {users: [chair]}}
rules:
  - {name: mine, who: {groups: [here]}, what: {domains: [mine.example]}, action: block}
  - {name: theirs, who: {groups: [there]}, what: {domains: [theirs.example]}, action: block}
  - {name: directors, who: {groups: [board]}, what: {domains: [board.example]}, action: block}
default: allow
`

// fetchPAC asks the portal under a host.
func (r *running) fetchPAC(path, host, tag string) (*http.Response, string) {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), "GET", "http://"+r.addr("portal http")+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if host != "" {
		request.Host = host
	}
	if tag != "" {
		request.Header.Set("If-None-Match", tag)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return response, string(body)
}

func TestAutoConfigurationFollowsThePolicy(t *testing.T) {
	r := start(t, steered, func(c *Config, _ *Dependencies) {
		c.Portal.PAC.Judged = true
		c.Portal.Hosts = []string{"gate.corp.example"}
		c.DNS.Records = []string{"wpad.corp.example. 300 IN A 127.0.0.1"}
	})
	first, body := r.fetchPAC("/proxy.pac", "", "")
	tag := first.Header.Get("ETag")
	if first.StatusCode != 200 || !strings.Contains(body, `"PROXY `+r.addr("proxy http")+`"`) || !strings.Contains(body, `".mine.example": 3`) {
		t.Fatalf("%d %s", first.StatusCode, body)
	}
	for _, others := range []string{"theirs", "board", "chair"} {
		if strings.Contains(body, others) {
			t.Errorf("another client's %q shows", others)
		}
	}
	if again, body := r.fetchPAC("/wpad.dat", "", tag); again.StatusCode != 304 || body != "" {
		t.Errorf("the same again: %d %q", again.StatusCode, body)
	}
	for host, mine := range map[string]bool{
		"gate.corp.example": true, "wpad": true, "wpad.corp.example": true, "localhost": true, "192.0.2.9:8080": true,
		"wpad.evil.example": false, "www.evil.example": false,
	} {
		response, body := r.fetchPAC("/wpad.dat", host, "")
		if response.StatusCode != 200 || strings.Contains(body, "mine.example") != mine || strings.Contains(body, "everything = true") == mine {
			t.Errorf("%s: status %d, names of the policy are there: %v, want %v", host, response.StatusCode, !mine, mine)
		}
	}
	if n := r.log.FilterMessageSnippet("may be somebody else's").Len(); n != 1 {
		t.Errorf("%d warnings of foreign names, want 1", n)
	}

	before := r.engine.Program().Revision()
	writeFile(t, r.policy, strings.Replace(steered, "mine.example", "edited.example", 1))
	r.wantNewRevision(before)
	if after, body := r.fetchPAC("/proxy.pac", "", tag); after.StatusCode != 200 || !strings.Contains(body, ".edited.example") || strings.Contains(body, "mine.example") {
		t.Errorf("after an edit: %d %s", after.StatusCode, body)
	}
}

// TestAutoConfigurationTellsWhy: where everything goes to the proxy because of a
// rule, the log says which, once.
func TestAutoConfigurationTellsWhy(t *testing.T) {
	r := start(t, strings.Replace(steered, "domains: [mine.example]", `domains: ["/^mine/"]`, 1), func(c *Config, _ *Dependencies) {
		c.Portal.PAC.Judged = true
	})
	for range 3 {
		if _, body := r.fetchPAC("/proxy.pac", "", ""); !strings.Contains(body, "everything = true") {
			t.Fatal(body)
		}
	}
	told := r.log.FilterMessageSnippet("send everything to the proxy").All()
	if len(told) != 1 || told[0].ContextMap()["rule"] != "mine" || told[0].ContextMap()["because"] != policy.WholeRegexp.String() {
		t.Errorf("the log says %v", told)
	}
}

func TestAutoConfigurationWithSignIn(t *testing.T) {
	for users, want := range map[string]bool{"": false, "users.htpasswd": true} {
		c := testConfig(t, "policy.yaml")
		c.Portal.PAC.Judged, c.Proxy.UsersFile = true, users
		script, _ := madeFor(t, c, []Address{{"proxy http", "10.0.0.2:3128"}}, "192.0.2.7", "10.0.0.2")
		if got := !strings.Contains(script, "checksums = {}"); got != want {
			t.Errorf("users %q: there are checksums: %v", users, got)
		}
	}
}

// madeFor is the file that a gateway that listens at bound would give.
func madeFor(t *testing.T, c *Config, bound []Address, client, reached string) (string, error) {
	t.Helper()
	doc, problems := policy.Parse([]policy.File{{Name: "policy.yaml", Data: []byte(steered)}})
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	program, problems := policy.Compile(doc, policy.Sources{Revision: "test"})
	if program == nil {
		t.Fatal(problems)
	}
	deps := Dependencies{}.withDefaults()
	g := &Gateway{config: c, deps: deps, engine: policy.NewEngine(program)}
	g.bound.Store(&bound)
	host, err := policy.ParseHost(reached)
	if err != nil {
		t.Fatal(err)
	}
	file, err := g.newAutoConfiguration().file(netip.MustParseAddr(client), host)
	if err != nil {
		return "", err
	}
	return joined(file), nil
}

func joined(file console.AutoConfiguration) string { return string(bytes.Join(file.Parts, nil)) }

// TestAdvertisedProxies: browsers are told of proxies that they can reach.
func TestAdvertisedProxies(t *testing.T) {
	proxy := func(text string) pac.Proxy {
		p, err := pac.ParseProxy(text)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	everywhere := []Address{{"proxy http", "[::]:3128"}, {"proxy tls", "[::]:3129"}, {"proxy socks", "0.0.0.0:1080"}, {"portal http", "[::]:80"}}
	for _, test := range []struct {
		name      string
		bound     []Address
		advertise string
		proxies   []pac.Proxy
		reached   string
		want      string // "" where there is none
	}{
		{"as the portal was reached", everywhere, "", nil, "gateway.corp.example", "PROXY gateway.corp.example:3128"},
		{"by address", everywhere, "", nil, "192.0.2.9", "PROXY 192.0.2.9:3128"},
		{"by IPv6 address", everywhere, "", nil, "2001:db8::1", "PROXY [2001:db8::1]:3128"},
		{"as configured", everywhere, "proxy.corp.example:8888", nil, "192.0.2.9", "PROXY proxy.corp.example:8888"},
		{"where it listens", []Address{{"proxy http", "10.0.0.2:3128"}}, "", nil, "gateway.corp.example", "PROXY 10.0.0.2:3128"},
		{"several, as reached", []Address{{"proxy http", "127.0.0.1:1"}, {"proxy http", "10.0.0.2:2"}, {"proxy http", "10.0.0.3:3"}}, "", nil, "10.0.0.3", "PROXY 10.0.0.3:3"},
		{"several, by name", []Address{{"proxy http", "127.0.0.1:1"}, {"proxy http", "10.0.0.2:2"}, {"proxy http", "10.0.0.3:3"}}, "", nil, "gate.corp.example", "PROXY 10.0.0.2:2"},
		{"several, from this machine", []Address{{"proxy http", "10.0.0.2:2"}, {"proxy http", "127.0.0.1:1"}}, "", nil, "127.0.0.1", "PROXY 127.0.0.1:1"},
		{"several, from localhost", []Address{{"proxy http", "127.0.0.1:1"}, {"proxy http", "10.0.0.2:2"}}, "", nil, "localhost", "PROXY 127.0.0.1:1"},
		{"all kinds", everywhere, "", []pac.Proxy{proxy("https"), proxy("http"), proxy("socks5")}, "gw.example", "HTTPS gw.example:3129; PROXY gw.example:3128; SOCKS5 gw.example:1080"},
		{"others", everywhere, "ignored.example:1", []pac.Proxy{proxy("a.example:1"), proxy("https://b.example:2")}, "gw.example", "PROXY a.example:1; HTTPS b.example:2"},
		{"a kind that does not listen", everywhere[:1], "", []pac.Proxy{proxy("https"), proxy("http")}, "gw.example", "PROXY gw.example:3128"},
		{"none", nil, "", nil, "gw.example", ""},
	} {
		c := testConfig(t, "policy.yaml")
		c.Proxy.Advertise = test.advertise
		if test.proxies != nil {
			c.Portal.PAC.Proxies = test.proxies
		}
		script, err := madeFor(t, c, test.bound, "192.0.2.7", test.reached)
		switch {
		case test.want == "" && err == nil:
			t.Errorf("%s: there is a file", test.name)
		case test.want != "" && !strings.Contains(script, `var proxies = "`+test.want+`";`):
			t.Errorf("%s: %v\n%s", test.name, err, strings.Join(strings.SplitN(script, "\n", 4)[:min(3, strings.Count(script, "\n"))], "\n"))
		}
	}
}

func TestPortalNames(t *testing.T) {
	c := DefaultConfig()
	c.Portal.Hosts = []string{"gate.corp.example"}
	c.DNS.Records = []string{"WPAD.Corp.Example. 300 IN A 10.0.0.2", "wpad.lab.example\tA 10.0.0.2", "www.corp.example A 10.0.0.3", "$GENERATE 1-2 wpad.x$.example A 10.0.0.1", " "}
	names := portalNames(c)
	for name, want := range map[string]bool{
		"gate.corp.example": true, "wpad": true, "localhost": true, "wpad.corp.example": true, "wpad.lab.example": true,
		"www.corp.example": false, "wpad.evil.example": false, "wpad.x1.example": false, "": false,
	} {
		if names[name] != want {
			t.Errorf("%q is the portal's: %v, want %v", name, !want, want)
		}
	}
}
