package gateway

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// TestTickets: what decided is in the link in such a way that asking again
// comes to the same.
func TestTickets(t *testing.T) {
	g := start(t, coached, nil)
	client := netip.MustParseAddr("127.0.0.1")
	subject := g.identity.ByAddr(client)
	name := func(s string) policy.Host { return policy.HostFromCanonicalName(s) }
	for _, test := range []struct {
		title      string
		request    policy.Request
		subject    policy.Subject
		host, fact policy.Host
		none       bool
	}{
		{title: "asked for", request: policy.Request{Host: name("zoom.us")}, subject: subject, host: name("zoom.us")},
		{title: "leads to", request: policy.Request{Host: name("vanity.example"), Derived: []policy.Host{name("x.example"), name("zoom.us")}}, subject: subject, host: name("vanity.example"), fact: name("zoom.us")},
		{title: "claimed", request: policy.Request{Host: name("front.example"), Claimed: []policy.Host{name("zoom.us")}}, subject: subject, host: name("front.example"), fact: name("zoom.us")},
		{title: "claimed behind what is allowed", request: policy.Request{Host: name("town.example"), Claimed: []policy.Host{name("zoom.us")}}, subject: subject, host: name("zoom.us")},
		{title: "blocked", request: policy.Request{Host: name("webex.com")}, subject: subject, none: true},
		{title: "let through", request: policy.Request{Host: name("plain.example")}, subject: subject, none: true},
		{title: "of nobody", request: policy.Request{Host: name("zoom.us")}, none: true},
	} {
		test.request.Subject, test.request.Door, test.request.Port, test.request.At = test.subject, policy.DoorProxy, 443, time.Now()
		d := policy.Decision{ID: "x-1", Door: policy.DoorProxy, Client: client, Subject: test.subject, Host: test.request.Host, Port: 443, Verdict: g.engine.Decide(&test.request)}
		ticket, ok := g.coach.ticket(&d)
		if ok == test.none || ok && (ticket.Host != test.host || ticket.Fact != test.fact || ticket.Client != client || ticket.Port != 443) {
			t.Errorf("%s: %+v, %v", test.title, ticket, ok)
		}
		if link := g.coach.link(&d, ""); (link == "") != test.none {
			t.Errorf("%s: link %q", test.title, link)
		}
	}
}

// TestBackTo sends people nowhere but to the very host that they asked for.
func TestBackTo(t *testing.T) {
	zoom := policy.HostFromCanonicalName("zoom.us")
	address := policy.HostFromAddr(netip.MustParseAddr("3.7.35.1"))
	six := policy.HostFromAddr(netip.MustParseAddr("2620:123:2000::1"))
	for _, test := range []struct {
		target string
		host   policy.Host
		want   string
	}{
		{"http://zoom.us/", zoom, "http://zoom.us/"},
		{"https://zoom.us:8443/j/1?pwd=a%20b&c=d", zoom, "https://zoom.us:8443/j/1?pwd=a%20b&c=d"},
		{"HTTPS://ZOOM.US/J", zoom, "https://zoom.us/J"},
		{"https://zoom.us", zoom, "https://zoom.us/"},
		{"https://zoom.us./x", zoom, "https://zoom.us/x"},
		{"https://zoom.us/a%2Fb#fragment", zoom, "https://zoom.us/a%2Fb"},
		{"https://zoom.us//evil.example/x", zoom, "https://zoom.us//evil.example/x"},
		{`https://zoom.us/\evil.example`, zoom, "https://zoom.us/%5Cevil.example"},
		{"https://3.7.35.1/", address, "https://3.7.35.1/"},
		{"https://50799361/", address, "https://3.7.35.1/"},
		{"https://[2620:123:2000::1]:443/", six, "https://[2620:123:2000::1]:443/"},
		{"http://zoom.us/?a=\u00fc", zoom, "http://zoom.us/"},

		{"", zoom, ""},
		{"/", zoom, ""},
		{"//zoom.us/", zoom, ""},
		{"https://evil.example/", zoom, ""},
		{"https://zoom.us.evil.example/", zoom, ""},
		{"https://www.zoom.us/", zoom, ""},
		{"https://zoom.us@evil.example/", zoom, ""},
		{"https://user:secret@zoom.us/", zoom, ""},
		{"https://evil.example#@zoom.us/", zoom, ""},
		{"https://evil.example\\@zoom.us/", zoom, ""},
		{"https://zoom.us:0/", zoom, ""},
		{"https://zoom.us:99999/", zoom, ""},
		{"https://zoom.us:https/", zoom, ""},
		{"javascript://zoom.us/%0aalert(1)", zoom, ""},
		{"javascript:alert(1)", zoom, ""},
		{"data:text/html,x", zoom, ""},
		{"ftp://zoom.us/", zoom, ""},
		{"http:zoom.us/", zoom, ""},
		{"http://zoom.us/\r\nSet-Cookie: x", zoom, ""},
		{"http://zoom.us\r\n/", zoom, ""},
		{"http://", zoom, ""},
		{"http:///x", zoom, ""},
		{"http://zoom.us/", address, ""},
		{"http://zoom.us/", policy.Host{}, ""},
	} {
		if got := backTo(test.target, test.host); got != test.want {
			t.Errorf("%q: %q, want %q", test.target, got, test.want)
		}
	}
}

