package handover

import (
	"net"
	"net/netip"
	"testing"
)

func TestFit(t *testing.T) {
	tcp := func(bound string) *inherited {
		return &inherited{listener: &net.TCPListener{}, bound: netip.MustParseAddrPort(bound)}
	}
	udp := func(bound string) *inherited {
		return &inherited{packets: &net.UDPConn{}, bound: netip.MustParseAddrPort(bound)}
	}
	only6 := tcp("[::]:53")
	only6.only6 = true
	before := tcp("127.0.0.1:40321")
	before.from, before.name, before.asked = fromPredecessor, "proxy http", "127.0.0.1:0"
	beforeSystemd := tcp("127.0.0.1:40321")
	beforeSystemd.name, beforeSystemd.asked = "proxy http", "127.0.0.1:0"

	for _, test := range []struct {
		name   string
		want   wanted
		socket *inherited
		fit    int
	}{
		{"address and port", wanted{"tcp", "dns tcp", "127.0.0.1:53"}, tcp("127.0.0.1:53"), fitsWell},
		{"IPv6", wanted{"tcp", "dns tcp", "[2001:db8::1]:53"}, tcp("[2001:db8::1]:53"), fitsWell},
		{"link-local", wanted{"tcp", "dns tcp", "[fe80::1%eth0]:53"}, tcp("[fe80::1%eth0]:53"), fitsWell},
		{"another zone", wanted{"tcp", "dns tcp", "[fe80::1%eth0]:53"}, tcp("[fe80::1%eth1]:53"), fitsNot},
		{"another port", wanted{"tcp", "dns tcp", "127.0.0.1:53"}, tcp("127.0.0.1:54"), fitsNot},
		{"another address", wanted{"tcp", "dns tcp", "127.0.0.1:53"}, tcp("127.0.0.2:53"), fitsNot},
		{"another type", wanted{"tcp", "dns tcp", "127.0.0.1:53"}, udp("127.0.0.1:53"), fitsNot},
		{"UDP", wanted{"udp", "dns udp", "127.0.0.1:53"}, udp("127.0.0.1:53"), fitsWell},
		{"wildcard for one address", wanted{"tcp", "dns tcp", "127.0.0.1:53"}, tcp("0.0.0.0:53"), fitsNot},
		{"one address for wildcard", wanted{"tcp", "dns tcp", ":53"}, tcp("127.0.0.1:53"), fitsNot},
		{"no host", wanted{"tcp", "dns tcp", ":53"}, tcp("[::]:53"), fitsWell},
		{"no host, one family", wanted{"tcp", "dns tcp", ":53"}, tcp("0.0.0.0:53"), fitsLoose},
		{"both families", wanted{"tcp", "dns tcp", "[::]:53"}, tcp("[::]:53"), fitsWell},
		{"IPv6 alone", wanted{"tcp", "dns tcp", "[::]:53"}, only6, fitsWell},
		{"IPv4 alone", wanted{"tcp", "dns tcp", "0.0.0.0:53"}, tcp("0.0.0.0:53"), fitsWell},
		{"both for IPv4", wanted{"tcp", "dns tcp", "0.0.0.0:53"}, tcp("[::]:53"), fitsWide},
		{"IPv6 for IPv4", wanted{"tcp", "dns tcp", "0.0.0.0:53"}, only6, fitsNot},
		{"the kernel's port, same listener", wanted{"tcp", "proxy http", "127.0.0.1:0"}, before, fitsWell},
		{"the kernel's port, another listener", wanted{"tcp", "admin http", "127.0.0.1:0"}, before, fitsNot},
		{"the kernel's port, another address", wanted{"tcp", "proxy http", "0.0.0.0:0"}, before, fitsNot},
		{"the kernel's port, by number", wanted{"tcp", "admin http", "127.0.0.1:40321"}, before, fitsWell},
		{"the kernel's port, from systemd", wanted{"tcp", "proxy http", "127.0.0.1:0"}, beforeSystemd, fitsNot},
		{"a name", wanted{"tcp", "dns tcp", "gateway.example:53"}, tcp("127.0.0.1:53"), fitsNot},
		{"no port", wanted{"tcp", "dns tcp", "127.0.0.1"}, tcp("127.0.0.1:53"), fitsNot},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.want.fit(test.socket); got != test.fit {
				t.Errorf("fits %d, want %d", got, test.fit)
			}
		})
	}
}

// TestBest gives each of two wildcard listeners its own socket, in whatever
// order they are passed.
func TestBest(t *testing.T) {
	four := &inherited{listener: &net.TCPListener{}, bound: netip.MustParseAddrPort("0.0.0.0:53")}
	six := &inherited{listener: &net.TCPListener{}, bound: netip.MustParseAddrPort("[::]:53")}
	for _, all := range [][]*inherited{{four, six}, {six, four}} {
		if got := (wanted{"tcp", "dns tcp", "0.0.0.0:53"}).best(all); got != four {
			t.Errorf("0.0.0.0 gets %v of %v", got.bound, all)
		}
		if got := (wanted{"tcp", "dns tcp", ":53"}).best(all); got != six {
			t.Errorf("no host gets %v of %v", got.bound, all)
		}
	}
	if got := (wanted{"udp", "dns udp", ":53"}).best([]*inherited{four, six}); got != nil {
		t.Errorf("UDP gets %v", got.bound)
	}
}
