package upstream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func portOf(f *fake) string { return f.addr[strings.LastIndexByte(f.addr, ':'):] }

// The server that is named is found, and only its name is asked of bootstrap.
func TestNamedServers(t *testing.T) {
	a := newAuthority(t)
	answers := zone(t, goodAnswer)
	plain, secure, https := newPlain(t, answers), newTLS(t, a, answers, "dns.example"), newHTTPS(t, a, answers, nil)
	overQUIC := newQUIC(t, a, answers, "dns.example")
	for server, up := range map[string]*fake{
		"udp://dns.example" + portOf(plain): plain, "tcp://dns.example" + portOf(plain): plain,
		"tls://dns.example" + portOf(secure): secure, "https://dns.example" + portOf(https): https,
		"quic://dns.example" + portOf(overQUIC): overQUIC,
	} {
		t.Run(server[:5], func(t *testing.T) {
			names := newPlain(t, zone(t, "dns.example. 60 IN CNAME there.example.", "there.example. 60 IN A 127.0.0.1"))
			o := open(t, func(c *Config) { c.CA, c.Bootstrap = a.file, []string{names.addr} }, server)
			before := up.total()
			for range 3 {
				o.mustAnswer()
			}
			if up.total()-before != 3 || names.total() != 2 {
				t.Errorf("%d queries to the server, %d to bootstrap: want 3, and an A and an AAAA", up.total()-before, names.total())
			}
		})
	}
}

func TestNameThatIsNotFound(t *testing.T) {
	names := newPlain(t, zone(t))
	o := open(t, func(c *Config) { c.Bootstrap = []string{names.addr} }, "dns.example")
	for range 3 {
		_, err := o.ask("a.example")
		var failure *Error
		if !errors.As(err, &failure) || failure.Kind != Unreachable || !errors.Is(err, errNoAddress) {
			t.Fatalf("error %#v", err)
		}
	}
	if n := names.total(); n != 2 {
		t.Errorf("bootstrap was asked %d times, want 2: what is not there is not asked for again and again", n)
	}
}

func bootstrapping(t *testing.T, s script) (*opened, *fake, func() []netip.Addr) {
	names := newPlain(t, s)
	o := open(t, func(c *Config) {
		c.Bootstrap, c.Try, c.Total = []string{names.addr}, time.Second, 3*time.Second/2
	}, "dns.example")
	return o, names, func() []netip.Addr {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		addrs, err := o.names.lookUp(ctx, "dns.example")
		if err != nil {
			t.Fatal(err)
		}
		return addrs
	}
}

