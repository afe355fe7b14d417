package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// limitsPolicy blocks Zoom; guests come from one address.
const limitsPolicy = `version: 1
groups:
  guests: {networks: [127.0.0.7/32]}
rules:
  - {name: zoom-memo, what: {apps: [zoom]}, action: block}
default: allow
`

// limited is what the proxy lets one client have.
type limited struct{ Unused, Connections, Tunnels, Rate int }

func startLimited(t *testing.T, l limited) *gateway {
	t.Helper()
	l.Unused = freePort(t)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "policy.yaml"), []byte(limitsPolicy))
	g := &gateway{dir: dir, child: spawn(t, dir, sallyport(t), "serve", "--config", render(t, dir, "limits.yaml", l))}
	g.waitReady(t)
	return g
}

// startPlainSite serves a short page, a long one, and tells how long a body was.
func startPlainSite(t *testing.T) *httptest.Server {
	t.Helper()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/long" {
			_, _ = w.Write(make([]byte, 3_000_000))
			return
		}
		_, _ = fmt.Fprintf(w, "hello %d", n)
	}))
	t.Cleanup(site.Close)
	return site
}

// dialFrom connects to the proxy as the client of an address.
func dialFrom(g *gateway, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	conn, err := dialer.Dial("tcp", g.proxy)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(2 * patience))
	}
	return conn, err
}

// goodClients are clients who do what clients do, until they are stopped.
type goodClients struct {
	quit    chan struct{}
	all     sync.WaitGroup
	served  atomic.Int64
	slowest atomic.Int64
	failure atomic.Pointer[error]
}

func startGoodClients(g *gateway, site *httptest.Server, n int) *goodClients {
	c := &goodClients{quit: make(chan struct{})}
	for i := range n {
		c.all.Go(func() {
			for {
				select {
				case <-c.quit:
					return
				case <-time.After(50 * time.Millisecond):
				}
				began := time.Now()
				if err := askOnce(g, fmt.Sprintf("127.0.1.%d", i+1), site.Listener.Addr().String()); err != nil {
					c.failure.CompareAndSwap(nil, &err)
					continue
				}
				c.served.Add(1)
				c.slowest.Store(max(c.slowest.Load(), int64(time.Since(began))))
			}
		})
	}
	return c
}

// askOnce asks for a page through a tunnel, and without one.
func askOnce(g *gateway, from, site string) error {
	for _, connect := range []bool{true, false} {
		conn, err := dialFrom(g, from)
		if err != nil {
			return err
		}
		reader := bufio.NewReader(conn)
		target := "http://" + site + "/"
		if connect {
			target = "/"
			_, _ = fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", site)
			answer, err := http.ReadResponse(reader, &http.Request{Method: http.MethodConnect})
			if err != nil || answer.StatusCode != http.StatusOK {
				_ = conn.Close()
				return fmt.Errorf("CONNECT: %v, %w", answer, errors.Join(err))
			}
		}
		_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", target, site)
		answer, err := http.ReadResponse(reader, nil)
		if err != nil {
			_ = conn.Close()
			return fmt.Errorf("GET (tunnel: %v): %w", connect, err)
		}
		body, err := io.ReadAll(answer.Body)
		_ = conn.Close()
		if err != nil || string(body) != "hello 0" {
			return fmt.Errorf("GET (tunnel: %v): %s %q, %w", connect, answer.Status, body, errors.Join(err))
		}
	}
	return nil
}

func (c *goodClients) stop(t *testing.T) {
	t.Helper()
	close(c.quit)
	c.all.Wait()
	if failure := c.failure.Load(); failure != nil {
		t.Errorf("a good client: %v", *failure)
	}
	if c.served.Load() == 0 {
		t.Error("no good client was served")
	}
	t.Logf("good clients were served %d times, the slowest in %v", c.served.Load(), time.Duration(c.slowest.Load()))
}

// TestProxyLimits has clients who want too much, in every way, and others beside
// them who must not notice.
func TestProxyLimits(t *testing.T) {
	sallyport(t)
	site := startPlainSite(t)
	roomy := startLimited(t, limited{Connections: 600, Tunnels: 600, Rate: 0})
	t.Run("slowloris", func(t *testing.T) { slowloris(t, roomy, site) })
	t.Run("garbage", func(t *testing.T) { garbage(t, roomy, site) })
	t.Run("refused while sending", func(t *testing.T) { refusedWhileSending(t, roomy) })
	t.Run("silent tunnel", func(t *testing.T) { silentTunnel(t, roomy, site) })
	t.Run("bandwidth", func(t *testing.T) { guestBandwidth(t, roomy, site) })
	t.Run("of one client", func(t *testing.T) { ofOneClient(t, site) })
	t.Run("rate", func(t *testing.T) { ofOneClientASecond(t, site) })
}

