package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const hangup = syscall.SIGHUP

// office is clients of a fleet, at an even pace. Nothing that they get is looked
// at: what becomes of it is in the metrics.
type office struct {
	quit    chan struct{}
	running sync.WaitGroup
	zoom    atomic.Int64 // batches of questions for Zoom at a tick; 0: nobody asks
}

// openOffice has people work until the test ends.
func openOffice(t *testing.T, f *watchedFleet) *office {
	t.Helper()
	o := &office{quit: make(chan struct{})}
	o.zoom.Store(1)
	for _, g := range []*watchedGateway{f.a, f.b} {
		o.asks(t, g)
		o.browses(g, f.echo)
	}
	t.Cleanup(func() {
		close(o.quit)
		o.running.Wait()
	})
	return o
}

// every does something again and again. What takes longer than the pause is done
// less often.
func (o *office) every(pause time.Duration, once func()) {
	o.running.Go(func() {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for {
			select {
			case <-o.quit:
				return
			case <-tick.C:
				once()
			}
		}
	})
}

// asks sends queries, and takes no notice of replies: 25 a second for Zoom, some
// five hundred for a name that is known, and now and then one that nobody has
// asked for before.
func (o *office) asks(t *testing.T, g *watchedGateway) {
	t.Helper()
	conn, err := net.Dial("udp", g.dns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	known, refused := question(t, "www.rockets.example."), question(t, "us04web.zoom.us.")
	watched, canary := question(t, "slack.com."), question(t, "use-application-dns.net.")
	o.every(25*time.Millisecond, func() {
		for range 12 {
			_, _ = conn.Write(known)
		}
	})
	o.every(40*time.Millisecond, func() {
		for range o.zoom.Load() {
			_, _ = conn.Write(refused)
		}
	})
	var n int
	o.every(250*time.Millisecond, func() {
		n++
		_, _ = conn.Write(question(t, fmt.Sprintf("n%d.rockets.example.", n)))
		_, _ = conn.Write(watched)
		_, _ = conn.Write(canary)
		_, _ = conn.Write([]byte("no query"))
	})
}

func question(t *testing.T, name string) []byte {
	t.Helper()
	query := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	packed, err := query.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

// browses makes requests of each kind that the proxy door tells apart.
func (o *office) browses(g *watchedGateway, echo string) {
	get := func(page string) {
		transport := &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: g.proxy})}
		client := &http.Client{Transport: transport, Timeout: 2 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		response, err := client.Get(page)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	o.every(200*time.Millisecond, func() {
		conn, reader, err := connectVia(g.proxy, echo)
		if err != nil {
			return
		}
		defer conn.Close()
		_ = echoIn(conn, reader, strings.Repeat("hello", 100))
	})
	o.every(500*time.Millisecond, func() { get("http://webex.com/") })
	o.every(500*time.Millisecond, func() { get("http://partner.example/") })
	o.every(time.Second, func() { get("http://meet.jit.si/") })
	o.every(time.Second, func() { mumble(g.printed()["proxy tls"]) })
	_, port, _ := net.SplitHostPort(echo)
	o.every(time.Second, func() { greet(g.proxy, "zoom.us:"+port, "zoom.us") }) // refused, by a page that is not trusted
	o.every(time.Second, func() { greet(g.proxy, echo, "elsewhere.example") })
}

// greet opens a tunnel and begins TLS in it, with a server name of its own.
func greet(proxy, target, name string) {
	conn, _, err := connectVia(proxy, target)
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	_ = tls.Client(conn, &tls.Config{ServerName: name}).Handshake() // nobody knows the authority
}

// mumble says something that is no TLS where TLS is spoken.
func mumble(address string) {
	conn, err := net.DialTimeout("tcp", address, 2*time.Second)
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	_, _ = io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
	_, _ = io.Copy(io.Discard, conn)
}
