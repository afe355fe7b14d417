package outbound

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// plainOrigin answers with what it was asked and in which form.
func plainOrigin(t testing.TB) netip.AddrPort {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, "origin "+r.Method+" "+r.RequestURI+" "+r.Host+" "+r.Header.Get("Proxy-Authorization")+string(body))
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().(*net.TCPAddr).AddrPort()
}

func newTransport(t testing.TB, c Config, deps Dependencies) *Transport {
	t.Helper()
	base := &http.Transport{DisableCompression: true}
	t.Cleanup(base.CloseIdleConnections)
	return newDialer(t, c, deps).NewTransport(base)
}

// send sends a request for www.example.com to an address, and reads the answer.
func send(t testing.TB, transport *Transport, to netip.AddrPort, change func(*http.Request)) (string, error) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "http://www.example.com:"+portText(to)+"/page?x=y", nil).WithContext(t.Context())
	r.RequestURI = ""
	if change != nil {
		change(r)
	}
	response, err := transport.RoundTrip(r, Target{Host: "www.example.com", Port: to.Port(), Addrs: []netip.Addr{to.Addr()}})
	if err != nil {
		if response != nil {
			t.Error("an answer beside an error")
		}
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body), nil
}

func TestTransportDirect(t *testing.T) {
	origin := plainOrigin(t)
	var results []string
	transport := newTransport(t, Config{}, Dependencies{Dialled: func(result string, _ time.Duration) { results = append(results, result) }})
	var via []string
	trace := &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) {
		if conn, ok := got.Conn.(Conn); ok && conn.Remote == origin {
			via = append(via, conn.Via)
		}
	}}
	for range 3 {
		got, err := send(t, transport, origin, func(r *http.Request) { *r = *r.WithContext(httptrace.WithClientTrace(r.Context(), trace)) })
		if want := "origin GET /page?x=y www.example.com:" + portText(origin) + " "; err != nil || got != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
	if !slices.Equal(results, []string{"ok"}) {
		t.Errorf("dialled %v, want once: the connection is kept", results)
	}
	if !slices.Equal(via, []string{Direct, Direct, Direct}) {
		t.Errorf("traced %v", via)
	}
	if _, err := send(t, transport, netip.AddrPortFrom(origin.Addr(), freePort(t)), nil); Result(err) != "refused" {
		t.Errorf("got %v", err)
	}
	if !slices.Equal(results, []string{"ok", "refused"}) {
		t.Errorf("dialled %v", results)
	}
}

// A parent that speaks HTTP gets the whole URL, and its own credentials; all
// that goes there shares connections, whatever the destination.
func TestTransportToHTTPParent(t *testing.T) {
	for _, scheme := range []string{SchemeHTTP, SchemeHTTPS} {
		p := &httpParent{user: "alex:apogee"}
		settings := Parent{Name: "site", CredentialsFile: secretFile(t, p.user)}
		talk := p.talk
		if scheme == SchemeHTTPS {
			talk, settings.CAFile = inTLS(t, p.talk)
		}
		var conns atomic.Int32
		settings.Endpoint = endpoint(scheme, serve(t, "127.0.0.1:0", func(conn net.Conn) {
			conns.Add(1)
			talk(conn)
		}))
		transport := newTransport(t, Config{Parents: []Parent{settings}, Routes: everywhere("site")}, Dependencies{})
		for _, address := range []string{"192.0.2.1:80", "192.0.2.2:80"} {
			got, err := send(t, transport, netip.MustParseAddrPort(address), func(r *http.Request) {
				r.Host = "www.example.com"
				r.Header.Set("Proxy-Authorization", "Basic of-the-client")
			})
			if want := "GET http://www.example.com/page?x=y www.example.com "; err != nil || got != want {
				t.Fatalf("%s: got %q, %v, want %q", scheme, got, err, want)
			}
		}
		if got := conns.Load(); got != 1 {
			t.Errorf("%s: %d connections, want one", scheme, got)
		}
	}
}