func addrs(texts ...string) []netip.Addr {
	var all []netip.Addr
	for _, s := range texts {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

func TestBootstrapHonoursTTL(t *testing.T) {
	o, names, look := bootstrapping(t, zone(t, "dns.example. 100 IN A 192.0.2.1", "dns.example. 90 IN AAAA 2001:db8::1"))
	if got := look(); !slices.Equal(got, addrs("192.0.2.1", "2001:db8::1")) {
		t.Errorf("addresses %v", got)
	}
	names.set(zone(t, "dns.example. 100 IN A 192.0.2.2"))
	o.clock.advance(85 * time.Second)
	if got := look(); !slices.Equal(got, addrs("192.0.2.1", "2001:db8::1")) {
		t.Errorf("addresses %v before their time is over", got)
	}
	o.clock.advance(6 * time.Second)
	if got := look(); !slices.Equal(got, addrs("192.0.2.2")) {
		t.Errorf("addresses %v, not the new one", got)
	}
	// Bootstrap fails: the last good ones serve on, and it is asked again later.
	names.set(silent)
	o.clock.advance(2 * time.Minute)
	before := names.total()
	for range 3 {
		if got := look(); !slices.Equal(got, addrs("192.0.2.2")) {
			t.Errorf("addresses %v: want the last good one", got)
		}
	}
	if n := names.total() - before; n > 2*rounds {
		t.Errorf("bootstrap was asked %d times in its silence", n)
	}
	names.set(zone(t, "dns.example. 100 IN A 192.0.2.3"))
	o.clock.advance(maxBackoff)
	if got := look(); !slices.Equal(got, addrs("192.0.2.3")) {
		t.Errorf("addresses %v, not the new one", got)
	}
}

func TestOneLookForAll(t *testing.T) {
	_, names, look := bootstrapping(t, zone(t, "dns.example. 100 IN A 192.0.2.1"))
	var running sync.WaitGroup
	for range 20 {
		running.Go(func() { look() })
	}
	running.Wait()
	if n := names.total(); n != 2 {
		t.Errorf("bootstrap was asked %d times, want 2", n)
	}
}

func TestAddressesFollowAliasesOnly(t *testing.T) {
	m := new(dns.Msg)
	m.SetQuestion("dns.example.", dns.TypeA)
	for _, s := range []string{
		"DNS.example. 50 IN CNAME b.example.", "b.example. 70 IN A 192.0.2.1", "b.example. 60 IN A 192.0.2.2", "c.example. 5 IN A 6.6.6.6",
	} {
		r, err := dns.NewRR(s)
		if err != nil {
			t.Fatal(err)
		}
		m.Answer = append(m.Answer, r)
	}
	if f := addressesIn(m); !slices.Equal(f.addrs, addrs("192.0.2.1", "192.0.2.2")) || f.ttl != 50*time.Second {
		t.Errorf("found %+v", f)
	}
	m.Answer = nil
	for range 2 * maxAddrs {
		r, _ := dns.NewRR("dns.example. 5 IN A 192.0.2.1")
		m.Answer = append(m.Answer, r)
	}
	if f := addressesIn(m); len(f.addrs) != maxAddrs {
		t.Errorf("%d addresses of one name", len(f.addrs))
	}
	loop, _ := dns.NewRR("dns.example. 5 IN CNAME dns.example.")
	m.Answer = []dns.RR{loop}
	if f := addressesIn(m); len(f.addrs) != 0 {
		t.Errorf("found %+v", f)
	}
}

// An address that does not work gives way to the next one.
func TestOtherAddressOfAName(t *testing.T) {
	up := newPlain(t, zone(t, goodAnswer))
	for _, scheme := range []string{"udp://", "tcp://"} {
		// Nobody listens on that port of 127.0.0.2.
		names := newPlain(t, zone(t, "dns.example. 600 IN A 127.0.0.2", "dns.example. 600 IN A 127.0.0.1"))
		o := open(t, func(c *Config) { c.Bootstrap = []string{names.addr} }, scheme+"dns.example"+portOf(up))
		o.mustAnswer()
		o.mustAnswer()
		if n := names.total(); n != 2 {
			t.Errorf("%s: bootstrap was asked %d times", scheme, n)
		}
	}
}

func TestRefuseSelf(t *testing.T) {
	p := func(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
	own := ""
	for _, a := range interfaceAddrs(t) {
		if a.Is4() && !a.IsLoopback() {
			own = a.String()
		}
	}
	tests := []struct {
		servers   []string
		listeners []netip.AddrPort
		refused   int
	}{
		{[]string{"127.0.0.1:1053"}, []netip.AddrPort{p("127.0.0.1:1053")}, 1},
		{[]string{"127.0.0.1:1053"}, []netip.AddrPort{p("127.0.0.1:1054")}, 0},
		{[]string{"127.0.0.1:1053"}, []netip.AddrPort{p("127.0.0.2:1053")}, 0},
		{[]string{"127.0.0.1:1053", "tls://127.0.0.1:1853", "192.0.2.1"}, []netip.AddrPort{p("0.0.0.0:1053"), p("[::]:1853")}, 2},
		{[]string{"[::1]:1053"}, []netip.AddrPort{p("[::]:1053")}, 1},
		{[]string{"[::1]:1053"}, []netip.AddrPort{p("0.0.0.0:1053")}, 0},
		{[]string{"0.0.0.0:1053"}, []netip.AddrPort{p("127.0.0.1:1053")}, 1},
		{[]string{"192.0.2.1"}, []netip.AddrPort{p("0.0.0.0:53")}, 0},
		{[]string{"192.0.2.1"}, nil, 0},
	}
	if own != "" {
		tests = append(tests, struct {
			servers   []string
			listeners []netip.AddrPort
			refused   int
		}{[]string{own + ":1053"}, []netip.AddrPort{p("0.0.0.0:1053")}, 1})
	}
	for _, tt := range tests {
		pool, err := New(Config{Servers: tt.servers}, Dependencies{})
		if err != nil {
			t.Fatal(err)
		}
		err = pool.RefuseSelf(tt.listeners)
		refused := 0
		if err != nil {
			refused = strings.Count(err.Error(), "is this gateway itself")
		}
		if refused != tt.refused {
			t.Errorf("%v with %v: %v; want %d refused", tt.servers, tt.listeners, err, tt.refused)
		}
		pool.Close()
	}
}

func interfaceAddrs(t *testing.T) []netip.Addr {
	own, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	var all []netip.Addr
	for _, a := range own {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			all = append(all, prefix.Addr())
		}
	}
	return all
}

// A name that leads back here is refused when it is looked up.
func TestRefuseSelfByName(t *testing.T) {
	up := newPlain(t, zone(t, goodAnswer))
	names := newPlain(t, zone(t, "dns.example. 60 IN A 127.0.0.1"))
	o := open(t, func(c *Config) { c.Bootstrap = []string{names.addr} }, "dns.example"+portOf(up))
	if err := o.RefuseSelf([]netip.AddrPort{netip.MustParseAddrPort(up.addr)}); err != nil {
		t.Fatal(err)
	}
	_, err := o.ask("a.example")
	var failure *Error
	if !errors.As(err, &failure) || failure.Unwrap() == nil || !strings.Contains(failure.Unwrap().Error(), "this gateway itself") || up.total() != 0 {
		t.Errorf("error %#v, %d queries", err, up.total())
	}
}
