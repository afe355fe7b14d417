package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sallyport/sallyport/policy"
)

func contextDone() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx, cancel
}

func nowUTC() time.Time { return time.Now().UTC() }

// What counts as idle is tested with idleWatch; here that it ends a tunnel. The
// limit is long beside what opening a tunnel takes.
func TestIdleTunnelIsClosed(t *testing.T) {
	d := open(t, func(c *Config, _ *Dependencies) { c.Timeouts.Idle = time.Second })
	where := origin(t, echoing)
	c := d.tunnel(where.String())
	if rest := c.rest(); rest != "" {
		t.Errorf("got %q", rest)
	}
	if _, ends := d.await(1, 1); ends[0].ClosedBy != closedByIdle {
		t.Errorf("end %+v", ends[0])
	}
}

func TestShutdownDrainsTunnels(t *testing.T) {
	d := open(t, nil)
	where := origin(t, echoing)
	c := d.tunnel(where.String())
	c.echo("hello")
	stopped := make(chan error, 1)
	go func() { stopped <- d.Shutdown(context.Background()) }()
	eventually(t, "nobody is let in any more", func() bool {
		conn, err := net.Dial("tcp", d.addr)
		if err != nil {
			return true
		}
		_ = conn.Close()
		return false
	})
	if got := c.echo("still here"); got != "still here" {
		t.Errorf("echo %q", got)
	}
	select {
	case err := <-stopped:
		t.Fatalf("stopped with a tunnel open: %v", err)
	default:
	}
	_ = c.Close()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if _, ends := d.await(1, 1); ends[0].ClosedBy != closedByClient {
		t.Errorf("end %+v", ends[0])
	}
}

func TestShutdownCutsWhatIsLeft(t *testing.T) {
	d := open(t, nil)
	where := origin(t, upgraded(echoing))
	plain := origin(t, echoing)
	tunnel := d.tunnel(plain.String())
	_, _, socket := d.say(upgrading("http://" + where.String() + "/"))
	silent := d.client()
	halfway := d.client()
	halfway.send("GET http://exam")
	ctx, cancel := contextDone()
	defer cancel()
	if err := d.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	for _, c := range []*client{tunnel, socket, silent, halfway} {
		if rest := c.rest(); rest != "" {
			t.Errorf("got %q", rest)
		}
	}
	_, ends := d.await(2, 2)
	for _, end := range ends {
		if end.ClosedBy != closedByShutdown {
			t.Errorf("end %+v", end)
		}
	}
	if err := d.Shutdown(context.Background()); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

// Connections that browsers open for later do not hold a clean stop up.
func TestShutdownDoesNotWaitForSilentClients(t *testing.T) {
	d := open(t, nil)
	silent := d.client()
	eventually(t, "the connection is known", func() bool {
		d.crowd.mu.Lock()
		defer d.crowd.mu.Unlock()
		return len(d.crowd.silent) == 1
	})
	began := time.Now()
	if err := d.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 4*time.Second { // net/http alone waits 5 s
		t.Errorf("took %v", took)
	}
	_ = silent.rest()
}

func TestTooManyTunnels(t *testing.T) {
	d := open(t, func(c *Config, _ *Dependencies) { c.MaxTunnels = 1 })
	where := origin(t, echoing)
	first := d.tunnel(where.String())
	for _, raw := range []string{connectTo(where.String()), upgrading("http://" + where.String() + "/")} {
		response, _, _ := d.say(raw)
		if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
			t.Errorf("%s %v", response.Status, response.Header)
		}
	}
	if got := d.metric("sallyport_proxy_shed_total", shedTunnels); got != 2 {
		t.Errorf("%v counted", got)
	}
	_ = first.Close()
	d.awaitMetric(0, "sallyport_proxy_tunnels")
	eventually(t, "there is room", func() bool { return len(d.tunnels.all()) == 0 })
	if got := d.tunnel(where.String()).echo("x"); got != "x" {
		t.Errorf("echo %q", got)
	}
}

