//go:build linux

package e2e

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestUpgradesUnderLoad replaces the process five times while clients of every
// kind begin anew without a pause: nobody is refused, reset, or left without an
// answer, and the decision log has every decision once.
func TestUpgradesUnderLoad(t *testing.T) {
	const upgrades = 5
	echo, page := echoServer(t), pageServer(t)
	l := startLine(t, lineConfig("1s"))

	c := startCrowd()
	c.keep("UDP", onceUDP(l.dns))
	c.keep("UDP too", onceUDP(l.dns))
	c.keep("UDP, one socket", onceKept(t, l.dns))
	c.keep("TCP", onceStream(func() (net.Conn, error) { return net.DialTimeout("tcp", l.dns, patience) }))
	c.keep("tunnel", onceTunnel(l.proxy, echo))
	c.keep("tunnel too", onceTunnel(l.proxy, echo))
	c.keep("page", onceGet(t, page, l.proxy, false))
	c.keep("page, kept alive", onceGet(t, page, l.proxy, true))
	c.keep("portal", onceGet(t, "http://"+l.portal+"/", "", false))
	c.keep("admin", onceGet(t, "http://"+l.admin+"/healthz", "", false))
	c.wait(t, 20)
	took := make([]time.Duration, 0, upgrades)
	for range upgrades {
		began := time.Now()
		l.upgrade(t)
		took = append(took, time.Since(began).Round(time.Millisecond))
		c.wait(t, 20)
	}
	for _, pid := range l.pids[:upgrades] {
		l.wantEnd(t, pid)
	}
	c.wait(t, 20)
	c.stop(t)
	t.Logf("from the signal until systemd knows of the new process: %v", took)

	l.wantMetric(t, upgrades, "sallyport_upgrades_total", `result="success"`)
	if n := l.metric(t, "sallyport_upgrades_total", `result="failure"`); n != 0 {
		t.Errorf("%v failed upgrades are counted", n)
	}
	l.wantDecisions(t, "udp", c.count("UDP")+c.count("UDP too")+c.count("UDP, one socket"), 0)
	l.wantDecisions(t, "tcp", c.count("TCP"), 0)
	l.wantDecisions(t, "connect", c.count("tunnel")+c.count("tunnel too"), 0)
	// A connection that is kept alive may be closed while a request is on its
	// way, and then its client asks again (RFC 9112 §9.3.1).
	l.wantDecisions(t, "http", c.count("page")+c.count("page, kept alive"), upgrades)
}

// wantDecisions wants the log of all processes to hold so many decisions, or a
// few more.
func (l *line) wantDecisions(t *testing.T, transport string, want, more int64) {
	t.Helper()
	eventually(t, "the decisions by "+transport+" are logged", func() error {
		var n int64
		for text := range strings.Lines(readFile(t, filepath.Join(l.dir, "decisions.jsonl"))) {
			// A process that opens the log while another writes a line may think
			// that it was torn, and end it.
			if text == "\n" {
				continue
			}
			var e entry
			if err := json.Unmarshal([]byte(text), &e); err != nil {
				return fmt.Errorf("line %q: %w", text, err)
			}
			if e.Transport == transport && e.Event == "" {
				n++
			}
		}
		if n < want || n > want+more {
			return fmt.Errorf("%d are, and %d clients had an answer", n, want)
		}
		return nil
	})
}

