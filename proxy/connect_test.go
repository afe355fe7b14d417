package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

func connectTo(target string) string {
	return "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n"
}

func TestConnectCarriesTLS(t *testing.T) {
	d := open(t, nil)
	server, where := secureOrigin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "hello "+r.Host)
	}))
	d.name("example.com", "127.0.0.1")
	browser := d.browser(server)
	response, err := browser.Get("https://example.com:" + fmt.Sprint(where.Port()) + "/")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if want := "hello example.com:" + fmt.Sprint(where.Port()); string(body) != want {
		t.Errorf("got %q, want %q", body, want)
	}
	d.awaitMetric(1, "sallyport_proxy_tunnels")
	browser.CloseIdleConnections()
	decisions, ends := d.await(1, 1)
	decision := decisions[0]
	if decision.Transport != "connect" || decision.Door != policy.DoorProxy || decision.Host.Name() != "example.com" ||
		decision.Port != where.Port() || decision.Verdict.Action != policy.ActionAllow || decision.Duration <= 0 ||
		decision.Client != netip.MustParseAddr("127.0.0.1") || decision.ID == "" {
		t.Errorf("decision %+v", decision)
	}
	if len(decision.Facts) != 1 || decision.Facts[0].Addr() != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("facts %v, want the address", decision.Facts)
	}
	end := ends[0]
	// The server may answer the end of the TLS session before the end of the
	// connection gets to it: either side may be the first.
	if end.Decision != decision || end.ClosedBy != closedByClient && end.ClosedBy != closedByUpstream || end.BytesUp < 100 || end.BytesDown < 100 {
		t.Errorf("end %+v", end)
	}
	d.awaitMetric(0, "sallyport_proxy_tunnels")
	if got := d.metric("sallyport_proxy_requests_total", "connect", "200"); got != 1 {
		t.Errorf("%v requests counted, want 1", got)
	}
	if up, down := d.metric("sallyport_proxy_tunnel_bytes_total", "up"), d.metric("sallyport_proxy_tunnel_bytes_total", "down"); up != float64(end.BytesUp) || down != float64(end.BytesDown) {
		t.Errorf("bytes counted %v up, %v down; the entry says %d, %d", up, down, end.BytesUp, end.BytesDown)
	}
}

