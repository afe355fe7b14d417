package proxy

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// withSocks has the door listen for SOCKS, besides.
func withSocks(adjust func(*Config, *Dependencies)) func(*Config, *Dependencies) {
	return func(c *Config, deps *Dependencies) {
		c.SOCKS = []string{"127.0.0.1:0"}
		if adjust != nil {
			adjust(c, deps)
		}
	}
}

// listener gives the address of a listener.
func (d *door) listener(name string) string {
	d.t.Helper()
	for _, a := range d.Addrs() {
		if a.Name == name {
			return a.Addr
		}
	}
	d.t.Fatalf("no %q in %v", name, d.Addrs())
	return ""
}

// socks opens a connection to the SOCKS listener.
func (d *door) socks() *client {
	d.t.Helper()
	return d.clientAt(d.listener("proxy socks"))
}

func (d *door) clientAt(addr string) *client {
	d.t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		d.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	d.t.Cleanup(func() { _ = conn.Close() })
	return &client{TCPConn: conn.(*net.TCPConn), t: d.t, reader: newReader(conn)}
}

const (
	greetingNone     = "\x05\x01\x00"
	greetingPassword = "\x05\x01\x02"
	greetingBoth     = "\x05\x02\x00\x02"

	granted = "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
)

// socksTo is a request for an address, or for a name.
func socksTo(host string, port uint16) string {
	b := []byte{socksVersion, socksConnect, 0}
	if addr, err := netip.ParseAddr(host); err != nil {
		b = append(b, socksName, byte(len(host)))
		b = append(b, host...)
	} else if addr.Is4() {
		b = append(append(b, socksIPv4), addr.AsSlice()...)
	} else {
		b = append(append(b, socksIPv6), addr.AsSlice()...)
	}
	return string(binary.BigEndian.AppendUint16(b, port))
}

func replied(r socksReply) string { return string(r.bytes()) }

func TestSocksCarries(t *testing.T) {
	d := open(t, withSocks(nil))
	where := origin(t, echoing)
	d.name("fine.example", "127.0.0.1")
	six := originAt(t, "[::1]:0", echoing)
	for i, test := range []struct {
		host string
		port uint16
	}{{"127.0.0.1", where.Port()}, {"fine.example", where.Port()}, {"Fine.Example.", where.Port()}, {"::1", six.Port()}} {
		c := d.socks()
		c.send(greetingNone)
		if got := c.read(2); got != "\x05\x00" {
			t.Fatalf("method %q", got)
		}
		c.send(socksTo(test.host, test.port))
		if got := c.read(len(granted)); got != granted {
			t.Fatalf("%s: reply %q", test.host, got)
		}
		if got := c.echo("hello"); got != "hello" {
			t.Errorf("%s: echo %q", test.host, got)
		}
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if rest := c.rest(); rest != "" {
			t.Errorf("%s: got %q", test.host, rest)
		}
		decisions, ends := d.await(i+1, i+1)
		want, err := policy.ParseHost(test.host)
		if err != nil {
			t.Fatal(err)
		}
		decision, end := decisions[i], ends[i]
		if decision.Transport != "socks" || decision.Host != want || decision.Port != test.port || decision.Verdict.Action != policy.ActionAllow {
			t.Errorf("decision %+v", decision)
		}
		if end.Decision != decision || end.BytesUp != 5 || end.BytesDown != 5 || end.ClosedBy != closedByClient {
			t.Errorf("end %+v", end)
		}
	}
	if got := d.metric("sallyport_proxy_requests_total", "socks", "200"); got != 4 {
		t.Errorf("%v requests counted", got)
	}
	eventually(t, "nobody is inside", func() bool { return d.crowd.size() == 0 })
}

// Everything may come at once, or a byte at a time; what comes behind the
// request is the tunnel's.
func TestSocksInPieces(t *testing.T) {
	d := open(t, withSocks(passwords))
	where := origin(t, echoing)
	all := greetingBoth + "\x01\x05alice\x06secret" + socksTo("127.0.0.1", where.Port()) + "early"
	for _, size := range []int{1, 2, 7, len(all)} {
		c := d.socks()
		_ = c.SetNoDelay(true)
		for piece := range slices.Chunk([]byte(all), size) {
			c.send(string(piece))
		}
		if got, want := c.read(4+len(granted)+5), "\x05\x02\x01\x00"+granted+"early"; got != want {
			t.Errorf("in pieces of %d: got %q, want %q", size, got, want)
		}
	}
}