// TestUpgradesUnderDnsperf has a real load generator keep many queries under
// way while the process is replaced five times.
func TestUpgradesUnderDnsperf(t *testing.T) {
	sallyport(t)
	perf := need(t, "dnsperf")
	for _, mode := range []string{"udp", "tcp"} {
		t.Run(mode, func(t *testing.T) {
			l := startLine(t, lineConfig("1s"))
			file := filepath.Join(l.dir, "questions")
			writeFile(t, file, []byte(strings.Repeat("us04web.zoom.us A\nzoom.us AAAA\n", 50)))
			host, port := split(t, l.dns)
			arguments := []string{"-s", host, "-p", strconv.Itoa(port), "-d", file, "-m", mode, "-l", "300", "-t", "5", "-Q", "4000"}
			if mode == "udp" {
				arguments = append(arguments, "-c", "20", "-q", "200")
			} else {
				arguments = append(arguments, "-c", "20", "-q", "20")
			}
			load := spawn(t, t.TempDir(), perf, arguments...)
			for range 5 {
				eventually(t, "queries are under way", func() error { return atLeast(l.metric(t, "sallyport_dns_queries_total"), 500) })
				l.upgrade(t)
				if mode == "tcp" {
					break // dnsperf does not count what it asks again when its connections end
				}
			}
			eventually(t, "queries are under way", func() error {
				if mode == "tcp" {
					return nil // its connections may be with the old process still
				}
				return atLeast(l.metric(t, "sallyport_dns_queries_total"), 500)
			})
			load.signal(t, os.Interrupt)
			load.wait(t)
			lost, completed := number(t, perfLost, load.stdout.String()), number(t, perfCompleted, load.stdout.String())
			if lost != 0 || completed < 500 {
				t.Errorf("queries were lost:\n%s", load.stdout.String())
			}
			t.Logf("%d queries, %d lost", completed, lost)
		})
	}
}

