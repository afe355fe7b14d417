package localdata

import (
	"net/netip"
	"strings"
	"testing"
)

func TestDesignated(t *testing.T) {
	d := made(t, Config{
		Designated: Designated{
			Name:  "dns.corp.example",
			Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.53"), netip.MustParseAddr("::ffff:10.0.0.54"), netip.MustParseAddr("fd00::53")},
			Endpoints: []Endpoint{
				{Transport: TransportHTTPS, Port: 443, Path: "/dns-query", HTTP3: true},
				{Transport: TransportHTTPS, Port: 8443, Path: "/q"},
				{Transport: TransportTLS, Port: 853},
				{Transport: TransportQUIC, Port: 853},
			},
		},
	})
	const hints = `ipv4hint="10.0.0.53,10.0.0.54" ipv6hint="fd00::53"`
	records := func(owner string) string {
		lines := []string{
			`1 dns.corp.example. alpn="h2,h3" port="443" ` + hints + ` dohpath="/dns-query{?dns}"`,
			`2 dns.corp.example. alpn="h2" port="8443" ` + hints + ` dohpath="/q{?dns}"`,
			`3 dns.corp.example. alpn="dot" port="853" ` + hints,
			`4 dns.corp.example. alpn="doq" port="853" ` + hints,
		}
		reply := "NOERROR"
		for _, line := range lines {
			reply += " | " + owner + " 300 SVCB " + line
		}
		return reply
	}
	asks(t, d, [][2]string{
		{"_dns.resolver.arpa SVCB", records("_dns.resolver.arpa.")},
		{"_dns.resolver.arpa HTTPS", "NOERROR | soa resolver.arpa."},
		{"_dns.resolver.arpa A", "NOERROR | soa resolver.arpa."},
		{"resolver.arpa SVCB", "NOERROR | soa resolver.arpa."},
		{"_853._dns.resolver.arpa SVCB", "NOERROR | soa resolver.arpa."},
		{"_dns.dns.corp.example SVCB", records("_dns.dns.corp.example.")},
		{"_dns.dns.corp.example A", "NOERROR | soa _dns.dns.corp.example."},
		{"dns.corp.example A", "upstream"},
	})
}

func TestNotDesignated(t *testing.T) {
	for _, designated := range []Designated{
		{Name: "dns.corp.example"},
		{Endpoints: []Endpoint{{Transport: TransportTLS, Port: 853}}},
	} {
		d := made(t, Config{Designated: designated})
		asks(t, d, [][2]string{
			{"_dns.resolver.arpa SVCB", "NOERROR | soa resolver.arpa."},
			{"_dns.dns.corp.example SVCB", "upstream"},
		})
	}
}

// What the configuration says of a name itself, nothing is added to.
func TestDesignatedBesideRecords(t *testing.T) {
	d := made(t, Config{
		Records:    []string{"_dns.dns.corp.example. 60 IN SVCB 1 other.corp.example. alpn=dot"},
		Designated: Designated{Name: "dns.corp.example", Endpoints: []Endpoint{{Transport: TransportTLS, Port: 853}}},
	})
	asks(t, d, [][2]string{
		{"_dns.dns.corp.example SVCB", `NOERROR | _dns.dns.corp.example. 60 SVCB 1 other.corp.example. alpn="dot"`},
		{"_dns.resolver.arpa SVCB", `NOERROR | _dns.resolver.arpa. 300 SVCB 1 dns.corp.example. alpn="dot" port="853"`},
	})
}

func TestDesignatedMistakes(t *testing.T) {
	tls := Endpoint{Transport: TransportTLS, Port: 853}
	for _, c := range []struct {
		designated Designated
		want       string
	}{
		{Designated{Name: "a..b", Endpoints: []Endpoint{tls}}, `"a..b"`},
		{Designated{Name: ".", Endpoints: []Endpoint{tls}}, "root"},
		{Designated{Name: "10.0.0.53", Endpoints: []Endpoint{tls}}, "is an address"},
		{Designated{Name: "x.localhost", Endpoints: []Endpoint{tls}}, "in the listeners' certificates"},
		{Designated{Name: strings.Repeat("a.", 125) + "a", Endpoints: []Endpoint{tls}}, "name"}, // no room for _dns
		{Designated{Name: "d.example", Addrs: []netip.Addr{netip.IPv4Unspecified()}, Endpoints: []Endpoint{tls}}, "0.0.0.0"},
		{Designated{Name: "d.example", Addrs: []netip.Addr{{}}, Endpoints: []Endpoint{tls}}, "invalid IP"},
		{Designated{Name: "d.example", Endpoints: []Endpoint{{Transport: TransportTLS}}}, "port is missing"},
		{Designated{Name: "d.example", Endpoints: []Endpoint{{Port: 1}}}, "no transport"},
		{Designated{Name: "d.example", Endpoints: []Endpoint{{Transport: "udp", Port: 1}}}, "one of tls, https, quic"},
		{Designated{Name: "d.example", Endpoints: []Endpoint{{Transport: TransportHTTPS, Port: 1}}}, "begins with /"},
		{Designated{Name: "d.example", Endpoints: []Endpoint{{Transport: TransportHTTPS, Port: 1, Path: "/q{?dns}"}}}, "plain path"},
	} {
		_, err := New(Config{Designated: c.designated})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v\nwant %q", c.designated, err, c.want)
		}
	}
}
