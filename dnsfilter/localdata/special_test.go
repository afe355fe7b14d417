package localdata

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
)

func TestSpecialNames(t *testing.T) {
	d := made(t, Config{})
	asks(t, d, [][2]string{
		{"localhost A", "NOERROR | localhost. 86400 A 127.0.0.1"},
		{"localhost AAAA", "NOERROR | localhost. 86400 AAAA ::1"},
		{"a.b.LocalHost AAAA", "NOERROR | a.b.localhost. 86400 AAAA ::1"},
		{"localhost TXT", "NOERROR | soa localhost."},
		{"db.localhost HTTPS", "NOERROR | soa localhost."},
		{"localhost ANY", "NOERROR | localhost. 86400 A 127.0.0.1 | localhost. 86400 AAAA ::1"},
		{"notlocalhost A", "upstream"},
		{"localhost.example A", "upstream"},

		{"invalid A", "NXDOMAIN | soa invalid."},
		{"a.invalid A", "NXDOMAIN | soa invalid."},
		{"duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion A", "NXDOMAIN | soa onion."},
		{"onion DS", "NXDOMAIN | soa onion."},
		{"a.test AAAA", "NXDOMAIN | soa test."},
		{"latest A", "upstream"},
		{"example A", "upstream"},
		{"printer.local A", "upstream"},
		{"ipv4only.arpa A", "upstream"},

		{"home.arpa SOA", "NOERROR | home.arpa. 300 SOA sallyport.invalid. hostmaster.sallyport.invalid. 1 3600 600 86400 300"},
		{"home.arpa NS", "NOERROR | home.arpa. 300 NS home.arpa."},
		{"home.arpa A", "NOERROR | soa home.arpa."},
		{"tv.home.arpa A", "NXDOMAIN | soa home.arpa."},
		{"home.arpa DS", "upstream"}, // RFC 8375 §4
		{"tv.home.arpa DS", "NXDOMAIN | soa home.arpa."},

		{"resolver.arpa SOA", "NOERROR | soa resolver.arpa."},
		{"_dns.resolver.arpa SVCB", "NOERROR | soa resolver.arpa."},
		{"x.y.resolver.arpa A", "NOERROR | soa resolver.arpa."},
		{"resolver.arpa DS", "NOERROR | soa resolver.arpa."},
		{"arpa NS", "upstream"},

		{"1.0.0.127.in-addr.arpa PTR", "NOERROR | 1.0.0.127.in-addr.arpa. 86400 PTR localhost."},
		{"1.0.0.127.in-addr.arpa TXT", "NOERROR | soa 127.in-addr.arpa."},
		{"0.0.127.in-addr.arpa PTR", "NOERROR | soa 127.in-addr.arpa."},
		{"2.0.0.127.in-addr.arpa PTR", "NXDOMAIN | soa 127.in-addr.arpa."},
		{reverseName(netip.IPv6Loopback()) + " PTR", "NOERROR | " + reverseName(netip.IPv6Loopback()) + " 86400 PTR localhost."},
		{"5.0.0.10.in-addr.arpa PTR", "NXDOMAIN | soa 10.in-addr.arpa."},
		{"10.in-addr.arpa NS", "NOERROR | 10.in-addr.arpa. 300 NS 10.in-addr.arpa."},
		{"10.in-addr.arpa DS", "upstream"},
		{"1.1.16.172.in-addr.arpa PTR", "NXDOMAIN | soa 16.172.in-addr.arpa."},
		{"1.1.32.172.in-addr.arpa PTR", "upstream"},
		{"1.1.127.100.in-addr.arpa PTR", "NXDOMAIN | soa 127.100.in-addr.arpa."},
		{"1.1.128.100.in-addr.arpa PTR", "upstream"},
		{"9.9.9.9.in-addr.arpa PTR", "upstream"},
		{reverseName(netip.MustParseAddr("fd00::1")) + " PTR", "NXDOMAIN | soa d.f.ip6.arpa."},
		{reverseName(netip.MustParseAddr("fe80::1")) + " PTR", "NXDOMAIN | soa 8.e.f.ip6.arpa."},
		{reverseName(netip.MustParseAddr("2001:db8::1")) + " PTR", "NXDOMAIN | soa 8.b.d.0.1.0.0.2.ip6.arpa."},
		{reverseName(netip.MustParseAddr("2620:fe::fe")) + " PTR", "upstream"},
	})
}