// A path that is to be sent as it is goes to a parent behind the host, which it
// is no part of.
func TestTransportSendsOpaquePaths(t *testing.T) {
	p := &httpParent{}
	site := Parent{Name: "site", Endpoint: endpoint(SchemeHTTP, serve(t, "127.0.0.1:0", p.talk))}
	transport := newTransport(t, Config{Parents: []Parent{site}, Routes: everywhere("site")}, Dependencies{})
	for opaque, want := range map[string]string{
		"/a|b?c^d": "GET http://www.example.com/a|b?c^d www.example.com ",
		"*":        "GET http://www.example.com www.example.com ",
	} {
		got, err := send(t, transport, netip.MustParseAddrPort("192.0.2.1:80"), func(r *http.Request) {
			r.Host = "www.example.com"
			r.URL.Opaque, r.URL.RawQuery = opaque, ""
		})
		if err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", opaque, got, err, want)
		}
	}
}

// What is no plain request, and what is to go to a checked address, is sent
// through a tunnel.
func TestTransportTunnels(t *testing.T) {
	origin := plainOrigin(t)
	reached := network{origin.String(): origin, "www.example.com:" + portText(origin): origin}
	for _, c := range []struct {
		name   string
		parent Parent
		change func(*http.Request)
		asked  string
	}{
		{"socks5", Parent{Endpoint: Endpoint{Scheme: SchemeSOCKS5}}, nil, "1 " + origin.String()},
		{"socks5h", Parent{Endpoint: Endpoint{Scheme: SchemeSOCKS5H}}, nil, "3 www.example.com:" + portText(origin)},
		{"address", Parent{Endpoint: Endpoint{Scheme: SchemeHTTP}, SendAddress: true}, nil, "CONNECT " + origin.String()},
		{"WebSocket", Parent{Endpoint: Endpoint{Scheme: SchemeHTTP}}, func(r *http.Request) { r.Header.Set("Upgrade", "websocket") }, "CONNECT www.example.com:" + portText(origin)},
	} {
		web, socks := &httpParent{network: reached}, &socksParent{network: reached}
		talk, asked := web.talk, &web.notes
		if c.parent.Endpoint.isSOCKS() {
			talk, asked = socks.talk, &socks.notes
		}
		c.parent.Name, c.parent.Endpoint = "site", endpoint(c.parent.Endpoint.Scheme, serve(t, "127.0.0.1:0", talk))
		transport := newTransport(t, Config{Parents: []Parent{c.parent}, Routes: everywhere("site")}, Dependencies{})
		for range 2 {
			got, err := send(t, transport, origin, c.change)
			if want := "origin GET /page?x=y www.example.com:" + portText(origin) + " "; err != nil || got != want {
				t.Fatalf("%s: got %q, %v, want %q", c.name, got, err, want)
			}
		}
		if got := asked.all(); !slices.Equal(got, []string{c.asked}) {
			t.Errorf("%s: the parent was asked %q, want %q once", c.name, got, c.asked)
		}
	}
}

// A connection is not used again for other addresses, for another port, by
// another way, nor behind a parent for another name.
func TestTransportKeepsConnectionsApart(t *testing.T) {
	p1, p2 := &parent{name: "p1"}, &parent{name: "p2"}
	seen := map[string]string{}
	for name, a := range map[string]*ride{
		"one":               {to: Target{Host: "a.example", Addrs: addresses("192.0.2.1")}},
		"other":             {to: Target{Host: "a.example", Addrs: addresses("192.0.2.2")}},
		"two":               {to: Target{Host: "a.example", Addrs: addresses("192.0.2.1", "192.0.2.2")}},
		"by parent":         {leg: leg{parent: p1}, to: Target{Host: "a.example", Addrs: addresses("192.0.2.1")}},
		"by other parent":   {leg: leg{parent: p2}, to: Target{Host: "a.example", Addrs: addresses("192.0.2.1")}},
		"by parent, name":   {leg: leg{parent: p1}, to: Target{Host: "b.example", Addrs: addresses("192.0.2.1")}},
		"by parent, no one": {leg: leg{parent: p1}, to: Target{Host: "a.example"}},
	} {
		if before, taken := seen[a.poolKey()]; taken {
			t.Errorf("%s and %s share connections", before, name)
		}
		seen[a.poolKey()] = name
	}
	same := []*ride{
		{to: Target{Host: "a.example", Addrs: addresses("192.0.2.1", "2001:db8::1")}},
		{to: Target{Host: "b.example", Addrs: addresses("2001:db8::1", "192.0.2.1", "192.0.2.1")}},
	}
	if same[0].poolKey() != same[1].poolKey() {
		t.Error("the same addresses do not share connections")
	}
}

