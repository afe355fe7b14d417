package outbound

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func tree(name string) Destination  { return Destination{Name: name} }
func exact(name string) Destination { return Destination{Name: name, Match: MatchExact} }
func below(name string) Destination { return Destination{Name: name, Match: MatchBelow} }
func within8(prefix string) Destination {
	return Destination{Prefix: netip.MustParsePrefix(prefix)}
}

func TestRoutes(t *testing.T) {
	parents := map[string]*parent{}
	for i := range 6 {
		name := fmt.Sprint("p", i)
		parents[name] = &parent{name: name}
	}
	table, err := newRoutes([]Route{
		{To: []Destination{exact("login.corp.example"), below("deep.example")}, Via: []string{"p0"}},
		{To: []Destination{within8("10.0.0.0/8"), tree("corp.example")}, Via: []string{"p1"}},
		{To: []Destination{tree("login.corp.example"), tree("example")}, Via: []string{"p2"}},
		{To: []Destination{within8("10.1.0.0/16"), within8("2001:db8::/32")}, Via: []string{"p3"}},
	}, parents)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ host, addr, want string }{
		{"login.corp.example", "192.0.2.1", "p0"},
		{"x.login.corp.example", "192.0.2.1", "p1"}, // corp.example stands above
		{"corp.example", "192.0.2.1", "p1"},
		{"notcorp.example", "192.0.2.1", "p2"},
		{"deep.example", "192.0.2.1", "p2"},
		{"very.deep.example", "192.0.2.1", "p0"},
		{"example", "192.0.2.1", "p2"},
		{"www.test", "192.0.2.1", "direct"},
		{"www.test", "10.1.2.3", "p1"},
		{"www.test", "::ffff:10.1.2.3", "p1"},
		{"www.test", "2001:db8::1", "p3"},
		{"www.example", "10.1.2.3", "p1"}, // the network stands above
		{"www.example", "2001:db8::1", "p2"},
		{"10.1.2.3", "10.1.2.3", "p1"},
		{"2001:db8::1", "2001:db8::1", "p3"},
		{"www.test", "", "direct"},
		{"", "", "direct"},
		{"corp.example.evil.test", "", "direct"},
	} {
		var list []netip.Addr
		if c.addr != "" {
			list = addresses("203.0.113.1", c.addr)
		}
		got := Direct
		if r := table.find(c.host, list); r != nil {
			got = r.steps[0].name
		}
		if got != c.want {
			t.Errorf("%s (%s) goes via %s, want %s", c.host, c.addr, got, c.want)
		}
	}
}

// A route for everything takes what stands below it.
func TestRoutesEndWithEverything(t *testing.T) {
	parents := map[string]*parent{"p0": {name: "p0"}, "p1": {name: "p1"}}
	table, err := newRoutes([]Route{
		{To: []Destination{tree("corp.example")}, Via: []string{Direct}},
		{Via: []string{"p0", Direct}},
		{To: []Destination{tree("example"), within8("0.0.0.0/0")}, Via: []string{"p1"}},
	}, parents)
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]step{"a.corp.example": nil, "b.example": parents["p0"], "c.test": parents["p0"]} {
		if got := table.find(host, addresses("192.0.2.1")); got == nil || got.steps[0] != want {
			t.Errorf("%s goes by %+v", host, got)
		}
	}
}

func TestNeedsAddrs(t *testing.T) {
	at := Endpoint{SchemeHTTP, "127.0.0.1", 3128}
	d := newDialer(t, Config{
		Parents: []Parent{{Name: "here", Endpoint: at}, {Name: "there", Endpoint: at, FindsNames: true}},
		Routes: []Route{
			{To: []Destination{within8("0.0.0.0/0")}, Via: []string{"here"}},
			{To: []Destination{tree("both.example")}, Via: []string{"there", "here"}},
			{To: []Destination{tree("straight.example")}, Via: []string{"there", Direct}},
			{To: []Destination{tree("there.example")}, Via: []string{"there"}},
		},
	}, Dependencies{})
	for name, want := range map[string]bool{
		"both.example": true, "straight.example": true, "www.there.example": false, "www.test": true,
	} {
		if got := d.NeedsAddrs(name); got != want {
			t.Errorf("%s needs addresses: %v, want %v", name, got, want)
		}
	}
	if !newDialer(t, Config{}, Dependencies{}).NeedsAddrs("www.test") {
		t.Error("without routes no addresses are needed")
	}
}

func TestNewRefuses(t *testing.T) {
	at := Endpoint{SchemeHTTP, "127.0.0.1", 3128}
	socks := Endpoint{SchemeSOCKS5, "127.0.0.1", 1080}
	secure := Endpoint{SchemeHTTPS, "127.0.0.1", 3128}
	site := Parent{Name: "site", Endpoint: at}
	for _, c := range []struct {
		name   string
		config Config
		want   string
	}{
		{"negative time", Config{Timeout: -1}, "negative"},
		{"two of a name", Config{Parents: []Parent{site, site}}, "twice"},
		{"direct", Config{Parents: []Parent{{Name: "direct", Endpoint: at}}}, "another name"},
		{"no name", Config{Parents: []Parent{{Endpoint: at}}}, "another name"},
		{"odd name", Config{Parents: []Parent{{Name: "a b", Endpoint: at}}}, "another name"},
		{"names and addresses", Config{Parents: []Parent{{Name: "a", Endpoint: at, FindsNames: true, SendAddress: true}}}, "cannot look names up"},
		{"names by socks5", Config{Parents: []Parent{{Name: "a", Endpoint: socks, FindsNames: true}}}, "cannot look names up"},
		{"addresses by socks", Config{Parents: []Parent{{Name: "a", Endpoint: socks, SendAddress: true}}}, "scheme"},
		{"authorities in plain", Config{Parents: []Parent{{Name: "a", Endpoint: at, CAFile: "x"}}}, "without TLS"},
		{"no file of authorities", Config{Parents: []Parent{{Name: "a", Endpoint: secure, CAFile: "missing.pem"}}}, "missing.pem"},
		{"no authority", Config{Parents: []Parent{{Name: "a", Endpoint: secure, CAFile: secretFile(t, "x")}}}, "no certificate"},
		{"no credentials", Config{Parents: []Parent{{Name: "a", Endpoint: at, CredentialsFile: "missing.secret"}}}, "missing.secret"},
		{"no password", Config{Parents: []Parent{{Name: "a", Endpoint: socks, CredentialsFile: secretFile(t, "x:")}}}, "1 to 255"},
		{"long user", Config{Parents: []Parent{{Name: "a", Endpoint: socks, CredentialsFile: secretFile(t, strings.Repeat("x", 256)+":y")}}}, "1 to 255"},
		{"unknown parent", Config{Parents: []Parent{site}, Routes: []Route{{Via: []string{"side"}}}}, `unknown parent "side"`},
		{"twice in a route", Config{Routes: everywhere(Direct, Direct)}, "twice"},
		{"no way", Config{Routes: everywhere()}, "leads nowhere"},
		{"no destination", Config{Routes: []Route{{To: []Destination{{}}, Via: []string{Direct}}}}, "neither name nor network"},
	} {
		if _, err := New(c.config, Dependencies{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}