// FuzzBackTo: whatever is asked for, an answer leads to that host, by HTTP.
func FuzzBackTo(f *testing.F) {
	for _, target := range []string{"http://zoom.us/", "https://zoom.us:8443/a?b#c", "//zoom.us", "https://zoom.us@evil.example", "https://50799361/"} {
		f.Add(target)
	}
	zoom := policy.HostFromCanonicalName("zoom.us")
	f.Fuzz(func(t *testing.T, target string) {
		back := backTo(target, zoom)
		if back == "" {
			return
		}
		if !strings.HasPrefix(back, "http://zoom.us/") && !strings.HasPrefix(back, "https://zoom.us/") &&
			!strings.HasPrefix(back, "http://zoom.us:") && !strings.HasPrefix(back, "https://zoom.us:") {
			t.Fatalf("%q leads to %q", target, back)
		}
		if strings.ContainsFunc(back, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '\\' }) {
			t.Fatalf("%q leads to %q", target, back)
		}
		if u, err := url.Parse(back); err != nil || u.Hostname() != "zoom.us" || u.User != nil {
			t.Fatalf("%q leads to %q: %v", target, back, err)
		}
	})
}

func TestLongTargets(t *testing.T) {
	for target, want := range map[string]string{
		"":                   "",
		"http://zoom.us/a?b": "http://zoom.us/a?b",
		"http://zoom.us:81/" + strings.Repeat("x", maxTarget):     "http://zoom.us:81/",
		"http://" + strings.Repeat("x", 2*maxTarget) + "/":        "",
		"http://zoom.us/" + strings.Repeat("\u00fc", maxTarget/2): "http://zoom.us/",
	} {
		if got := shortTarget(target); got != want {
			t.Errorf("%.40q: %.40q, want %q", target, got, want)
		}
	}
}

// TestPortalBase: links lead to where people reach the portal.
func TestPortalBase(t *testing.T) {
	for _, test := range []struct {
		config PortalConfig
		bound  string
		want   string
	}{
		{PortalConfig{}, "192.0.2.9:8080", "http://192.0.2.9:8080"},
		{PortalConfig{}, "[2001:db8::9]:80", "http://[2001:db8::9]:80"},
		{PortalConfig{URL: "https://gate.corp.example"}, "192.0.2.9:8080", "https://gate.corp.example"},
		{PortalConfig{Listen: "0.0.0.0:80", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.7")}}, "[::]:80", "http://192.0.2.7:80"},
	} {
		g := &Gateway{config: &Config{Portal: test.config}}
		g.bound.Store(&[]Address{})
		if base := g.portalBase(); test.config.URL == "" && base != "" {
			t.Errorf("before it is bound: %q", base)
		}
		g.bound.Store(&[]Address{{"proxy http", "192.0.2.1:1"}, {portalName, test.bound}})
		if base := g.portalBase(); base != test.want {
			t.Errorf("%+v at %s: %q, want %q", test.config, test.bound, base, test.want)
		}
	}
}
