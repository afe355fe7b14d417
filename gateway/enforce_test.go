package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestEditUnderLoad bans an app while 500 tunnels are open, 100 of them to it,
// and while the DNS door is busy: exactly the 100 are closed, and no query is
// lost.
func TestEditUnderLoad(t *testing.T) {
	const tunnels, banned = 500, 100
	port := echoServer(t)
	g := start(t, open, slowPoll)
	conns := make([]net.Conn, tunnels)
	defer func() {
		for _, c := range conns {
			if c != nil {
				_ = c.Close()
			}
		}
	}()
	for i := range conns {
		host := fmt.Sprintf("host%d.corp.example", i)
		if i%(tunnels/banned) == 0 {
			host = fmt.Sprintf("us%02dweb.zoom.us", i)
		}
		conn, status, _ := g.connect(host + ":" + port)
		if status != http.StatusOK {
			t.Fatalf("tunnel %d to %s: %d", i, host, status)
		}
		conns[i] = conn
		if err := echo(conn); err != nil {
			t.Fatalf("tunnel %d: %v", i, err)
		}
	}
	g.wantMetric("sallyport_proxy_tunnels", fmt.Sprint(tunnels))

	load := startLoad(g.addr("dns udp"))
	before := g.engine.Program().Revision()
	written := time.Now()
	writeFile(t, g.policy, memo)
	for i := 0; i < tunnels; i += tunnels / banned {
		if err := closedSoon(conns[i]); err != nil {
			t.Fatalf("tunnel %d: %v", i, err)
		}
	}
	took := time.Since(written)
	g.wantNewRevision(before)
	asked, err := load.stop()
	if err != nil {
		t.Errorf("a query was lost or answered wrongly: %v", err)
	}
	if asked == 0 {
		t.Error("there was no load")
	}
	for i, c := range conns {
		if i%(tunnels/banned) == 0 {
			continue
		}
		if err := echo(c); err != nil {
			t.Errorf("tunnel %d is allowed and was closed: %v", i, err)
		}
	}
	g.wantMetric("sallyport_proxy_tunnels", fmt.Sprint(tunnels-banned))
	g.wantMetric(`sallyport_proxy_tunnels_closed_total{reason="policy"}`, fmt.Sprint(banned))
	g.wantMetric(enforced, "1")
	entry := g.log.FilterMessage("policy in force").All()[0].ContextMap()
	if entry["tunnels_checked"] != int64(tunnels) || entry["tunnels_closed"] != int64(banned) {
		t.Errorf("the log says %v checked, %v closed", entry["tunnels_checked"], entry["tunnels_closed"])
	}
	t.Logf("%d tunnels re-decided %v after the write began, the client's side included; by the gateway's own measure %v; %d queries meanwhile",
		tunnels, took, entry["took"], asked)
}

// load asks the DNS door without a pause, from several sockets.
type load struct {
	stopped atomic.Bool
	asked   atomic.Int64
	running sync.WaitGroup
	mu      sync.Mutex
	errs    []error
}

func startLoad(server string) *load {
	l := &load{}
	for i := range 4 {
		l.running.Go(func() {
			if err := l.ask(server, i); err != nil {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.errs = append(l.errs, err)
			}
		})
	}
	return l
}

func (l *load) ask(server string, socket int) error {
	conn, err := net.Dial("udp", server)
	if err != nil {
		return err
	}
	defer conn.Close()
	for n := uint16(0); !l.stopped.Load(); n++ {
		name := fmt.Sprintf("n%d.s%d.corp.example", n%50, socket)
		if n%3 == 0 {
			name = "us04web.zoom.us"
		}
		addrs, _, err := queryOn(conn, n, name)
		if err != nil {
			return err
		}
		if len(addrs) != 1 {
			return fmt.Errorf("%s: %v", name, addrs)
		}
		l.asked.Add(1)
	}
	return nil
}

func (l *load) stop() (asked int64, err error) {
	l.stopped.Store(true)
	l.running.Wait()
	return l.asked.Load(), errors.Join(l.errs...)
}

// clock is the real clock, set to another day.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

func (c *clock) set(at time.Time) { c.offset.Store(int64(time.Until(at))) }

// scheduled begins a ban on a date, with an exception for one client that ends.
const scheduled = `
version: 1
timezone: America/Los_Angeles
groups:
  employees: {networks: [127.0.0.0/8]}
rules:
  - name: zoom-memo
    who:  {groups: [employees]}
    what: {apps: [zoom]}
    when: {from: 2020-03-28T00:00}
    action: block
default: allow
exceptions:
  - name: review
    who: {networks: [127.0.0.9/32]}
    what: {apps: [zoom]}
    until: 2020-04-03T18:00
`

// TestSchedule lets a ban begin and an exception end while the process runs.
func TestSchedule(t *testing.T) {
	zone, err := time.LoadLocation("America/Los_Angeles")
	if err != nil {
		t.Fatal(err)
	}
	port := echoServer(t)
	var c clock
	ban := time.Date(2020, 3, 28, 0, 0, 0, 0, zone)
	end := time.Date(2020, 4, 3, 18, 0, 0, 0, zone)
	c.set(ban.Add(-time.Minute))
	g := start(t, scheduled, func(config *Config, d *Dependencies) {
		slowPoll(config, d)
		d.Now = c.now
	})
	const name = "us04web.zoom.us"
	tunnel := func(from string) net.Conn {
		t.Helper()
		conn, response, err := connectThrough(g.addr("proxy http"), from, name+":"+port)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if response.StatusCode != http.StatusOK {
			t.Fatalf("from %s: %s", from, response.Status)
		}
		return conn
	}
	refused := func(from string) bool {
		t.Helper()
		addrs, _, err := queryFrom(g.addr("dns udp"), from, name)
		if err != nil || len(addrs) != 1 {
			t.Fatal(addrs, err)
		}
		conn, response, err := connectThrough(g.addr("proxy http"), from, name+":"+port)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		byDNS, byProxy := addrs[0].IsUnspecified(), response.StatusCode == http.StatusForbidden
		if byDNS != byProxy {
			t.Errorf("from %s: refused by the DNS door %v, by the proxy door %v", from, byDNS, byProxy)
		}
		return byDNS
	}
	employee, reviewer := tunnel("127.0.0.1"), tunnel("127.0.0.9")
	_, ttl, err := queryFrom(g.addr("dns udp"), "127.0.0.1", name)
	if err != nil || ttl > 60 {
		t.Errorf("an answer may be kept for %d s, and the ban is a minute away (%v)", ttl, err)
	}
	if refused("127.0.0.1") || refused("127.0.0.9") {
		t.Error("refused the day before")
	}

	c.set(ban)
	if !refused("127.0.0.1") || refused("127.0.0.9") {
		t.Error("at midnight the employee must be refused, the reviewer not")
	}
	if err := closedSoon(employee); err != nil {
		t.Error("the employee's meeting goes on: ", err)
	}
	if err := echo(reviewer); err != nil {
		t.Error("the reviewer's meeting was cut: ", err)
	}

	c.set(end.Add(-time.Second))
	if refused("127.0.0.9") {
		t.Error("the exception ended early")
	}
	c.set(end)
	if !refused("127.0.0.9") {
		t.Error("the exception does not end")
	}
	if err := closedSoon(reviewer); err != nil {
		t.Error("the reviewer's meeting goes on: ", err)
	}
	g.wantMetric(`sallyport_proxy_tunnels_closed_total{reason="policy"}`, "2")
	if n := g.logged("tunnels closed by policy"); n != 2 {
		t.Errorf("%d log entries of tunnels closed, want 2", n)
	}
}