// slowloris sends heads byte by byte, heads that never end, and bodies byte by
// byte. None of these connections may last.
func slowloris(t *testing.T, g *gateway, site *httptest.Server) {
	good := startGoodClients(g, site, 50)
	where := site.Listener.Addr().String()
	var slow sync.WaitGroup
	var ended atomic.Int64
	const each = 100
	for _, form := range []struct {
		first, piece string
		every        time.Duration
	}{
		{"", "CONNECT " + where + " HTTP/1.1\r\nHost: " + strings.Repeat("a", 100), 300 * time.Millisecond},
		{"GET http://" + where + "/ HTTP/1.1\r\n", "X-More: and more\r\n", 100 * time.Millisecond},
		{"POST http://" + where + "/ HTTP/1.1\r\nHost: " + where + "\r\nContent-Length: 1000000\r\n\r\n", "x", 100 * time.Millisecond},
	} {
		for range each {
			slow.Go(func() {
				conn, err := dialFrom(g, "127.0.0.9")
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				go func() { // reads until it is over
					defer conn.Close()
					_, _ = io.Copy(io.Discard, conn)
				}()
				_, err = io.WriteString(conn, form.first)
				for i := 0; err == nil; i++ {
					time.Sleep(form.every)
					piece := form.piece
					if form.first == "" {
						piece = piece[i%len(piece) : i%len(piece)+1]
					}
					_, err = io.WriteString(conn, piece)
				}
				if !isTimeout(err) {
					ended.Add(1)
				}
			})
		}
	}
	slow.Wait()
	if n := ended.Load(); n != 3*each {
		t.Errorf("%d of %d slow connections were ended", n, 3*each)
	}
	good.stop(t)
	g.wantMetric(t, each, "sallyport_proxy_requests_total", `code="408"`)
}

func isTimeout(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}

// garbage opens a thousand connections a second, and says nonsense in each.
func garbage(t *testing.T, g *gateway, site *httptest.Server) {
	good := startGoodClients(g, site, 20)
	var strangers sync.WaitGroup
	var refused atomic.Int64
	const seconds, rate = 10, 1000
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	began := time.Now()
	for sent := 0; sent < seconds*rate; {
		<-ticker.C
		for due := int(time.Since(began).Seconds() * rate); sent < min(due, seconds*rate); sent++ {
			strangers.Go(func() {
				conn, err := dialFrom(g, "127.0.0.8")
				if err != nil {
					refused.Add(1)
					return
				}
				defer conn.Close()
				noise := make([]byte, 1+rand.IntN(2000))
				for i := range noise {
					noise[i] = byte(rand.Uint32())
				}
				_, _ = conn.Write(noise)
				_ = conn.SetReadDeadline(time.Now().Add(time.Second))
				_, _ = io.Copy(io.Discard, conn)
			})
		}
	}
	t.Logf("%d connections in %v", seconds*rate, time.Since(began))
	strangers.Wait()
	good.stop(t)
	if n := refused.Load(); n > 0 {
		t.Errorf("%d connections were not accepted: accepting stalls", n)
	}
	if !g.running() {
		t.Fatalf("the gateway ended: %s", g.stderr.String())
	}
}

// refusedWhileSending has clients send a megabyte before they listen: the
// refusal arrives whole.
func refusedWhileSending(t *testing.T, g *gateway) {
	body := bytes.Repeat([]byte("x"), 1<<20)
	for name, head := range map[string]string{
		"CONNECT": "CONNECT zoom.us:443 HTTP/1.1\r\nHost: zoom.us:443\r\n\r\n",
		"POST":    "POST http://zoom.us/ HTTP/1.1\r\nHost: zoom.us\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n",
	} {
		conn, err := dialFrom(g, "127.0.0.3")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(append([]byte(head), body...)); err != nil {
			t.Errorf("%s: the client was cut off: %v", name, err)
		}
		method, _, _ := strings.Cut(head, " ")
		answer, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusForbidden || int64(len(text)) != answer.ContentLength {
			t.Errorf("%s: %s, %d of %d bytes, %v", name, answer.Status, len(text), answer.ContentLength, err)
		}
		_ = conn.Close()
	}
}