// The server name in a tunnel is judged as in one of CONNECT.
func TestSocksJudgesServerName(t *testing.T) {
	d := open(t, withSocks(nil))
	server, where := secureOrigin(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "origin") }))
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	for name, allowed := range map[string]bool{"example.com": true, "us04web.zoom.us": false} {
		c := d.socks()
		c.send(greetingNone + socksTo("127.0.0.1", where.Port()))
		c.read(2 + len(granted))
		err := tls.Client(c.TCPConn, &tls.Config{RootCAs: roots, ServerName: name}).Handshake()
		if (err == nil) != allowed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSocksReplies(t *testing.T) {
	d := open(t, withSocks(func(c *Config, _ *Dependencies) {
		c.DenyNetworks = DenyNetworks{Prefixes: []netip.Prefix{netip.MustParsePrefix("127.1.0.0/16")}}
	}))
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().(*net.TCPAddr).AddrPort().Port()
	_ = closed.Close()
	d.name("us04web.zoom.us", "127.0.0.1")
	d.name("inside.example", "127.1.0.1")
	for _, test := range []struct {
		name, request string
		want          socksReply
		code          string
		decided       int
	}{
		{"refused by the policy", socksTo("us04web.zoom.us", 443), socksNotAllowed, "403", 1},
		{"refused by the policy, an address", socksTo("3.7.35.1", 443), socksNotAllowed, "403", 1},
		{"a network that is denied", socksTo("inside.example", 443), socksNotAllowed, "403", 1},
		{"ourselves", socksTo("127.0.0.1", netip.MustParseAddrPort(d.listener("proxy socks")).Port()), socksNotAllowed, "403", 1},
		{"nobody listens", socksTo("127.0.0.1", nobody), socksRefused, "502", 1},
		{"no such name", socksTo("nowhere.example", 443), socksHostUnreachable, "502", 1},
		{"no name", socksTo("a b", 443), socksFailed, "400", 0},
		{"BIND", "\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00", socksNoCommand, "501", 0},
		{"UDP ASSOCIATE", "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", socksNoCommand, "501", 0},
		{"address type", "\x05\x01\x00\x05\x7f\x00\x00\x01\x00\x50", socksNoAddressType, "400", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			before, _ := d.recorded()
			counted := d.metric("sallyport_proxy_requests_total", "socks", test.code)
			c := d.socks()
			c.send(greetingNone + test.request + strings.Repeat("what was for the tunnel", 1000))
			if got, want := c.rest(), "\x05\x00"+replied(test.want); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if after, _ := d.recorded(); len(after) != len(before)+test.decided {
				t.Errorf("%d decisions, want %d", len(after)-len(before), test.decided)
			}
			if got := d.metric("sallyport_proxy_requests_total", "socks", test.code); got != counted+1 {
				t.Errorf("%v with code %s counted, want %v", got, test.code, counted+1)
			}
		})
	}
	eventually(t, "nobody is inside", func() bool { return d.crowd.size() == 0 })
}

func TestSocksReplyTo(t *testing.T) {
	for _, test := range []struct {
		err  error
		want socksReply
	}{
		{syscall.ECONNREFUSED, socksRefused},
		{syscall.ENETUNREACH, socksNetworkUnreachable},
		{syscall.EHOSTUNREACH, socksHostUnreachable},
		{syscall.ETIMEDOUT, socksTooLate},
		{&resolveError{err: errors.New("no such name"), none: true}, socksHostUnreachable},
		{errors.New("something else"), socksHostUnreachable},
	} {
		f := describe(fmt.Errorf("dial: %w", test.err))
		if got := socksReplyTo(answer{status: f.status, proxyStatus: f.proxyStatus}); got != test.want {
			t.Errorf("%v: reply %#x, want %#x", test.err, got, test.want)
		}
	}
	if got := socksReplyTo(answer{status: http.StatusServiceUnavailable}); got != socksFailed {
		t.Errorf("busy: reply %#x", got)
	}
}