func TestConnectRefusal(t *testing.T) {
	d := open(t, nil)
	d.name("us04web.zoom.us", "127.0.0.1")
	response, body, c := d.say(connectTo("us04web.zoom.us:443"))
	decisions, _ := d.await(1, 0)
	if response.StatusCode != http.StatusForbidden {
		t.Fatalf("status %s", response.Status)
	}
	for name, want := range map[string]string{
		"Cache-Control":        "no-store",
		"Proxy-Status":         "sallyport; error=http_request_denied",
		"X-Sallyport-Rule":     "zoom-memo",
		"X-Sallyport-Decision": decisions[0].ID,
		"Content-Type":         "text/plain; charset=utf-8",
	} {
		if got := response.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, want := range []string{"Zoom is blocked", "Privacy and security concerns", "Please move your meetings.", "- phone", "it-help@corp.example", decisions[0].ID} {
		if !strings.Contains(body, want) {
			t.Errorf("body lacks %q:\n%s", want, body)
		}
	}
	if decisions[0].Verdict.Action != policy.ActionBlock || decisions[0].Transport != "connect" {
		t.Errorf("decision %+v", decisions[0])
	}
	// The connection is good for another request.
	c.send(connectTo("app.zoom.us:443"))
	if response, _ := c.answer(http.MethodConnect); response.StatusCode != http.StatusForbidden {
		t.Errorf("second request: %s", response.Status)
	}
	d.await(2, 0)
	if got := d.metric("sallyport_proxy_requests_total", "connect", "403"); got != 2 {
		t.Errorf("%v refusals counted, want 2", got)
	}
}

// A client that does not wait for the answer must get it whole nevertheless,
// and what it sent must not be taken for requests.
func TestRefusalIsDeliveredWholeBehindEarlyData(t *testing.T) {
	d := open(t, nil)
	wanted, wantedBody, _ := d.say(connectTo("zoom.us:443"))
	count := 1
	for _, size := range []int{0, 1, 600, 20 << 10, 1 << 20} {
		for round := range 5 {
			random := rand.New(rand.NewPCG(uint64(size), uint64(round)))
			early := make([]byte, size)
			for i := range early {
				early[i] = byte(random.Uint32())
			}
			conn := d.dialProxy()
			sent := make(chan error, 1)
			go func() {
				_, err := conn.Write(append([]byte(connectTo("zoom.us:443")), early...))
				sent <- err
			}()
			c := &client{TCPConn: conn, t: t, reader: nil}
			c.reader = newReader(conn)
			if err := <-sent; err != nil { // read only afterwards, as a simple client would
				t.Fatalf("%d bytes early: send: %v", size, err)
			}
			response, body := c.answer(http.MethodConnect)
			if response.StatusCode != http.StatusForbidden || len(body) != len(wantedBody) || response.Header.Get("X-Sallyport-Rule") != wanted.Header.Get("X-Sallyport-Rule") {
				t.Fatalf("%d bytes early: %s, body of %d bytes, want %d", size, response.Status, len(body), len(wantedBody))
			}
			count++
			if size < 600 {
				continue
			}
			if rest := c.rest(); rest != "" {
				t.Errorf("%d bytes early: %q behind the answer", size, rest)
			}
		}
	}
	d.await(count, 0)
}

// Bytes that the client sends right behind its CONNECT belong to the tunnel.
func TestEarlyBytesAreKept(t *testing.T) {
	for _, size := range []int{1, 9, 600, 5000, 20 << 10, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			d := open(t, nil)
			where := origin(t, echoing)
			early := bytes.Repeat([]byte("sallyport "), size/10+1)[:size]
			target := where.String()
			conn := d.dialProxy()
			sent := make(chan error, 1)
			go func() {
				_, err := conn.Write(append([]byte(connectTo(target)), early...))
				sent <- err
			}()
			c := &client{TCPConn: conn, t: t, reader: newReader(conn)}
			if response, _ := c.answer(http.MethodConnect); response.StatusCode != http.StatusOK {
				t.Fatal(response.Status)
			}
			if got := c.read(size); got != string(early) {
				t.Errorf("echo differs")
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestHalfClose(t *testing.T) {
	d := open(t, nil)
	t.Run("client first", func(t *testing.T) {
		where := origin(t, func(conn *net.TCPConn) {
			data, _ := io.ReadAll(conn)
			_, _ = conn.Write(append([]byte("got "), data...))
		})
		c := d.tunnel(where.String())
		c.send("everything")
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got := c.rest(); got != "got everything" {
			t.Errorf("got %q", got)
		}
		_, ends := d.await(1, 1)
		if ends[0].ClosedBy != closedByClient || ends[0].BytesUp != 10 || ends[0].BytesDown != 14 {
			t.Errorf("end %+v", ends[0])
		}
	})
	t.Run("origin first", func(t *testing.T) {
		late := make(chan string, 1)
		where := origin(t, func(conn *net.TCPConn) {
			_, _ = conn.Write([]byte("that is all"))
			_ = conn.CloseWrite()
			data, _ := io.ReadAll(conn)
			late <- string(data)
		})
		c := d.tunnel(where.String())
		if got := c.rest(); got != "that is all" {
			t.Errorf("got %q", got)
		}
		c.send("not for me")
		_ = c.CloseWrite()
		if got := <-late; got != "not for me" {
			t.Errorf("origin got %q", got)
		}
		_, ends := d.await(2, 2)
		if ends[1].ClosedBy != closedByUpstream {
			t.Errorf("end %+v", ends[1])
		}
	})
	t.Run("client says nothing", func(t *testing.T) {
		where := origin(t, func(conn *net.TCPConn) {
			_, _ = io.ReadAll(conn)
			_, _ = conn.Write([]byte("bye"))
		})
		c := d.tunnel(where.String())
		_ = c.CloseWrite()
		if got := c.rest(); got != "bye" {
			t.Errorf("got %q", got)
		}
	})
}

// In SMTP, SSH and others the server speaks first: nobody may wait for a hello.
func TestServerFirst(t *testing.T) {
	d := open(t, func(c *Config, _ *Dependencies) { c.Timeouts.FirstByte = time.Minute })
	where := origin(t, func(conn *net.TCPConn) {
		_, _ = conn.Write([]byte("220 mail.example\r\n"))
		echoing(conn)
	})
	c := d.tunnel(where.String())
	if got := c.read(18); got != "220 mail.example\r\n" {
		t.Errorf("greeting %q", got)
	}
	if got := c.echo("EHLO client\r\n"); got != "EHLO client\r\n" {
		t.Errorf("echo %q", got)
	}
}

// The host of a plain request at the start of a tunnel is a claim like a TLS
// server name; other protocols pass, whichever side ends first.
func TestPlainRequestInATunnelIsJudged(t *testing.T) {
	d := open(t, func(c *Config, _ *Dependencies) { c.Timeouts.FirstByte = 50 * time.Millisecond })
	where := origin(t, echoing)
	for i, request := range []string{"GET / HTTP/1.1\r\nHost: zoom.us\r\n\r\n", "GET http://us04web.zoom.us/ HTTP/1.1\r\n\r\n"} {
		c := d.tunnel(where.String())
		c.send(request)
		if got := c.rest(); strings.Contains(got, "GET") {
			t.Errorf("%q reached the origin", request)
		}
		decisions, _ := d.await(i+1, i+1)
		if decisions[i].Verdict.RuleName() != "zoom-memo" {
			t.Errorf("%q: %+v", request, decisions[i].Verdict)
		}
	}
	for _, text := range []string{"GET / HTTP/1.1\r\nHost: fine.example\r\n\r\n", "hello", "\x00\x01"} {
		c := d.tunnel(where.String())
		if got := c.echo(text); got != text {
			t.Errorf("sent %q, got %q", text, got)
		}
	}
}

// A client that stays silent is recorded after the first-byte time, and its
// hello is judged when it comes: waiting is no way round, and the refusal is
// recorded as one.
func TestSilenceIsNoWayPastTheServerName(t *testing.T) {
	broken := []byte{recordHandshake, 3, 1, 0, 0}
	for rule, hello := range map[string][]byte{"zoom-memo": clientHello(t, "zoom.us"), ruleClientHello: broken} {
		t.Run(rule, func(t *testing.T) {
			d := open(t, func(c *Config, _ *Dependencies) { c.Timeouts.FirstByte = 20 * time.Millisecond })
			where := origin(t, echoing)
			c := d.tunnel(where.String())
			first, _ := d.await(1, 0)
			if first[0].Verdict.Action != policy.ActionAllow {
				t.Fatalf("recorded %+v", first[0].Verdict)
			}
			c.send(string(hello))
			if got := c.rest(); got != string(alertAccessDenied[:]) {
				t.Errorf("got %q, want the alert", got)
			}
			decisions, ends := d.await(2, 1)
			if decisions[0] != first[0] || first[0].Verdict.Action != policy.ActionAllow || len(first[0].Facts) != 0 {
				t.Errorf("the first decision has changed: %+v", first[0])
			}
			second := decisions[1]
			if second.Verdict.Action != policy.ActionBlock || second.Verdict.RuleName() != rule || second.ID == first[0].ID || second.ID == "" ||
				second.Host != first[0].Host || second.Transport != "connect" || second.Time.Before(first[0].Time) {
				t.Errorf("second decision %+v", second)
			}
			if rule == "zoom-memo" && (len(second.Facts) != 1 || second.Facts[0].Name() != "zoom.us") {
				t.Errorf("facts %v", second.Facts)
			}
			if end := ends[0]; end.Decision != first[0] || end.ClosedBy != closedByPolicy || end.Rule != rule || end.BytesUp != 0 {
				t.Errorf("end %+v", end)
			}
		})
	}
}

func TestServerNameIsJudged(t *testing.T) {
	server, where := secureOrigin(t, http.NotFoundHandler())
	_ = server
	tests := []struct {
		name, serverName string
		refused          bool
	}{
		{"same name", "example.com", false},
		{"another allowed name", "cdn.example.net", false},
		{"no name", "", false},
		{"refused name", "us04web.zoom.us", true},
		{"refused name in capitals", "US04WEB.ZOOM.US", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := open(t, nil)
			d.name("example.com", "127.0.0.1")
			c := d.tunnel(at(where.Port(), "example.com"))
			session := tls.Client(c, &tls.Config{ServerName: test.serverName, InsecureSkipVerify: true})
			err := session.Handshake()
			if (err != nil) != test.refused {
				t.Fatalf("handshake: %v", err)
			}
			if !test.refused {
				return
			}
			if !strings.Contains(err.Error(), "access denied") {
				t.Errorf("handshake: %v, want an access denied alert", err)
			}
			decisions, ends := d.await(1, 1)
			v := decisions[0].Verdict
			if v.Action != policy.ActionBlock || v.RuleName() != "zoom-memo" || v.Fact.Name() != "us04web.zoom.us" {
				t.Errorf("verdict %+v", v)
			}
			if n := len(decisions[0].Facts); n != 2 || decisions[0].Facts[1].Name() != "us04web.zoom.us" {
				t.Errorf("facts %v", decisions[0].Facts)
			}
			if ends[0].Decision != decisions[0] || ends[0].ClosedBy != closedByPolicy || ends[0].Rule != "zoom-memo" || ends[0].BytesUp != 0 {
				t.Errorf("end %+v", ends[0])
			}
			if got := d.metric("sallyport_proxy_tunnels_closed_total", closedByPolicy); got != 1 {
				t.Errorf("%v closed by policy, want 1", got)
			}
		})
	}
}

// A hello in many records and many packets is still read.
func TestServerNameInPieces(t *testing.T) {
	d := open(t, nil)
	got := make(chan string, 1)
	where := origin(t, func(conn *net.TCPConn) {
		data, _ := io.ReadAll(conn)
		got <- string(data)
	})
	for _, name := range []string{"zoom.us", "example.com"} {
		hello := fragment(clientHello(t, name), 7)
		c := d.tunnel(where.String())
		for _, b := range hello {
			if _, err := c.Write([]byte{b}); err != nil {
				break // refused before the end
			}
		}
		_ = c.CloseWrite()
		_ = c.rest()
		arrived := <-got
		if name == "zoom.us" && arrived != "" {
			t.Errorf("%d bytes of a refused hello arrived", len(arrived))
		}
		if name == "example.com" && arrived != string(hello) {
			t.Errorf("%d bytes of a hello of %d arrived", len(arrived), len(hello))
		}
	}
	decisions, _ := d.await(2, 2)
	if decisions[0].Verdict.Action != policy.ActionBlock || decisions[1].Verdict.Action != policy.ActionAllow {
		t.Errorf("verdicts %v, %v", decisions[0].Verdict.Action, decisions[1].Verdict.Action)
	}
}

func TestUnreadableHelloIsRefused(t *testing.T) {
	whole := clientHello(t, "example.com")
	// A message of 64 KiB in records of one byte would take 384 KiB.
	endless := fragment(append([]byte{22, 3, 1, 0, 0, 1, 1, 0, 0}, make([]byte, maxHelloBytes)...), 1)
	for name, data := range map[string][]byte{
		"cut short":     whole[:len(whole)/2],
		"not a hello":   {22, 3, 1, 0, 4, 2, 0, 0, 0},
		"empty record":  {22, 3, 1, 0, 0},
		"huge record":   {22, 3, 1, 0xff, 0xff},
		"endless":       endless,
		"name of bytes": helloWithName(t, "zoom\x00.us"),
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, func(c *Config, _ *Dependencies) { c.Timeouts.FirstByte = 50 * time.Millisecond })
			where := origin(t, echoing)
			c := d.tunnel(where.String())
			_, _ = c.Write(data)
			if got := c.rest(); got != string(alertAccessDenied[:]) {
				t.Errorf("got %q, want the alert", got)
			}
			if verdict := d.lastVerdict(); verdict.RuleName() != ruleClientHello {
				t.Errorf("rule %q", verdict.RuleName())
			}
			if _, ends := d.recorded(); ends[0].Rule != ruleClientHello {
				t.Errorf("the end has rule %q", ends[0].Rule)
			}
		})
	}
}