func TestTransportParentThatDoesNotKnowUs(t *testing.T) {
	at := serve(t, "127.0.0.1:0", (&httpParent{user: "alex:apogee"}).talk)
	origin := plainOrigin(t)
	transport := newTransport(t, Config{
		Parents: []Parent{{Name: "site", Endpoint: endpoint(SchemeHTTP, at)}}, Routes: everywhere("site", Direct),
	}, Dependencies{})
	_, err := send(t, transport, origin, nil)
	var said *ParentError
	if !errors.As(err, &said) || said.Status() != 502 || !strings.Contains(err.Error(), "asking for Basic") {
		t.Errorf("got %v, want what the parent wants, and no other way", err)
	}
}

// The next way is tried with the same body, of which nothing is lost.
func TestTransportGoesOn(t *testing.T) {
	origin := plainOrigin(t)
	var mu sync.Mutex
	var results []string
	c := Config{Parents: []Parent{{Name: "dead", Endpoint: dead(t)}}, Routes: everywhere("dead", Direct)}
	transport := newTransport(t, c, Dependencies{Dialled: func(result string, _ time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		results = append(results, result)
	}})
	body := &countedBody{Reader: strings.NewReader("body")}
	got, err := send(t, transport, origin, func(r *http.Request) { r.Method, r.Body, r.ContentLength = http.MethodPost, body, 4 })
	if want := "origin POST /page?x=y www.example.com:" + portText(origin) + " body"; err != nil || got != want {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
	eventually(t, "the body is closed", func() bool { return body.closed.Load() > 0 })
	if !slices.Equal(results, []string{"ok"}) {
		t.Errorf("dialled %v, want one result for one request", results)
	}
}

// Nothing works: the error is that of the last way, and the body is closed.
func TestTransportWithoutAWay(t *testing.T) {
	c := Config{Parents: []Parent{{Name: "dead", Endpoint: dead(t)}, {Name: "other", Endpoint: dead(t)}}}
	for _, via := range [][]string{{"dead"}, {"dead", "other"}} {
		c.Routes = everywhere(via...)
		transport := newTransport(t, c, Dependencies{})
		for range 2 { // found out the first time, known the second time
			body := &countedBody{Reader: strings.NewReader("body")}
			_, err := send(t, transport, netip.MustParseAddrPort("192.0.2.1:80"), func(r *http.Request) { r.Body, r.ContentLength = body, 4 })
			if Result(err) != "refused" || body.closed.Load() == 0 {
				t.Errorf("%v: got %v, closed %d times", via, err, body.closed.Load())
			}
		}
	}
}

type countedBody struct {
	io.Reader
	closed atomic.Int32
}

func (b *countedBody) Close() error {
	b.closed.Add(1)
	return nil
}

func TestTransportEndsWithItsContext(t *testing.T) {
	heard := make(chan struct{}, 1)
	at := serve(t, "127.0.0.1:0", func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1))
		heard <- struct{}{}
		_, _ = io.Copy(io.Discard, conn)
	})
	for _, scheme := range schemes() {
		transport := newTransport(t, Config{
			Timeout: time.Hour,
			Parents: []Parent{{Name: "site", Endpoint: endpoint(scheme, at)}},
			Routes:  everywhere("site", Direct),
		}, Dependencies{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-heard
			cancel()
		}()
		_, err := send(t, transport, netip.MustParseAddrPort("192.0.2.1:80"), func(r *http.Request) { *r = *r.WithContext(ctx) })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", scheme, err)
		}
		h := &transport.dialer.routes.list[0].steps[0].health
		if permit, ok := h.ask(false); !ok || h.failures > 0 {
			t.Errorf("%s: a client that leaves is not the parent's fault", scheme)
		} else {
			permit.settle(outcomeUnknown, nil)
		}
	}
}

func TestBaseDoesNothingByItself(t *testing.T) {
	transport := newTransport(t, Config{}, Dependencies{})
	if _, err := transport.base.RoundTrip(httptest.NewRequest(http.MethodGet, "http://www.example.com/", nil)); !errors.Is(err, errNoRide) {
		t.Errorf("got %v", err)
	}
}
