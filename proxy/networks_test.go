package proxy

import (
	"net/netip"
	"slices"
	"testing"
)

func TestPrivateNetworks(t *testing.T) {
	g := newNetworkGuard(DenyNetworks{}, func() []netip.AddrPort { return nil })
	for text, denied := range map[string]bool{
		"8.8.8.8":                            false,
		"3.7.35.1":                           false,
		"172.32.0.1":                         false,
		"100.128.0.1":                        false,
		"2606:4700::1":                       false,
		"2001:4860:4860::8888":               false,
		"::ffff:8.8.8.8":                     false,
		"64:ff9b::808:808":                   false,
		"2002:808:808::1":                    false,
		"2001:0:808:808:8000:63bf:f7f7:f7f7": false, // Teredo: 8.8.8.8, client 8.8.8.8

		"0.0.0.0":                   true,
		"0.1.2.3":                   true,
		"10.1.2.3":                  true,
		"100.64.0.1":                true,
		"127.0.0.1":                 true,
		"127.255.255.255":           true,
		"169.254.169.254":           true,
		"172.16.0.1":                true,
		"172.31.255.255":            true,
		"192.168.0.1":               true,
		"198.18.0.1":                true,
		"224.0.0.1":                 true,
		"240.0.0.1":                 true,
		"255.255.255.255":           true,
		"::":                        true,
		"::1":                       true,
		"fe80::1":                   true,
		"fe80::1%eth0":              true,
		"fd00::1":                   true,
		"ff02::1":                   true,
		"fec0::1":                   true,
		"2001:db8::1":               true,
		"::ffff:10.0.0.1":           true,
		"::ffff:127.0.0.1":          true,
		"::127.0.0.1":               true, // IPv4-compatible
		"::ffff:0:10.0.0.1":         true, // IPv4-translated
		"64:ff9b::a00:1":            true, // NAT64 of 10.0.0.1
		"64:ff9b::7f00:1":           true,
		"64:ff9b:1::808:808":        true, // local-use NAT64
		"2002:a00:1::1":             true, // 6to4 of 10.0.0.1
		"2002:7f00:1::":             true,
		"2001:0:a00:1::":            true, // Teredo server 10.0.0.1
		"2001:0:808:808::f5ff:fffe": true, // Teredo client 10.0.0.1, inverted
		"2606::5efe:a00:1":          true, // ISATAP of 10.0.0.1
	} {
		if got := g.denies(netip.MustParseAddr(text)); got != denied {
			t.Errorf("%s denied: %v, want %v", text, got, denied)
		}
	}
}

func TestDenyNetworksChoices(t *testing.T) {
	private, public := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("8.8.8.8")
	nobody := func() []netip.AddrPort { return nil }
	none := newNetworkGuard(DenyNetworks{None: true}, nobody)
	if got := none.allowed([]netip.Addr{private, public}, 443); !slices.Equal(got, []netip.Addr{private, public}) {
		t.Errorf("none: %v", got)
	}
	list := newNetworkGuard(DenyNetworks{Prefixes: []netip.Prefix{netip.MustParsePrefix("8.0.0.0/8")}}, nobody)
	if got := list.allowed([]netip.Addr{private, public, netip.MustParseAddr("64:ff9b::808:808")}, 443); !slices.Equal(got, []netip.Addr{private}) {
		t.Errorf("list: %v", got)
	}
	standard := newNetworkGuard(DenyNetworks{}, nobody)
	if got := standard.allowed([]netip.Addr{private, public}, 443); !slices.Equal(got, []netip.Addr{public}) {
		t.Errorf("private: %v", got)
	}
}

func TestSelf(t *testing.T) {
	g := newNetworkGuard(DenyNetworks{None: true}, func() []netip.AddrPort {
		return []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:3128"), netip.MustParseAddrPort("[::]:53")}
	})
	for _, test := range []struct {
		target string
		self   bool
	}{
		{"127.0.0.1:3128", true},
		{"[::ffff:127.0.0.1]:3128", true},
		{"0.0.0.0:3128", true},
		{"[::]:3128", true},
		{"[64:ff9b::7f00:1]:3128", true},
		{"127.0.0.2:3128", false},
		{"127.0.0.1:3129", false},
		{"8.8.8.8:3128", false},
		{"127.0.0.7:53", true}, // bound to every address
		{"[::1]:53", true},
		{"8.8.8.8:53", false},
	} {
		target := netip.MustParseAddrPort(test.target)
		if got := g.isSelf(target.Addr(), target.Port()); got != test.self {
			t.Errorf("%s: %v, want %v", test.target, got, test.self)
		}
	}
}