// Records and forwarded zones win over what is special only by default.
func TestSpecialGivesWay(t *testing.T) {
	d := made(t, Config{
		Forwarded: []string{"168.192.in-addr.arpa", "1.10.in-addr.arpa.", "2.5.10.in-addr.arpa", "corp.test", "."},
		Records: []string{
			"tv.home.arpa. 60 IN A 10.0.0.7",
			"a.b.test. 60 IN A 10.0.0.8",
			"16.172.in-addr.arpa. 60 IN SOA ns.corp.example. admin.corp.example. 1 2 3 4 60",
			"1.0.0.127.in-addr.arpa. 60 IN PTR me.corp.example.",
		},
	})
	asks(t, d, [][2]string{
		{"5.0.168.192.in-addr.arpa PTR", "upstream"},
		{"168.192.in-addr.arpa SOA", "upstream"},
		{"5.5.1.10.in-addr.arpa PTR", "upstream"},
		{"1.10.in-addr.arpa NS", "upstream"},
		{"5.5.2.10.in-addr.arpa PTR", "NXDOMAIN | soa 10.in-addr.arpa."},
		{"5.10.in-addr.arpa PTR", "NOERROR | soa 10.in-addr.arpa."}, // something forwarded is below
		{"1.2.5.10.in-addr.arpa PTR", "upstream"},
		{"mail.corp.test A", "upstream"},
		{"other.test A", "NXDOMAIN | soa test."},
		{"b.test A", "NOERROR | soa test."},
		{"a.b.test A", "NOERROR | a.b.test. 60 A 10.0.0.8"},
		{"tv.home.arpa A", "NOERROR | tv.home.arpa. 60 A 10.0.0.7"},
		{"radio.home.arpa A", "NXDOMAIN | soa home.arpa."},
		{"16.172.in-addr.arpa SOA", "NOERROR | 16.172.in-addr.arpa. 60 SOA ns.corp.example. admin.corp.example. 1 2 3 4 60"},
		{"1.0.0.127.in-addr.arpa PTR", "NOERROR | 1.0.0.127.in-addr.arpa. 60 PTR me.corp.example."},
		{"www.example.com A", "upstream"},
	})
}

func TestPrivateUpstreams(t *testing.T) {
	d := made(t, Config{PrivateUpstreams: true})
	asks(t, d, [][2]string{
		{"5.0.0.10.in-addr.arpa PTR", "upstream"},
		{"tv.home.arpa A", "upstream"},
		{"2.0.0.127.in-addr.arpa PTR", "NXDOMAIN | soa 127.in-addr.arpa."},
		{"a.test A", "NXDOMAIN | soa test."},
		{"_dns.resolver.arpa SVCB", "NOERROR | soa resolver.arpa."},
	})
}

func TestForwardedLoopback(t *testing.T) {
	d := made(t, Config{Forwarded: []string{"127.in-addr.arpa"}})
	asks(t, d, [][2]string{{"1.0.0.127.in-addr.arpa PTR", "upstream"}})
}

func TestNeverForwarded(t *testing.T) {
	for _, zone := range []string{"onion", "x.localhost", "invalid.", "resolver.arpa", "_dns.resolver.arpa", "a..b"} {
		_, err := New(Config{Forwarded: []string{zone}})
		if err == nil || !strings.Contains(err.Error(), zone) {
			t.Errorf("%q: %v", zone, err)
		}
	}
}

// Most questions are about none of our names, and must cost next to nothing.
func TestMissAllocatesNothing(t *testing.T) {
	d := made(t, Config{
		Hosts:   []string{hostsOf(t, "10.0.0.5 nas.corp.example nas", "fd00::5 nas")},
		Records: []string{"a.corp.example. A 10.0.0.1", "*.lab.example. A 10.0.0.1"},
	})
	for _, name := range []string{
		"www.example.com", "other.corp.example", "corp.example", "4.3.2.1.in-addr.arpa",
		"localhost.example", strings.Repeat("a.", 126) + "a", ".",
		reverseName(netip.MustParseAddr("2620:fe::fe")),
	} {
		asked := wire(t, name)
		if _, ours := d.Answer(asked, dnswire.TypeA); ours {
			t.Errorf("%s is ours", name)
		}
		if n := testing.AllocsPerRun(100, func() { d.Answer(asked, dnswire.TypeA) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