// silentTunnel opens a tunnel and says nothing.
func silentTunnel(t *testing.T, g *gateway, site *httptest.Server) {
	before := g.metric(t, "sallyport_proxy_tunnels_closed_total", `reason="idle"`)
	conn, err := dialFrom(g, "127.0.0.3")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", site.Listener.Addr())
	if _, err := io.Copy(io.Discard, conn); isTimeout(err) {
		t.Error("the tunnel stays")
	}
	g.wantMetric(t, before+1, "sallyport_proxy_tunnels_closed_total", `reason="idle"`)
}

// curlFrom has curl fetch through the proxy as the client of an address, and
// gives the status of the proxy's answer to CONNECT, or of the page, and how
// long it took.
func curlFrom(t *testing.T, g *gateway, address, url string, args ...string) (status string, headers string, took float64) {
	t.Helper()
	dir := t.TempDir()
	all := append([]string{"--silent", "--interface", address, "--proxy", "http://" + g.proxy, "--noproxy", "",
		"--dump-header", "headers", "--output", "body", "--write-out", "%{http_connect} %{response_code} %{time_total}", url}, args...)
	out := strings.Fields(run(t, dir, need(t, "curl"), all...).stdout)
	if len(out) != 3 {
		t.Fatalf("curl says %q", out)
	}
	took, err := strconv.ParseFloat(out[2], 64)
	if err != nil {
		t.Fatal(err)
	}
	status = out[1]
	if out[0] != "000" && out[0] != "200" {
		status = out[0]
	}
	return status, readFile(t, filepath.Join(dir, "headers")), took
}

// guestBandwidth fetches three megabytes at one a second, and faster for
// everybody else.
func guestBandwidth(t *testing.T, g *gateway, site *httptest.Server) {
	for _, args := range [][]string{nil, {"--proxytunnel"}} {
		status, _, took := curlFrom(t, g, "127.0.0.7", site.URL+"/long", args...)
		if status != "200" || took < 2.5 {
			t.Errorf("a guest, %v: %s in %v s", args, status, took)
		}
	}
}

// ofOneClient has one client open more than it may, while another one is served.
func ofOneClient(t *testing.T, site *httptest.Server) {
	g := startLimited(t, limited{Connections: 2, Tunnels: 2, Rate: 0})
	where := site.Listener.Addr().String()
	var held []net.Conn
	hold := func(say string) {
		conn, err := dialFrom(g, "127.0.0.2")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, _ = io.WriteString(conn, say)
		if say != "" {
			answer, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
			if err != nil || answer.StatusCode != http.StatusOK {
				t.Fatal(answer, err)
			}
			// A byte, so that it is no silent tunnel.
			_, _ = io.WriteString(conn, "G")
		}
		held = append(held, conn)
	}
	check := func(what string, shed string) {
		t.Helper()
		for _, args := range [][]string{nil, {"--proxytunnel"}} {
			status, headers, _ := curlFrom(t, g, "127.0.0.2", site.URL, args...)
			if status != "503" || !strings.Contains(strings.ToLower(headers), "\nretry-after: ") {
				t.Errorf("%s, %v: %s\n%s", what, args, status, headers)
			}
			if status, _, _ := curlFrom(t, g, "127.0.0.3", site.URL, args...); status != "200" {
				t.Errorf("%s, another client, %v: %s", what, args, status)
			}
		}
		g.wantMetric(t, 2, "sallyport_proxy_shed_total", `reason="`+shed+`"`)
	}
	for range 2 {
		hold("CONNECT " + where + " HTTP/1.1\r\nHost: " + where + "\r\n\r\n")
	}
	check("too many tunnels", "client_tunnels")
	for _, conn := range held {
		_ = conn.Close()
	}
	eventually(t, "they are over", func() error {
		if status, _, _ := curlFrom(t, g, "127.0.0.2", site.URL, "--proxytunnel"); status != "200" {
			return errors.New(status)
		}
		return nil
	})
	for range 2 {
		hold("")
	}
	check("too many connections", "client")
}

// ofOneClientASecond asks more often than may be.
func ofOneClientASecond(t *testing.T, site *httptest.Server) {
	g := startLimited(t, limited{Connections: 100, Tunnels: 100, Rate: 1})
	eventually(t, "429", func() error {
		status, headers, _ := curlFrom(t, g, "127.0.0.4", site.URL)
		if status != "429" || !strings.Contains(strings.ToLower(headers), "\nretry-after: ") {
			return errors.New(status)
		}
		return nil
	})
	if status, _, _ := curlFrom(t, g, "127.0.0.5", site.URL); status != "200" {
		t.Errorf("another client: %s", status)
	}
	g.wantMetric(t, 1, "sallyport_proxy_shed_total", `reason="rate"`)
}