func TestAddressForms(t *testing.T) {
	d := open(t, nil)
	n := 0
	for _, target := range []string{"3.7.35.1", "[::ffff:3.7.35.1]", "50799361", "0x3072301", "[64:ff9b::307:2301]", "[2002:307:2301::1]", "[::3.7.35.1]"} {
		response, body, _ := d.say(connectTo(target + ":443"))
		n++
		decisions, _ := d.await(n, 0)
		if response.StatusCode != http.StatusForbidden || response.Header.Get("X-Sallyport-Rule") != "zoom-memo" {
			t.Errorf("%s: %s\n%s", target, response.Status, body)
		}
		if fact := decisions[n-1].Verdict.Fact.String(); fact != "3.7.35.1" {
			t.Errorf("%s: fact %s", target, fact)
		}
	}
}

func TestDerivedFactsAreJudged(t *testing.T) {
	d := open(t, nil)
	d.mu.Lock()
	d.names["vanity.corp.example"] = Resolution{
		Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
		Facts: []policy.Host{policy.HostFromCanonicalName("corp.zoom.us")},
	}
	d.mu.Unlock()
	d.name("hosted.example", "3.7.35.9")
	d.name("translated.example", "64:ff9b::307:2309")
	for i, name := range []string{"vanity.corp.example", "hosted.example", "translated.example"} {
		response, _, _ := d.say(connectTo(name + ":443"))
		decisions, _ := d.await(i+1, 0)
		if response.StatusCode != http.StatusForbidden || decisions[i].Verdict.Fact.IsZero() || decisions[i].Host.Name() != name {
			t.Errorf("%s: %s, %+v", name, response.Status, decisions[i])
		}
	}
}

