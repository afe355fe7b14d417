package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// redirecting starts a proxy whose transparent door takes every connection for
// one to where.
func redirecting(t *testing.T, where netip.AddrPort, adjust func(*Config, *Dependencies)) *door {
	t.Helper()
	d := open(t, func(c *Config, d *Dependencies) {
		c.Listen, c.Transparent.Listen = nil, []string{"127.0.0.1:0"}
		c.Timeouts.Peek = 50 * time.Millisecond
		d.Original = func(*net.TCPConn) (netip.AddrPort, error) { return where, nil }
		if adjust != nil {
			adjust(c, d)
		}
	})
	return d
}

func TestTransparentTLS(t *testing.T) {
	server, where := secureOrigin(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "origin") }))
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	for _, test := range []struct {
		name    string
		sni     string
		leads   string // to where the name leads; empty: it does not resolve
		refused bool
		host    string
		claimed bool
	}{
		{"allowed", "example.com", where.Addr().String(), false, "example.com", false},
		{"leads elsewhere", "example.com", "192.0.2.7", false, where.Addr().String(), true},
		{"leads nowhere", "example.com", "", false, where.Addr().String(), true},
		{"refused", "us04web.zoom.us", where.Addr().String(), true, "us04web.zoom.us", false},
		{"refused, and leads elsewhere", "zoom.us", "192.0.2.7", true, "zoom.us", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := redirecting(t, where, nil)
			if test.leads != "" {
				d.name(test.sni, test.leads)
			}
			conn := d.dialProxy()
			_ = conn.SetDeadline(time.Now().Add(patience))
			err := tls.Client(conn, &tls.Config{RootCAs: pool, ServerName: test.sni, InsecureSkipVerify: test.sni != "example.com"}).Handshake()
			if told := err != nil && strings.Contains(err.Error(), "access denied"); told != test.refused || !test.refused && err != nil {
				t.Errorf("handshake: %v", err)
			}
			_ = conn.Close()
			ends := 1
			if test.refused {
				ends = 0
			}
			decisions, _ := d.await(1, ends)
			got := decisions[0]
			if got.Host.String() != test.host || got.Verdict.Action.Refuses() != test.refused || got.Transport != methodTransparent || got.Port != where.Port() {
				t.Errorf("%+v", got)
			}
			named, _ := policy.ParseHost(test.sni)
			if claimed := contained(got.Facts, named); claimed != test.claimed {
				t.Errorf("facts %v", got.Facts)
			}
		})
	}
}

func contained(facts []policy.Host, host policy.Host) bool {
	for _, f := range facts {
		if f == host {
			return true
		}
	}
	return false
}

// A name that the policy allows does not open the way to an address that it
// refuses.
func TestTransparentNameDoesNotOpenAnAddress(t *testing.T) {
	d := redirecting(t, netip.MustParseAddrPort("3.7.35.1:443"), nil)
	d.name("example.com", "192.0.2.7")
	conn := d.dialProxy()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if err := tls.Client(conn, &tls.Config{ServerName: "example.com"}).Handshake(); err == nil {
		t.Error("a handshake")
	}
	if decisions, _ := d.await(1, 0); !decisions[0].Verdict.Action.Refuses() || decisions[0].Verdict.Fact.String() != "3.7.35.1" {
		t.Errorf("%+v", decisions[0])
	}
}

// Neither does an address that the client says in place of a name.
func TestTransparentAddressDoesNotOpenAnother(t *testing.T) {
	for name, hello := range map[string]string{
		// An address is no server name for crypto/tls.
		"TLS":        strings.Replace(string(clientHello(t, "aaa.bb.cc")), "aaa.bb.cc", "192.0.2.7", 1),
		"plain HTTP": "GET / HTTP/1.1\r\nHost: 192.0.2.7\r\nConnection: close\r\n\r\n",
	} {
		d := redirecting(t, netip.MustParseAddrPort("3.7.35.1:443"), nil)
		d.decide(func(r *policy.Request) policy.Verdict { // as a rule that allows the other, and comes first
			if r.Host.String() == "192.0.2.7" {
				return allowed()
			}
			return ownRefusal(allowed(), r.Host, &policy.Rule{Name: "no-zoom"})
		})
		c := d.client()
		c.send(hello)
		_ = c.rest()
		if decisions, _ := d.await(1, 0); decisions[0].Verdict.RuleName() != "no-zoom" || decisions[0].Host.String() != "3.7.35.1" {
			t.Errorf("%s: %+v", name, decisions[0])
		}
	}
}

func TestTransparentHTTP(t *testing.T) {
	var seen []string
	where := plainOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Host+" "+r.RequestURI)
		_, _ = io.WriteString(w, "origin")
	})
	d := redirecting(t, where, nil)
	d.name("www.example.com", where.Addr().String())
	response, body, c := d.say("GET /a?b HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
	if response.StatusCode != http.StatusOK || body != "origin" {
		t.Errorf("%s %q", response.Status, body)
	}
	// The same connection, another host: each request is judged.
	c.send("GET /c HTTP/1.1\r\nHost: zoom.us\r\n\r\n")
	response, body = c.answer(http.MethodGet)
	if response.StatusCode != http.StatusForbidden || !strings.Contains(body, "Privacy and security concerns") {
		t.Errorf("%s %q", response.Status, body)
	}
	c.send("GET /d HTTP/1.1\r\nHost: unknown.example\r\n\r\n") // a claim
	if response, body = c.answer(http.MethodGet); response.StatusCode != http.StatusOK || body != "origin" {
		t.Errorf("%s %q", response.Status, body)
	}
	c.send("CONNECT zoom.us:443 HTTP/1.1\r\nHost: zoom.us\r\n\r\n")
	if response, _ = c.answer(http.MethodConnect); response.StatusCode != http.StatusBadRequest {
		t.Errorf("CONNECT: %s", response.Status)
	}
	if want := "www.example.com /a?b,unknown.example /d"; strings.Join(seen, ",") != want {
		t.Errorf("the origin saw %q, want %q", seen, want)
	}
	decisions, _ := d.await(3, 0)
	if got := decisions[2]; got.Host.String() != where.Addr().String() || got.Transport != methodTransparent {
		t.Errorf("%+v", got)
	}
	if got := d.metric("sallyport_proxy_requests_total", methodTransparent, "403"); got != 1 {
		t.Errorf("counted %v", got)
	}
}