// One client cannot take all tunnels, and what is over counts no more.
func TestTooManyTunnelsOfOneClient(t *testing.T) {
	d := open(t, func(c *Config, _ *Dependencies) { c.MaxTunnelsPerClient = 1 })
	where := origin(t, echoing)
	first := d.tunnel(where.String())
	for _, raw := range []string{connectTo(where.String()), getting("http://" + where.String() + "/"), upgrading("http://" + where.String() + "/")} {
		response, _, _ := d.say(raw)
		if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
			t.Errorf("%s %v", response.Status, response.Header)
		}
	}
	if got := d.metric("sallyport_proxy_shed_total", shedClientTunnels); got != 3 {
		t.Errorf("%v counted", got)
	}
	other := d.clientFrom("127.0.0.2")
	other.send(connectTo(where.String()))
	if response, _ := other.answer(http.MethodConnect); response.StatusCode != http.StatusOK {
		t.Errorf("another client: %s", response.Status)
	}
	_, _ = first.Close(), other.Close()
	eventually(t, "there is room", func() bool {
		d.tunnels.mu.Lock()
		defer d.tunnels.mu.Unlock()
		return len(d.tunnels.tunnels)+len(d.tunnels.clients) == 0
	})
	if got := d.tunnel(where.String()).echo("x"); got != "x" {
		t.Errorf("echo %q", got)
	}
}

// clientFrom is a client with an address of its own.
func (d *door) clientFrom(address string) *client {
	d.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	conn, err := dialer.Dial("tcp", d.addr)
	if err != nil {
		d.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	d.t.Cleanup(func() { _ = conn.Close() })
	return &client{TCPConn: conn.(*net.TCPConn), t: d.t, reader: newReader(conn)}
}

func TestTooManyConnections(t *testing.T) {
	d := open(t, func(c *Config, _ *Dependencies) { c.MaxConns = 2 })
	where := origin(t, echoing)
	first, second := d.client(), d.client()
	eventually(t, "two are inside", d.inside(2))
	third := d.client()
	third.send(connectTo(where.String())) // it may find out only now
	third.turnedAway()
	d.awaitMetric(1, "sallyport_proxy_shed_total", shedConnections)
	first.send(connectTo(where.String())) // a tunnel is none of them any more
	if response, _ := first.answer(http.MethodConnect); response.StatusCode != http.StatusOK {
		t.Fatal(response.Status)
	}
	_ = second.Close()
	eventually(t, "nobody is inside", d.inside(0))
	if got := d.tunnel(where.String()).echo("x"); got != "x" {
		t.Errorf("echo %q", got)
	}
}

// turnedAway expects to be one too many.
func (c *client) turnedAway() {
	c.t.Helper()
	response, body := c.answer(http.MethodConnect)
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" || !response.Close || body == "" {
		c.t.Errorf("one too many: %s %v %q", response.Status, response.Header, body)
	}
	if rest := c.rest(); rest != "" {
		c.t.Errorf("and then %q", rest)
	}
}

// inside is the condition that so many connections are counted.
func (d *door) inside(n int) func() bool {
	return func() bool {
		d.crowd.mu.Lock()
		defer d.crowd.mu.Unlock()
		return d.crowd.inside == n && (n > 0 || len(d.crowd.clients) == 0)
	}
}

// One client cannot take all the room there is.
func TestTooManyConnectionsOfOneClient(t *testing.T) {
	d := open(t, func(c *Config, _ *Dependencies) { c.MaxConnsPerClient = 1 })
	first := d.client()
	eventually(t, "one is inside", d.inside(1))
	d.client().turnedAway()
	d.awaitMetric(1, "sallyport_proxy_shed_total", shedClient)
	other := d.clientFrom("127.0.0.2")
	other.send(connectTo("zoom.us:443"))
	if response, _ := other.answer(http.MethodConnect); response.StatusCode != http.StatusForbidden {
		t.Errorf("another client: %s", response.Status)
	}
	_ = first.Close()
	_ = other.Close()
	eventually(t, "nobody is inside", d.inside(0))
}

