package gateway

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/proxy/outbound"
)

const everyOutboundSetting = `
proxy:
  timeouts: {dial: 7s}
  parents:
    site: {url: "http://Proxy.Corp.Example:3128", credentials: parent.secret, ca: "", resolve: here}
    branch: {url: "https://[fd00::1]:3129", ca: /etc/ssl/branch.pem, send: address}
    lab: {url: "socks5h://10.0.0.9:1080", resolve: parent}
    old: {url: "socks5://10.0.0.8:1080"}
  routes:
    - {to: [Corp.Example, 10.0.0.0/8, "=login.example", "*.cdn.example", 192.0.2.7, "fd00::/8"], via: [direct]}
    - {to: lab.example, via: lab}
    - {via: [site, branch, old, direct]}
`

func TestEveryOutboundSetting(t *testing.T) {
	c, problems := parseConfig("/etc/sallyport/sallyport.yaml", []byte(everyOutboundSetting))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := outbound.Config{
		Timeout: 7 * time.Second,
		Parents: []outbound.Parent{
			{Name: "site", Endpoint: outbound.Endpoint{Scheme: "http", Host: "proxy.corp.example", Port: 3128}, CredentialsFile: "/etc/sallyport/parent.secret"},
			{Name: "branch", Endpoint: outbound.Endpoint{Scheme: "https", Host: "fd00::1", Port: 3129}, CAFile: "/etc/ssl/branch.pem", SendAddress: true},
			{Name: "lab", Endpoint: outbound.Endpoint{Scheme: "socks5h", Host: "10.0.0.9", Port: 1080}, FindsNames: true},
			{Name: "old", Endpoint: outbound.Endpoint{Scheme: "socks5", Host: "10.0.0.8", Port: 1080}},
		},
		Routes: []outbound.Route{
			{
				To: []outbound.Destination{
					{Name: "corp.example"},
					{Prefix: netip.MustParsePrefix("10.0.0.0/8")},
					{Name: "login.example", Match: outbound.MatchExact},
					{Name: "cdn.example", Match: outbound.MatchBelow},
					{Prefix: netip.MustParsePrefix("192.0.2.7/32")},
					{Prefix: netip.MustParsePrefix("fd00::/8")},
				},
				Via: []string{"direct"},
			},
			{To: []outbound.Destination{{Name: "lab.example"}}, Via: []string{"lab"}},
			{Via: []string{"site", "branch", "old", "direct"}},
		},
	}
	if got := c.Proxy.Outbound(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// Without parents and routes everything is reached directly; both may be there
// and empty.
func TestNoParents(t *testing.T) {
	for _, yaml := range []string{"proxy: {}", "proxy: {parents: {}, routes: []}"} {
		c, problems := parseConfig("f.yaml", []byte(yaml))
		if len(problems) > 0 {
			t.Fatalf("%s: %v", yaml, problems)
		}
		if got := c.Proxy.Outbound(); len(got.Parents) > 0 || len(got.Routes) > 0 {
			t.Errorf("%s: got %+v", yaml, got)
		}
	}
}

// TestBadOutbound has one mistake a case: at its place, with a word on what
// would be right.
func TestBadOutbound(t *testing.T) {
	parent := func(settings string) string {
		return "proxy:\n  parents:\n    site: " + settings + "\n  routes: [{via: site}]"
	}
	route := func(route string) string {
		return "proxy:\n  parents: {site: {url: 'http://10.0.0.1:3128'}, side: {url: 'http://10.0.0.2:3128'}}\n  routes:\n    - {via: side, to: side.example}\n    - " + route + "\n    - {via: site}"
	}
	for _, test := range []struct{ name, yaml, want string }{
		{"no URL", parent("{credentials: x}"), `f.yaml:3:11: `},
		{"not a URL", parent("{url: '10.0.0.1:3128'}"), `f.yaml:3:17: "10.0.0.1:3128" is not a proxy's URL: write it as http://proxy.corp.example:3128`},
		{"no port", parent("{url: 'http://proxy.corp.example'}"), `has no port`},
		{"scheme", parent("{url: 'socks4://10.0.0.1:1080'}"), `use http, https, socks5 or socks5h`},
		{"password in the URL", parent("{url: 'http://alex:apogee@10.0.0.1:3128'}"), `f.yaml:3:17: a URL with a user name or password in it: write user:password into a file of mode 0600`},
		{"name that is none", parent("{url: 'http://a..b:3128'}"), `f.yaml:3:17: "http://a..b:3128": `},
		{"number", parent("{url: 'http://300.1:3128'}"), `f.yaml:3:17: `},
		{"ourselves", parent("{url: 'http://127.0.0.1:3128'}"), `f.yaml:3:17: parent "http://127.0.0.1:3128" is this gateway itself (proxy.listen)`},
		{"ourselves, by name", parent("{url: 'http://localhost:3128'}"), `is this gateway itself (proxy.listen)`},
		{"ourselves, another listener", parent("{url: 'http://127.0.0.1:9180'}"), `is this gateway itself (admin.listen)`},
		{"ourselves, on every address", "proxy: {listen: [':3128'], parents: {site: {url: 'http://127.0.0.1:3128'}}, routes: [{via: site}]}", `is this gateway itself (proxy.listen)`},
		{"ourselves, written otherwise", parent("{url: 'http://127.1:3128'}"), `is this gateway itself (proxy.listen)`},
		{"unknown key", parent("{url: 'http://10.0.0.1:3128', user: alex}"), `f.yaml:3:41: unknown key "user" in proxy.parents.site`},
		{"resolve", parent("{url: 'http://10.0.0.1:3128', resolve: there}"), `f.yaml:3:50: unknown resolve "there"`},
		{"send", parent("{url: 'http://10.0.0.1:3128', send: both}"), `unknown send "both": use name or address`},
		{"send by SOCKS", parent("{url: 'socks5h://10.0.0.1:1080', send: name}"), `f.yaml:3:50: proxy.parents.site.send: what a SOCKS proxy is sent is said by its url`},
		{"names by addresses", parent("{url: 'http://10.0.0.1:3128', send: address, resolve: parent}"), `a proxy that is sent addresses cannot look up names`},
		{"names by socks5", parent("{url: 'socks5://10.0.0.1:1080', resolve: parent}"), `f.yaml:3:52: proxy.parents.site.resolve: a socks5:// proxy is sent addresses`},
		{"authority without TLS", parent("{url: 'http://10.0.0.1:3128', ca: x.pem}"), `f.yaml:3:45: proxy.parents.site.ca: there is no certificate where there is no TLS`},
		{"named direct", "proxy: {parents: {direct: {url: 'http://10.0.0.1:3128'}}}", `f.yaml:1:19: "direct" is the way without a parent`},
		{"odd name", "proxy: {parents: {a b: {url: 'http://10.0.0.1:3128'}}}", `f.yaml:1:19: "a b" cannot be a parent's name`},
		{"twice", "proxy:\n  parents:\n    site: {url: 'http://10.0.0.1:3128'}\n    site: {url: 'http://10.0.0.1:3128'}\n  routes: [{via: site}]", `f.yaml:4:5: `},
		{"a list", "proxy: {parents: ['http://10.0.0.1:3128']}", `f.yaml:1:18: `},

		{"no way", route("{to: x.example}"), `f.yaml:5:7: `},
		{"empty way", route("{to: x.example, via: []}"), `"via" names no way: write parents, or direct`},
		{"unknown parent", route("{to: x.example, via: [sitte]}"), `f.yaml:5:29: unknown parent "sitte": did you mean "site"?`},
		{"unknown parent, far off", route("{to: x.example, via: [headquarters]}"), `unknown parent "headquarters": define it in proxy.parents, or write direct`},
		{"way twice", route("{to: x.example, via: [site, direct, site]}"), `f.yaml:5:43: "site" is written twice`},
		{"empty destination", route("{to: [], via: site}"), `"to" names no destination: leave it out for every destination`},
		{"destination twice", route("{to: [x.example, X.example], via: site}"), `f.yaml:5:24: "X.example" is written twice`},
		{"host bits", route("{to: 10.0.0.1/8, via: site}"), `did you mean "10.0.0.0/8"?`},
		{"port", route("{to: 'x.example:443', via: site}"), `"x.example:443" is neither a domain nor a network`},
		{"URL", route("{to: 'http://x.example/', via: site}"), `is neither a domain nor a network`},
		{"expression", route("{to: '/x/', via: site}"), `is neither a domain nor a network`},
		{"star", route("{to: '*', via: site}"), `is neither a domain nor a network`},
		{"odd address", route("{to: '0x0a.1', via: site}"), `is neither a domain nor a network`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, problems := parseConfig("f.yaml", []byte(test.yaml))
			if !problems.HasErrors() {
				t.Fatal("it was taken")
			}
			if text := problems.Err().Error(); !strings.Contains(text, test.want) || len(problems) != 1 {
				t.Errorf("got  %s\nwant %s", text, test.want)
			}
			if strings.Contains(problems.Err().Error(), "apogee") {
				t.Error("the password is in the message")
			}
		})
	}
}

func TestOutboundWarnings(t *testing.T) {
	const parents = "proxy:\n  parents: {site: {url: 'http://10.0.0.1:3128'}, far: {url: 'http://10.0.0.2:3128', resolve: parent}}\n  routes:\n"
	for _, test := range []struct{ yaml, want string }{
		{"proxy:\n  parents: {site: {url: 'http://10.0.0.1:3128'}}", `f.yaml:2:13: warning: parent "site" is in no route, and nothing goes through it`},
		{parents + "    - {via: site}\n    - {to: x.example, via: far}", `f.yaml:5:7: warning: this route is never taken: route 1 is for every destination`},
		{parents + "    - {to: [x.example], via: far}\n    - {to: [y.example, x.example], via: site}", `f.yaml:5:7: warning: x.example is for route 1 already`},
		{parents + "    - {to: ['*.x.example'], via: far}\n    - {to: ['*.x.example'], via: site}", `warning: *.x.example is for route 1 already`},
		{parents + "    - {to: x.example, via: [far, direct]}\n    - {via: site}", `f.yaml:4:7: warning: far has resolve: parent, and direct needs the name looked up here`},
		{parents + "    - {via: [site, far]}", `f.yaml:4:7: warning: far has resolve: parent, and site needs the name looked up here`},
	} {
		_, problems := parseConfig("f.yaml", []byte(test.yaml))
		if len(problems) != 1 || problems.HasErrors() || !strings.Contains(problems[0].String(), test.want) {
			t.Errorf("got %v, want %s", problems, test.want)
		}
	}
}

// check opens what parents name.
func TestCheckParents(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	writePrivate(t, at("good.secret"), "alex:apogee\n")
	writePrivate(t, at("bad.secret"), "apogee\n")
	writePrivate(t, at("short.secret"), "alex:\n")
	writeFile(t, at("open.secret"), "alex:apogee\n")
	if err := os.Chmod(at("open.secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	writeCertificate(t, at("good.pem"), at("good.key"), time.Now().Add(time.Hour), "parent.example")
	for _, test := range []struct{ parent, want string }{
		{"{url: 'https://10.0.0.1:3128', credentials: good.secret, ca: good.pem}", ""},
		{"{url: 'http://10.0.0.1:3128', credentials: short.secret}", ""},
		{"{url: 'http://10.0.0.1:3128', credentials: none.secret}", `there is no file "` + at("none.secret") + `": write one line, user:password, into it, and run chmod 600`},
		{"{url: 'http://10.0.0.1:3128', credentials: open.secret}", "chmod 600"},
		{"{url: 'http://10.0.0.1:3128', credentials: bad.secret}", "no user:password"},
		{"{url: 'socks5://10.0.0.1:1080', credentials: short.secret}", "1 to 255 bytes"},
		{"{url: 'https://10.0.0.1:3128', ca: none.pem}", "there is no file"},
		{"{url: 'https://10.0.0.1:3128', ca: good.key}", "holds no certificate"},
	} {
		path := at("sallyport.yaml")
		writeFile(t, path, "proxy:\n  parents:\n    site: "+test.parent+"\n  routes: [{via: site}]\n")
		_, problems := CheckConfig(path)
		if test.want == "" {
			if len(problems) > 0 {
				t.Errorf("%s: %v", test.parent, problems)
			}
			continue
		}
		if len(problems) != 1 || !strings.Contains(problems[0].String(), test.want) || !strings.Contains(problems[0].String(), "sallyport.yaml:3:") {
			t.Errorf("%s: got %v, want %s", test.parent, problems, test.want)
		}
		if strings.Contains(problems.Err().Error(), "apogee") {
			t.Error("the password is in the message")
		}
	}
}