// TestUpgradeKeepsTunnels has tunnels carry bytes through the old process after
// another one has taken over, until the drain is over.
func TestUpgradeKeepsTunnels(t *testing.T) {
	echo := echoServer(t)
	l := startLine(t, lineConfig("6s"))
	const tunnels = 20
	type end struct {
		net.Conn
		reader *bufio.Reader
	}
	var busy []end
	for range tunnels {
		conn, reader, err := connectVia(l.proxy, echo)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		busy = append(busy, end{conn, reader})
	}
	quiet, quietReader, err := connectVia(l.proxy, echo)
	if err != nil {
		t.Fatal(err)
	}
	defer quiet.Close()
	silent := dial(t, l.proxy) // says what it wants when the old process has left

	before := l.main()
	began := time.Now()
	l.upgrade(t)
	if n := l.metric(t, "sallyport_proxy_tunnels"); n != 0 {
		t.Errorf("the new process counts %v tunnels: they are the old one's", n)
	}
	rounds := 0
	for time.Since(began) < 4*time.Second {
		for i, e := range busy {
			if err := echoIn(e, e.reader, "still here"); err != nil {
				t.Fatalf("tunnel %d, %v after the upgrade: %v", i, time.Since(began), err)
			}
		}
		if rounds++; rounds == 1 {
			fmt.Fprintf(silent, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", echo, echo)
			response, err := http.ReadResponse(bufio.NewReader(silent), &http.Request{Method: http.MethodConnect})
			if err != nil || response.StatusCode != http.StatusOK {
				t.Errorf("who was connected and had said nothing got %v, %v", response, err)
			}
		}
	}
	if err := echoIn(quiet, quietReader, "here, too"); err != nil {
		t.Errorf("a tunnel that was quiet while the old process leaves: %v", err)
	}
	for _, e := range busy[:tunnels-1] {
		e.Close()
	}
	quiet.Close()
	silent.Close()
	last := busy[tunnels-1] // never ends by itself
	_ = last.SetDeadline(time.Now().Add(patience))
	if n, err := io.Copy(io.Discard, last.reader); err != nil || n != 0 {
		t.Errorf("the last tunnel ended with %d bytes, %v", n, err)
	}
	if lasted := time.Since(began); lasted < 5500*time.Millisecond {
		t.Errorf("the last tunnel was cut after %v, with a drain of 6 s", lasted)
	}
	l.wantEnd(t, before)
	l.logged(t, "the closing entry of the tunnel that was cut", func(e entry) bool { return e.ClosedBy == "shutdown" })
	t.Logf("%d echoes in each of %d tunnels through the old process", rounds, tunnels)
}

// TestUpgradesEncrypted replaces the process under load on the encrypted
// listeners. Connections by QUIC end with their process: clients begin anew.
func TestUpgradesEncrypted(t *testing.T) {
	sallyport(t)
	dir := t.TempDir()
	a := newAuthority(t, dir)
	a.serverCertificate(t, dir, 2)
	writeFile(t, filepath.Join(dir, "policy.yaml"), []byte(readFile(t, "testdata/policy.yaml")))
	l := prepareLine(t, dir, lineConfig("1s", strings.Split(strings.TrimSpace(encryptedLines), "\n")...))
	cmd := l.command(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l.began(t, cmd)
	config := func(protocols ...string) *tls.Config {
		return &tls.Config{RootCAs: a.pool, ServerName: doorName, NextProtos: protocols, MinVersion: tls.VersionTLS13}
	}
	dot, doh, doq := l.address(t, "dns tls"), l.address(t, "dns https"), l.address(t, "dns quic")
	question := "https://" + doh + "/dns-query?dns=AAABAAABAAAAAAAABHpvb20CdXMAAAEAAQ"
	web := func(kept, h2 bool) func() error {
		var protocols http.Protocols
		protocols.SetHTTP1(!h2)
		protocols.SetHTTP2(h2)
		transport := &http.Transport{TLSClientConfig: config(), DisableKeepAlives: !kept, Protocols: &protocols}
		t.Cleanup(transport.CloseIdleConnections)
		return getWith(&http.Client{Transport: transport, Timeout: patience}, question)
	}

	c := startCrowd()
	c.keep("TLS", onceStream(func() (net.Conn, error) {
		return tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", dot, config("dot"))
	}))
	c.keep("HTTP/1.1", web(false, false))
	c.keep("HTTP/2", web(false, true))
	c.keep("HTTP/2, kept", web(true, true))
	c.keep("QUIC", onceQUIC(doq, config("doq")))
	c.wait(t, 10)
	for range 3 {
		l.upgrade(t)
		c.wait(t, 10)
	}
	for _, pid := range l.pids[:3] {
		l.wantEnd(t, pid)
	}
	c.stop(t)
}

// TestUpgradesOfEveryProxyListener replaces the process while clients come by
// SOCKS and over TLS.
func TestUpgradesOfEveryProxyListener(t *testing.T) {
	sallyport(t)
	echo := echoServer(t)
	dir := t.TempDir()
	a := newAuthority(t, dir)
	a.serverCertificate(t, dir, 2)
	writeFile(t, filepath.Join(dir, "policy.yaml"), []byte(readFile(t, "testdata/policy.yaml")))
	l := prepareLine(t, dir, changed(t, lineConfig("1s"), "  drain: 1s\n", `  drain: 1s
  socks: {listen: ["127.0.0.1:0"]}
  tls: {listen: ["127.0.0.1:0"], certificate: server.crt, key: server.key}
`))
	cmd := l.command(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l.began(t, cmd)
	secured, socks := l.address(t, "proxy tls"), l.address(t, "proxy socks")

	c := startCrowd()
	c.keep("SOCKS", func() error {
		conn, err := net.DialTimeout("tcp", socks, patience)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := greetSOCKS(conn, echo); err != nil {
			return err
		}
		return echoIn(conn, conn, "hello")
	})
	c.keep("TLS", func() error {
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", secured, &tls.Config{RootCAs: a.pool, ServerName: doorName, NextProtos: []string{"http/1.1"}})
		if err != nil {
			return err
		}
		defer conn.Close()
		reader, err := connectOn(conn, echo)
		if err != nil {
			return err
		}
		return echoIn(conn, reader, "hello")
	})
	c.wait(t, 10)
	for range 3 {
		l.upgrade(t)
		c.wait(t, 10)
	}
	for _, pid := range l.pids[:3] {
		l.wantEnd(t, pid)
	}
	c.stop(t)
	l.wantDecisions(t, "socks", c.count("SOCKS"), 0)
}

// greetSOCKS asks for a connection (RFC 1928).
func greetSOCKS(conn net.Conn, target string) error {
	_ = conn.SetDeadline(time.Now().Add(patience))
	to, err := netip.ParseAddrPort(target)
	if err != nil {
		return err
	}
	if _, err := conn.Write([]byte{5, 1, 0}); err != nil {
		return err
	}
	var reply [10]byte
	if _, err := io.ReadFull(conn, reply[:2]); err != nil {
		return err
	}
	request := append([]byte{5, 1, 0, 1}, to.Addr().AsSlice()...)
	if _, err := conn.Write(append(request, byte(to.Port()>>8), byte(to.Port()))); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, reply[:]); err != nil {
		return err
	}
	if reply[1] != 0 {
		return fmt.Errorf("SOCKS: %x", reply)
	}
	return nil
}