func TestSocksPasswords(t *testing.T) {
	d := open(t, withSocks(passwords))
	d.decide(forAlice)
	where := origin(t, echoing)
	d.name("zoom.us", "127.0.0.1")
	zoom, other := socksTo("zoom.us", where.Port()), socksTo("127.0.0.1", where.Port())
	const alice, guess = "\x01\x05alice\x06secret", "\x01\x05alice\x05guess"
	for _, test := range []struct{ name, sent, want, user string }{
		{"alice", greetingPassword + alice + zoom, "\x05\x02\x01\x00" + granted, "alice"},
		{"alice, who offers both", greetingBoth + alice + zoom, "\x05\x02\x01\x00" + granted, "alice"},
		{"alice, where nobody asks", greetingBoth + alice + other, "\x05\x02\x01\x00" + granted, "alice"},
		{"nobody, where nobody asks", greetingNone + other, "\x05\x00" + granted, ""},
		{"nobody, where a user is needed", greetingNone + zoom, "\x05\x00" + replied(socksNotAllowed), "-"},
		{"a wrong password", greetingPassword + guess + other, "\x05\x02\x01\x01", "-"},
		{"a user with a colon", greetingPassword + "\x01\x03a:b\x06secret" + other, "\x05\x02\x01\x01", "-"},
		{"another protocol for passwords", greetingPassword + "\x05\x05alice\x06secret" + other, "\x05\x02", "-"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before, _ := d.recorded()
			c := d.socks()
			c.send(test.sent)
			_ = c.CloseWrite()
			if got := c.rest(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if test.user == "-" {
				if after, _ := d.recorded(); len(after) != len(before) {
					t.Errorf("decisions %+v", after[len(before):])
				}
				return
			}
			eventually(t, "it is recorded", func() bool { after, _ := d.recorded(); return len(after) == len(before)+1 })
			if after, _ := d.recorded(); after[len(before)].Subject.User != test.user {
				t.Errorf("decision %+v", after[len(before)])
			}
		})
	}
	if got := d.metric("sallyport_proxy_requests_total", "socks", "407"); got != 3 {
		t.Errorf("%v questions and wrong passwords counted, want 3", got)
	}
}

// A password that cannot be checked now is not a wrong one.
func TestSocksPasswordsThatCannotBeChecked(t *testing.T) {
	wrong, busy := errors.New("wrong"), errors.New("busy")
	d := open(t, withSocks(func(c *Config, deps *Dependencies) {
		passwords(c, deps)
		identify := deps.Identify
		deps.Identify = func(client netip.Addr, authorization string) (policy.Subject, error) {
			if authorization != "" {
				return policy.Subject{}, busy
			}
			return identify(client, authorization)
		}
		deps.BadCredentials = func(err error) bool { return errors.Is(err, wrong) }
	}))
	d.decide(forAlice)
	where := origin(t, echoing)
	for request, want := range map[string]socksReply{
		socksTo("zoom.us", 443):            socksFailed,
		socksTo("127.0.0.1", where.Port()): socksSucceeded,
	} {
		c := d.socks()
		c.send(greetingPassword + "\x01\x05alice\x06secret" + request)
		_ = c.CloseWrite()
		if got := c.rest(); got != "\x05\x02\x01\x00"+replied(want) {
			t.Errorf("got %q, want reply %#x", got, want)
		}
	}
}