// Where the server speaks first the client is not kept waiting, and what it
// says later is still judged.
func TestTransparentServerFirst(t *testing.T) {
	where := origin(t, func(conn *net.TCPConn) {
		_, _ = io.WriteString(conn, "220 mail.example ESMTP\r\n")
		_, _ = io.Copy(io.Discard, conn)
	})
	d := redirecting(t, where, nil)
	c := d.client()
	if got := c.read(8); got != "220 mail" {
		t.Errorf("got %q", got)
	}
	c.read(len(".example ESMTP\r\n"))
	c.send(string(clientHello(t, "zoom.us")))
	_ = c.rest()
	_, ends := d.await(1, 1)
	if ends[0].ClosedBy != closedByPolicy {
		t.Errorf("%+v", ends[0])
	}
}

// A CONNECT to a proxy somewhere else is judged by where it leads.
func TestTransparentConnectToAnotherProxy(t *testing.T) {
	where := origin(t, func(conn *net.TCPConn) { _, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n") })
	d := redirecting(t, where, nil)
	c := d.client()
	c.send("CONNECT zoom.us:443 HTTP/1.1\r\nHost: zoom.us:443\r\n\r\n")
	if got := c.rest(); got != "" {
		t.Errorf("got %q", got)
	}
	if decisions, _ := d.await(1, 0); !decisions[0].Verdict.Action.Refuses() {
		t.Errorf("%+v", decisions[0])
	}
}

func TestTransparentRefusesWhatWasNotRedirected(t *testing.T) {
	for name, original := range map[string]func(*net.TCPConn) (netip.AddrPort, error){
		"unknown": func(*net.TCPConn) (netip.AddrPort, error) { return netip.AddrPort{}, errors.New("not redirected") },
		"itself":  func(conn *net.TCPConn) (netip.AddrPort, error) { return netip.ParseAddrPort(conn.LocalAddr().String()) },
	} {
		d := redirecting(t, netip.AddrPort{}, func(_ *Config, d *Dependencies) { d.Original = original })
		if got := d.client().rest(); got != "" {
			t.Errorf("%s: got %q", name, got)
		}
		d.awaitMetric(1, "sallyport_proxy_shed_total", shedUndirected)
	}
}

// Nobody can be asked for a password here: what depends on who asks is refused.
func TestTransparentClientsCannotSignIn(t *testing.T) {
	where := origin(t, echoing)
	d := redirecting(t, where, func(c *Config, _ *Dependencies) { c.CanAuthenticate = true })
	d.decide(func(*policy.Request) policy.Verdict { v := allowed(); v.NeedsUser = true; return v })
	c := d.client()
	c.send("hello")
	if got := c.rest(); got != "" {
		t.Errorf("got %q", got)
	}
	if decisions, _ := d.await(1, 0); decisions[0].Verdict.RuleName() != policy.RuleSignIn {
		t.Errorf("%+v", decisions[0])
	}
}

// What cannot be reached does not look refused.
func TestTransparentUnreachable(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	where := netip.MustParseAddrPort(gone.Addr().String())
	_ = gone.Close()
	d := redirecting(t, where, nil)
	d.name("example.com", where.Addr().String())
	conn := d.dialProxy()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(clientHello(t, "example.com")); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read %d bytes, %v", n, err)
	}
	if decisions, _ := d.await(1, 0); decisions[0].Verdict.Action.Refuses() {
		t.Errorf("%+v", decisions[0])
	}
}

// A refusal in a protocol that is not TLS ends the connection at once.
func TestTransparentRefusesByAddress(t *testing.T) {
	d := redirecting(t, netip.MustParseAddrPort("3.7.35.1:22"), nil)
	conn := d.dialProxy()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read %d bytes, %v", n, err)
	}
	if decisions, _ := d.await(1, 0); decisions[0].Host.String() != "3.7.35.1" || decisions[0].Port != 22 {
		t.Errorf("%+v", decisions[0])
	}
}

// A client that is gone before it has said anything has nobody dialled for it,
// and one that says nothing does not keep the server from stopping.
func TestTransparentClientsThatSayNothing(t *testing.T) {
	dialled := make(chan struct{}, 1)
	where := origin(t, func(*net.TCPConn) { dialled <- struct{}{} })
	d := redirecting(t, where, func(c *Config, _ *Dependencies) { c.Timeouts.Peek = time.Hour })
	gone := d.dialProxy()
	_ = gone.SetLinger(0)
	_ = gone.Close()
	half := d.client()
	half.send("\x16\x03\x01") // half a record
	_ = d.dialProxy()         // silent
	inside := func() int { d.crowd.mu.Lock(); defer d.crowd.mu.Unlock(); return d.crowd.inside }
	for until := time.Now().Add(patience); inside() != 2 && time.Now().Before(until); {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_ = d.Shutdown(ctx) // whose error says that it had to cut short
	}()
	select {
	case <-stopped:
	case <-time.After(patience):
		t.Error("the server waits")
	}
	select {
	case <-dialled:
		t.Error("somebody was dialled")
	default:
	}
}