// A name that leads to a refused one and has no address is refused, and not
// merely out of reach: the employee is to be told why.
func TestFactsWithoutAddressAreJudged(t *testing.T) {
	facts := []policy.Host{policy.HostFromCanonicalName("corp.zoom.us")}
	for name, failure := range map[string]error{"no address": nil, "an error": errors.New("timed out")} {
		d := open(t, func(_ *Config, deps *Dependencies) {
			deps.Resolve = func(context.Context, string) (Resolution, error) { return Resolution{Facts: facts}, failure }
		})
		response, _, _ := d.say(connectTo("vanity.corp.example:443"))
		decisions, _ := d.await(1, 0)
		if response.StatusCode != http.StatusForbidden || decisions[0].Verdict.Fact != facts[0] {
			t.Errorf("%s: %s, %+v", name, response.Status, decisions[0])
		}
	}
}

// The address that was checked is dialled, whatever the name says a moment
// later.
func TestRebinding(t *testing.T) {
	asked := 0
	d := open(t, func(_ *Config, deps *Dependencies) {
		deps.Resolve = func(context.Context, string) (Resolution, error) {
			asked++
			if asked == 1 {
				return Resolution{Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}, nil
			}
			return Resolution{Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.66")}}, nil
		}
	})
	where := origin(t, echoing)
	c := d.tunnel(at(where.Port(), "rebind.example"))
	if got := c.echo("hi"); got != "hi" {
		t.Errorf("got %q", got)
	}
	if asked != 1 {
		t.Errorf("the name was resolved %d times, want once", asked)
	}
}

func TestPrivateNetworksAreRefused(t *testing.T) {
	d := open(t, func(c *Config, _ *Dependencies) { c.DenyNetworks = DenyNetworks{} })
	where := origin(t, echoing)
	d.name("inside.example", "127.0.0.1")
	d.name("both.example", "192.168.1.1", "fd00::1", "169.254.169.254")
	n := 0
	for _, target := range []string{where.String(), at(where.Port(), "inside.example"), "both.example:80", "[::1]:443", "10.0.0.1:22",
		"[64:ff9b::a00:1]:443", "[2002:7f00:1::]:443", "2130706433:80"} {
		response, body, _ := d.say(connectTo(target))
		n++
		decisions, _ := d.await(n, 0)
		verdict := decisions[n-1].Verdict
		if response.StatusCode != http.StatusForbidden || response.Header.Get("X-Sallyport-Rule") != "deny-networks" ||
			verdict.Action != policy.ActionBlock || verdict.RuleName() != "deny-networks" {
			t.Errorf("%s: %s %v\n%s", target, response.Status, verdict.RuleName(), body)
		}
		if host := decisions[n-1].Host; !host.IsAddr() && strings.Contains(body, "192.168") {
			t.Errorf("%s: the answer tells addresses:\n%s", target, body)
		}
	}
}

// The proxy must not be talked into talking to itself, even where private
// networks are open.
func TestSelfConnectionIsRefused(t *testing.T) {
	other := netip.MustParseAddrPort("127.0.0.1:9180")
	d := open(t, func(_ *Config, deps *Dependencies) {
		deps.Self = func() []netip.AddrPort { return []netip.AddrPort{other} }
	})
	_, port, _ := net.SplitHostPort(d.addr)
	for _, target := range []string{d.addr, "[::ffff:127.0.0.1]:" + port, "0.0.0.0:" + port, "[::]:" + port, other.String()} {
		response, _, _ := d.say(connectTo(target))
		if response.StatusCode != http.StatusForbidden || response.Header.Get("X-Sallyport-Rule") != "deny-networks" {
			t.Errorf("%s: %s", target, response.Status)
		}
	}
}

func TestUnreachableOrigins(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	_ = l.Close()
	none := errors.New("10.20.30.40 knows of no address")
	d := open(t, func(c *Config, deps *Dependencies) {
		c.Timeouts.Dial = 50 * time.Millisecond
		resolve := deps.Resolve
		deps.Resolve = func(ctx context.Context, name string) (Resolution, error) {
			if name == "slow.example" {
				<-ctx.Done()
				return Resolution{}, ctx.Err()
			}
			if name == "misspelt.example" {
				return Resolution{}, none
			}
			return resolve(ctx, name)
		}
		deps.NoAddress = func(err error) bool { return errors.Is(err, none) }
	})
	d.name("empty.example")
	n := 0
	for _, test := range []struct {
		target string
		status int
		reason string
		text   string
	}{
		{dead, http.StatusBadGateway, "connection_refused", "the server refused the connection"},
		{"nowhere.example:443", http.StatusBadGateway, "dns_error", "no resolver could look the name up; try again later"},
		{"misspelt.example:443", http.StatusBadGateway, "dns_error", "there is no such name, or it has no address; look at how it is written"},
		{"empty.example:443", http.StatusBadGateway, "dns_error", "there is no such name, or it has no address; look at how it is written"},
		{"slow.example:443", http.StatusGatewayTimeout, "dns_timeout", "no resolver has answered in time; try again later"},
	} {
		response, body, _ := d.say(connectTo(test.target))
		n++
		decisions, _ := d.await(n, 0)
		if response.StatusCode != test.status || response.Header.Get("Proxy-Status") != "sallyport; error="+test.reason {
			t.Errorf("%s: %s, %s", test.target, response.Status, response.Header.Get("Proxy-Status"))
		}
		host, _, _ := strings.Cut(test.target, ":")
		if want := host + ": " + test.text + "\nQuestions? Ask it-help@corp.example\n"; body != want {
			t.Errorf("%s: %q, want %q", test.target, body, want)
		}
		for _, secret := range []string{"10.20.30.40", "dial", "tcp", "connect:"} {
			if strings.Contains(body, secret) {
				t.Errorf("%s: the answer tells %q:\n%s", test.target, secret, body)
			}
		}
		if decisions[n-1].Verdict.Action != policy.ActionAllow {
			t.Errorf("%s: recorded as %v", test.target, decisions[n-1].Verdict.Action)
		}
	}
	if got := d.metric("sallyport_proxy_dial_duration_seconds", "refused"); got != 1 {
		t.Errorf("%v refused dials, want 1", got)
	}
}

func TestBadConnects(t *testing.T) {
	d := open(t, nil)
	for name, raw := range map[string]string{
		"no port":       "CONNECT example.com HTTP/1.1\r\nHost: example.com\r\n\r\n",
		"port 0":        connectTo("example.com:0"),
		"port too big":  connectTo("example.com:65536"),
		"port of words": connectTo("example.com:https"),
		"no host":       connectTo(":443"),
		"userinfo":      connectTo("user@example.com:443"),
		"path":          "CONNECT /example HTTP/1.1\r\nHost: example.com\r\n\r\n",
		"zone":          connectTo("[fe80::1%25eth0]:443"),
		"content":       "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\nContent-Length: 3\r\n\r\nabc",
		"chunks":        "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		if response, body, _ := d.say(raw); response.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s\n%s", name, response.Status, body)
		}
	}
	if decisions, _ := d.recorded(); len(decisions) != 0 {
		t.Errorf("%d decisions on nonsense", len(decisions))
	}
}