// Strangers are told no, and are not asked for a password that would have to be
// checked.
func TestSocksStrangers(t *testing.T) {
	asked := false
	d := open(t, withSocks(func(c *Config, deps *Dependencies) {
		passwords(c, deps)
		c.Clients = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		deps.Identify = func(netip.Addr, string) (policy.Subject, error) {
			asked = true
			return policy.Subject{}, nil
		}
	}))
	for _, test := range []struct{ sent, want string }{
		{greetingNone + socksTo("example.com", 443), "\x05\x00" + replied(socksNotAllowed)},
		{greetingBoth + socksTo("example.com", 443), "\x05\x00" + replied(socksNotAllowed)},
		{greetingPassword + "\x01\x05alice\x06secret" + socksTo("example.com", 443), "\x05\x02\x01\x00" + replied(socksNotAllowed)},
	} {
		c := d.socks()
		c.send(test.sent)
		if got := c.rest(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
	if decisions, _ := d.recorded(); asked || len(decisions) > 0 {
		t.Errorf("identified: %v, decisions %+v", asked, decisions)
	}
}

// Where there are no users, a client with a password and nothing else to offer
// gets through on its address, as one of HTTP does.
func TestSocksPasswordsWithoutUsers(t *testing.T) {
	d := open(t, withSocks(nil))
	where := origin(t, echoing)
	for greeting, method := range map[string]string{greetingBoth: "\x05\x00", greetingPassword: "\x05\x02\x01\x00"} {
		c := d.socks()
		c.send(greeting)
		c.read(2)
		if method != "\x05\x00" {
			c.send("\x01\x05alice\x06secret")
			c.read(2)
		}
		c.send(socksTo("127.0.0.1", where.Port()))
		if got := c.read(len(granted)); got != granted {
			t.Errorf("reply %q", got)
		}
	}
}

// What is no SOCKS 5 is told so as far as it can be, and closed.
func TestSocksOnly(t *testing.T) {
	d := open(t, withSocks(nil))
	for name, test := range map[string]struct{ sent, want string }{
		"SOCKS 4":                 {"\x04\x01\x01\xbb\x7f\x00\x00\x01\x00", string(socksOldRefusal[:])},
		"SOCKS 4a":                {"\x04\x01\x01\xbb\x00\x00\x00\x01\x00example.com\x00", string(socksOldRefusal[:])},
		"no method that is known": {"\x05\x01\x01", "\x05\xff"},
		"no method":               {"\x05\x00", "\x05\xff"},
		"HTTP":                    {connectTo("example.com:443"), ""},
		"TLS":                     {"\x16\x03\x01\x02\x00\x01\x00", ""},
		"another version later":   {greetingNone + "\x04\x01\x00\x01\x7f\x00\x00\x01\x01\xbb", "\x05\x00"},
		"an end too soon":         {greetingNone + "\x05\x01", "\x05\x00"},
	} {
		c := d.socks()
		c.send(test.sent)
		_ = c.CloseWrite()
		data, _ := io.ReadAll(c) // what was sent and not read may reset the connection
		if string(data) != test.want {
			t.Errorf("%s: got %q, want %q", name, data, test.want)
		}
	}
	if decisions, _ := d.recorded(); len(decisions) > 0 {
		t.Errorf("decisions %+v", decisions)
	}
	eventually(t, "nobody is inside", func() bool { return d.crowd.size() == 0 })
}

// A client has so long for what it has to say, however slowly it says it.
func TestSocksSlowClients(t *testing.T) {
	d := open(t, withSocks(func(c *Config, deps *Dependencies) {
		passwords(c, deps)
		c.Timeouts.Header = 300 * time.Millisecond
	}))
	var slow sync.WaitGroup
	for _, beginning := range []string{"", "\x05", greetingNone, greetingPassword + "\x01\x05al", greetingNone + "\x05\x01\x00\x03\xffa"} {
		c := d.socks()
		slow.Go(func() {
			_, _ = c.Write([]byte(beginning))
			data, err := io.ReadAll(c)
			var network net.Error
			if errors.As(err, &network) && network.Timeout() || bytes.Contains(data, []byte(granted)) {
				t.Errorf("%q: got %q, %v", beginning, data, err)
			}
		})
	}
	slow.Wait()
	eventually(t, "nobody is inside", func() bool { return d.crowd.size() == 0 })
}

// A stop does not wait for those who have said nothing, and lets tunnels be.
func TestSocksStop(t *testing.T) {
	d := open(t, withSocks(nil))
	where := origin(t, echoing)
	silent, c := d.socks(), d.socks()
	c.send(greetingNone + socksTo("127.0.0.1", where.Port()))
	c.read(2 + len(granted))
	eventually(t, "one is inside", func() bool { return d.crowd.size() == 1 })
	stopped := make(chan error, 1)
	go func() { stopped <- d.Shutdown(t.Context()) }()
	if rest := silent.rest(); rest != "" {
		t.Errorf("got %q", rest)
	}
	if got := c.echo("still here"); got != "still here" {
		t.Errorf("echo %q", got)
	}
	_ = c.Close()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// Recheck ends tunnels of SOCKS as any other.
func TestSocksRecheck(t *testing.T) {
	d := open(t, withSocks(nil))
	d.decide(func(*policy.Request) policy.Verdict { return allowed() })
	where := origin(t, echoing)
	d.name("zoom.us", "127.0.0.1")
	c := d.socks()
	c.send(greetingNone + socksTo("zoom.us", where.Port()) + "hello")
	c.read(2 + len(granted) + 5)
	d.decide(memo)
	if result := d.Recheck(); result != (RecheckResult{Checked: 1, Closed: 1}) {
		t.Errorf("%+v", result)
	}
	if rest := c.rest(); rest != "" {
		t.Errorf("got %q", rest)
	}
}

// Behind a load balancer the named client is who asks.
func TestSocksBehindBalancer(t *testing.T) {
	d := open(t, withSocks(behindBalancers))
	where := origin(t, echoing)
	c := d.socks()
	c.send(introduction4 + greetingNone + socksTo("127.0.0.1", where.Port()) + "hello")
	c.read(2 + len(granted) + 5)
	if decisions, _ := d.await(1, 0); decisions[0].Client != netip.MustParseAddr("192.0.2.7") {
		t.Errorf("decision %+v", decisions[0])
	}
}

// Where all refused clients are to see the page, those of SOCKS do.
func TestSocksShowsThePage(t *testing.T) {
	d, trusted := intercepting(t, withSocks(func(c *Config, _ *Dependencies) { c.InterceptAll = true }))
	c := d.socks()
	c.send(greetingNone + socksTo("us04web.zoom.us", 443))
	c.read(2 + len(granted))
	page, body, err := visit(t, c, trusted, "us04web.zoom.us")
	if err != nil {
		t.Fatal(err)
	}
	if page.StatusCode != http.StatusForbidden || !strings.Contains(body, "Privacy and security concerns") {
		t.Errorf("%s\n%s", page.Status, body)
	}
	_ = c.Close()
	eventually(t, "nobody is inside", func() bool { return d.crowd.size() == 0 })
}