func TestClientKey(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.7":            "192.0.2.7",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::",
		"2001:db8:1:2:ffff::":  "2001:db8:1:2::",
		"2001:db8:1:3:3:4:5:6": "2001:db8:1:3::",
		"fe80::1":              "fe80::",
	} {
		if got := clientKey(netip.MustParseAddr(addr)); got != netip.MustParseAddr(want) {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

// trickle sends something now and then, until the connection is closed.
func trickle(conn net.Conn) {
	for {
		if _, err := conn.Write([]byte("more")); err != nil {
			return
		}
		time.Sleep(lingerQuiet / 10)
	}
}

// A client that was refused and goes on sending takes room until it is gone.
func TestLingeringConnectionsAreCounted(t *testing.T) {
	d := open(t, func(c *Config, _ *Dependencies) { c.MaxConns = 1 })
	first := d.client()
	first.send(connectTo("zoom.us:443") + "early")
	if response, _ := first.answer(http.MethodConnect); response.StatusCode != http.StatusForbidden {
		t.Fatal(response.Status)
	}
	var sending sync.WaitGroup
	sending.Go(func() { trickle(first) })
	// There is no room, and the one place to linger in is taken: whether the
	// second hears that it is one too many is a matter of luck.
	if rest := d.client().rest(); rest != "" && !strings.HasPrefix(rest, "HTTP/1.1 503 ") {
		t.Errorf("the second got %q", rest)
	}
	d.awaitMetric(1, "sallyport_proxy_shed_total", shedConnections)
	_ = first.Close()
	sending.Wait()
	eventually(t, "nobody is inside", d.inside(0))
	if response, _, _ := d.say(connectTo("zoom.us:443")); response.StatusCode != http.StatusForbidden {
		t.Errorf("afterwards: %s", response.Status)
	}
}

// Where too many linger already, no more time is spent.
func TestLingeringIsBounded(t *testing.T) {
	d := open(t, func(c *Config, _ *Dependencies) { c.MaxConns = 32 })
	for range 2 {
		if !d.mayLinger() {
			t.Fatal("a sixteenth of 32 is 2")
		}
		defer d.doneLingering()
	}
	here, there := tcpPair(t)
	var sending sync.WaitGroup
	sending.Go(func() { trickle(here) })
	began := time.Now()
	d.linger(there)
	if took := time.Since(began); took > lingerTime/2 { // it would have taken lingerTime
		t.Errorf("took %v", took)
	}
	_ = here.Close()
	sending.Wait()
}

func TestSlowHeadIsCutOff(t *testing.T) {
	d := open(t, func(c *Config, _ *Dependencies) { c.Timeouts.Header = 50 * time.Millisecond })
	c := d.client()
	c.send("GET http://example.com/ HTTP/1.1\r\nHost: exa")
	if rest := c.rest(); strings.Contains(rest, " 200 ") {
		t.Errorf("got %q", rest)
	}
}

func TestGarbage(t *testing.T) {
	d := open(t, nil)
	where := origin(t, echoing)
	for name, raw := range map[string]string{
		"noise":         "\x00\x01\x02\xff\xfe\r\n\r\n",
		"TLS hello":     string(clientHello(t, "zoom.us")),
		"words":         "hello there\r\n\r\n",
		"HTTP/2":        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"HTTP/9":        "GET http://example.com/ HTTP/9.9\r\nHost: a\r\n\r\n",
		"two hosts":     "GET http://example.com/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"two lengths":   "POST http://example.com/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
		"space in name": "GET http://example.com/ HTTP/1.1\r\nHost : a\r\n\r\n",
		"odd coding":    "POST http://example.com/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
		"one long line": strings.Repeat("A", 200<<10),
		"1 MB of heads": "GET http://example.com/ HTTP/1.1\r\nHost: a\r\nX-Big: " + strings.Repeat("b", 1<<20) + "\r\n\r\n",
		"many heads":    "GET http://example.com/ HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: y\r\n", 100000) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := d.client()
			c.t = t
			go func() { _, _ = io.WriteString(c.TCPConn, raw) }()
			response, err := http.ReadResponse(c.reader, nil)
			if err != nil {
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal("neither an answer nor an end")
				}
				return
			}
			if response.StatusCode < 400 || response.StatusCode > 505 {
				t.Errorf("answered %s", response.Status)
			}
		})
	}
	if got := d.tunnel(where.String()).echo("alive"); got != "alive" {
		t.Errorf("echo %q", got)
	}
}