func TestForeignClients(t *testing.T) {
	d := open(t, func(c *Config, _ *Dependencies) { c.Clients = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	for _, raw := range []string{connectTo("example.com:443"), "GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n"} {
		response, body, _ := d.say(raw)
		if response.StatusCode != http.StatusForbidden || response.Header.Get("X-Sallyport-Rule") != "" || len(body) > 100 {
			t.Errorf("%s\n%s", response.Status, body)
		}
	}
	if decisions, _ := d.recorded(); len(decisions) != 0 {
		t.Errorf("%d decisions", len(decisions))
	}
}

func TestNobodyIsServedByDefault(t *testing.T) {
	d := open(t, func(c *Config, _ *Dependencies) { c.Clients = nil })
	if response, _, _ := d.say(connectTo("example.com:443")); response.StatusCode != http.StatusForbidden {
		t.Error(response.Status)
	}
}

// passwords lets alice in, as package identity would.
func passwords(c *Config, deps *Dependencies) {
	c.CanAuthenticate = true
	c.Realm = `Example "Rockets"`
	deps.Identify = func(client netip.Addr, authorization string) (policy.Subject, error) {
		who := policy.Identity{Addr: client, Source: "network"}
		if authorization == "" {
			return policy.Subject{Identity: who}, nil
		}
		if authorization != "Basic "+base64.StdEncoding.EncodeToString([]byte("alice:secret")) {
			return policy.Subject{}, errors.New("wrong password")
		}
		who.User, who.Source = "alice", "basic"
		return policy.Subject{Identity: who}, nil
	}
}

// forAlice is a policy in which only alice may use Zoom.
func forAlice(r *policy.Request) policy.Verdict {
	v := memo(r)
	if v.Action == policy.ActionAllow {
		return v
	}
	if r.Subject.User == "alice" {
		return allowed()
	}
	v.NeedsUser = r.Subject.User == ""
	return v
}

func TestChallenge(t *testing.T) {
	d := open(t, passwords)
	d.decide(forAlice)
	where := origin(t, echoing)
	d.name("zoom.us", "127.0.0.1")
	target := at(where.Port(), "zoom.us")
	withCredentials := func(pair string) string {
		return "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\nProxy-Authorization: Basic " +
			base64.StdEncoding.EncodeToString([]byte(pair)) + "\r\n\r\n"
	}
	response, body, c := d.say(connectTo(target))
	if response.StatusCode != http.StatusProxyAuthRequired || response.Header.Get("Proxy-Authenticate") != `Basic realm="Example \"Rockets\"", charset="UTF-8"` {
		t.Fatalf("%s, %q\n%s", response.Status, response.Header.Get("Proxy-Authenticate"), body)
	}
	if !strings.Contains(body, "Sign in if you have an exception") || !strings.Contains(body, testRule.Reason) ||
		response.Header.Get("X-Sallyport-Rule") != "zoom-memo" || response.Header.Get("X-Sallyport-Decision") != "" {
		t.Errorf("%v\n%s", response.Header, body)
	}
	c.send(withCredentials("alice:guess"))
	if response, _ := c.answer(http.MethodConnect); response.StatusCode != http.StatusProxyAuthRequired {
		t.Fatalf("wrong password: %s", response.Status)
	}
	if decisions, _ := d.recorded(); len(decisions) != 0 {
		t.Errorf("a question was recorded as %d decisions", len(decisions))
	}
	c.send(withCredentials("alice:secret")) // on the same connection
	if response, _ := c.answer(http.MethodConnect); response.StatusCode != http.StatusOK {
		t.Fatalf("right password: %s", response.Status)
	}
	if got := c.echo("hello"); got != "hello" {
		t.Errorf("echo %q", got)
	}
	decisions, _ := d.await(1, 0)
	if decisions[0].Subject.User != "alice" {
		t.Errorf("recorded user %q", decisions[0].Subject.User)
	}
	// Where no user is needed nobody is asked.
	if got := d.tunnel(where.String()).echo("x"); got != "x" {
		t.Errorf("echo %q", got)
	}
}

// Credentials that do not stand matter only where a user name would.
func TestBadCredentialsWhereNobodyAsks(t *testing.T) {
	d := open(t, passwords)
	where := plainOrigin(t, func(http.ResponseWriter, *http.Request) {})
	credentials := func(pair string) string {
		return "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(pair)) + "\r\n\r\n"
	}
	connect := func(target string) string { return strings.TrimSuffix(connectTo(target), "\r\n") }
	get := func(uri string) string { return strings.TrimSuffix(getting(uri), "\r\n") }
	for i, test := range []struct {
		raw, user string
		status    int
	}{
		{connect(where.String()) + credentials("alice:guess"), "", http.StatusOK},
		{connect(where.String()) + "Proxy-Authorization: Negotiate abc\r\n\r\n", "", http.StatusOK},
		{connect(where.String()) + credentials("alice:secret"), "alice", http.StatusOK},
		{connect("zoom.us:443") + credentials("alice:guess"), "", http.StatusForbidden},
		{connect("zoom.us:443") + credentials("alice:secret"), "alice", http.StatusForbidden},
		{get("http://"+where.String()+"/") + credentials("alice:guess"), "", http.StatusOK},
		{get("http://zoom.us/") + credentials("alice:guess"), "", http.StatusForbidden},
	} {
		response, _, c := d.say(test.raw)
		_ = c.Close() // a tunnel is recorded once its first bytes, or its end, are there
		decisions, _ := d.recorded()
		eventually(t, "it is recorded", func() bool { decisions, _ = d.recorded(); return len(decisions) == i+1 })
		if response.StatusCode != test.status || decisions[i].Subject.User != test.user || decisions[i].Subject.Addr != netip.MustParseAddr("127.0.0.1") {
			t.Errorf("%q: %s, recorded %+v", test.raw, response.Status, decisions[i].Subject)
		}
	}
}

// A password that cannot be checked now is not a wrong one.
func TestCredentialsThatCannotBeChecked(t *testing.T) {
	wrong, busy := errors.New("wrong"), errors.New("busy")
	where := origin(t, echoing)
	for _, test := range []struct {
		failure error
		status  int
	}{{wrong, http.StatusProxyAuthRequired}, {fmt.Errorf("throttled: %w", wrong), http.StatusProxyAuthRequired}, {busy, http.StatusServiceUnavailable}} {
		d := open(t, func(c *Config, deps *Dependencies) {
			passwords(c, deps)
			identify := deps.Identify
			deps.Identify = func(client netip.Addr, authorization string) (policy.Subject, error) {
				if authorization != "" {
					return policy.Subject{}, test.failure
				}
				return identify(client, authorization)
			}
			deps.BadCredentials = func(err error) bool { return errors.Is(err, wrong) }
		})
		d.decide(forAlice)
		for _, raw := range []string{
			"CONNECT zoom.us:443 HTTP/1.1\r\nHost: zoom.us:443\r\nProxy-Authorization: Basic x\r\n\r\n",
			"GET http://zoom.us/ HTTP/1.1\r\nHost: zoom.us\r\nProxy-Authorization: Basic x\r\n\r\n",
		} {
			response, _, _ := d.say(raw)
			later, asked := response.Header.Get("Retry-After") != "", response.Header.Get("Proxy-Authenticate") != ""
			if response.StatusCode != test.status || later != (test.failure == busy) || asked == later {
				t.Errorf("%v: %s %v", test.failure, response.Status, response.Header)
			}
		}
		response, _, _ := d.say("CONNECT " + where.String() + " HTTP/1.1\r\nHost: a\r\nProxy-Authorization: Basic x\r\n\r\n")
		if response.StatusCode != http.StatusOK {
			t.Errorf("%v, where nobody asks: %s", test.failure, response.Status)
		}
	}
}

// Without any subject there is nothing to ask the policy.
func TestNobodyIsIdentified(t *testing.T) {
	d := open(t, func(_ *Config, deps *Dependencies) {
		deps.Identify = func(netip.Addr, string) (policy.Subject, error) { return policy.Subject{}, errors.New("out of order") }
		deps.BadCredentials = func(error) bool { return false }
	})
	if response, _, _ := d.say(connectTo("example.com:443")); response.StatusCode != http.StatusServiceUnavailable {
		t.Error(response.Status)
	}
	if decisions, _ := d.recorded(); len(decisions) != 0 {
		t.Errorf("%d decisions", len(decisions))
	}
}

func TestNoChallengeWithoutUsers(t *testing.T) {
	d := open(t, nil)
	d.decide(forAlice)
	response, _, _ := d.say(connectTo("zoom.us:443"))
	if response.StatusCode != http.StatusForbidden {
		t.Error(response.Status)
	}
}

// A name that needs a user must not be reachable without one by claiming it
// in the handshake only.
func TestServerNameThatNeedsAUser(t *testing.T) {
	d := open(t, passwords)
	d.decide(func(r *policy.Request) policy.Verdict {
		v := allowed()
		v.NeedsUser = memo(r).Action.Refuses() // bob would be refused
		return v
	})
	where := origin(t, echoing)
	c := d.tunnel(where.String())
	if err := tls.Client(c, &tls.Config{ServerName: "zoom.us"}).Handshake(); err == nil {
		t.Error("the handshake went through")
	}
	decisions, _ := d.await(1, 1)
	if decisions[0].Verdict.RuleName() != ruleSignIn || decisions[0].Verdict.Action != policy.ActionBlock {
		t.Errorf("verdict %+v", decisions[0].Verdict)
	}
}

func TestConnectRefusalForms(t *testing.T) {
	d := open(t, nil)
	_, body, _ := d.say("CONNECT zoom.us:443 HTTP/1.1\r\nHost: zoom.us:443\r\nAccept: application/json\r\n\r\n")
	var entry struct{ Rule, App string }
	if err := json.Unmarshal([]byte(body), &entry); err != nil || entry.Rule != "zoom-memo" || entry.App != "zoom" {
		t.Errorf("%v %+v\n%s", err, entry, body)
	}
}

func TestWarnIsRefused(t *testing.T) {
	d := open(t, nil)
	d.decide(func(r *policy.Request) policy.Verdict {
		v := refused(r.Host)
		v.Action = policy.ActionWarn
		return v
	})
	response, body, _ := d.say(connectTo("zoom.us:443"))
	if response.StatusCode != http.StatusForbidden || !strings.Contains(body, "discouraged") {
		t.Errorf("%s\n%s", response.Status, body)
	}
}