func TestNewChecksWhatItIsGiven(t *testing.T) {
	good := func() (Config, Dependencies) {
		return Config{Listen: []string{"127.0.0.1:0"}}, Dependencies{
			Decider:   deciderFunc(memo),
			Identify:  func(netip.Addr, string) (policy.Subject, error) { return policy.Subject{}, nil },
			Resolve:   func(context.Context, string) (Resolution, error) { return Resolution{}, nil },
			Record:    func(*policy.Decision) {},
			RecordEnd: func(*policy.TunnelEnd) {},
		}
	}
	taken := prometheus.NewRegistry()
	for want, spoil := range map[string]func(*Config, *Dependencies){
		"":                  func(*Config, *Dependencies) {},
		"no listen address": func(c *Config, _ *Dependencies) { c.Listen = nil },
		"missing port":      func(c *Config, _ *Dependencies) { c.Listen = []string{"localhost"} },
		"exclude each other": func(c *Config, _ *Dependencies) {
			c.DenyNetworks = DenyNetworks{None: true, Prefixes: privateNetworks()}
		},
		"timeout idle is -1s": func(c *Config, _ *Dependencies) { c.Timeouts.Idle = -time.Second },
		"maximum of tunnels":  func(c *Config, _ *Dependencies) { c.MaxTunnels = -1 },
		"of one client is -2": func(c *Config, _ *Dependencies) { c.MaxConnsPerClient = -2 },
		"no decider":          func(_ *Config, d *Dependencies) { d.Decider = nil },
		"no identify func":    func(_ *Config, d *Dependencies) { d.Identify = nil },
		"no resolve func":     func(_ *Config, d *Dependencies) { d.Resolve = nil },
		"no record func":      func(_ *Config, d *Dependencies) { d.Record = nil },
		"no record-end func":  func(_ *Config, d *Dependencies) { d.RecordEnd = nil },
		"register metrics": func(_ *Config, d *Dependencies) {
			d.Registerer = taken
			if _, err := newMetrics(taken); err != nil {
				t.Fatal(err)
			}
		},
	} {
		config, dependencies := good()
		spoil(&config, &dependencies)
		server, err := New(config, dependencies)
		switch {
		case want == "" && err != nil:
			t.Error(err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("got %v, want %q", err, want)
		}
		if server != nil {
			ctx, cancel := contextDone()
			_ = server.Shutdown(ctx)
			cancel()
		}
	}
}

func TestListenBindsAllOrNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	server, err := New(Config{Listen: []string{"127.0.0.1:0", l.Addr().String()}}, Dependencies{
		Decider:   deciderFunc(memo),
		Identify:  func(netip.Addr, string) (policy.Subject, error) { return policy.Subject{}, nil },
		Resolve:   func(context.Context, string) (Resolution, error) { return Resolution{}, nil },
		Record:    func(*policy.Decision) {},
		RecordEnd: func(*policy.TunnelEnd) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Shutdown(context.Background())
	if err := server.Listen(t.Context()); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("got %v", err)
	}
	if addresses := server.Addrs(); len(addresses) != 0 {
		t.Errorf("still bound: %v", addresses)
	}
}

func TestAddrs(t *testing.T) {
	d := open(t, func(c *Config, _ *Dependencies) { c.Listen = []string{"127.0.0.1:0", "127.0.0.1:0"} })
	addresses := d.Addrs()
	if len(addresses) != 2 || addresses[0].Name != "proxy http" || addresses[0].Addr == addresses[1].Addr {
		t.Errorf("%v", addresses)
	}
	if err := d.Listen(t.Context()); err == nil {
		t.Error("listening twice went well")
	}
}
