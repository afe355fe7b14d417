package e2e

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	idleTunnels   = 9000
	busyTunnels   = 400
	leastTunnels  = 500  // fewer would say little about one
	spareDescr    = 1200 // for everything else that a process has open
	openersAtOnce = 24
)

// echoSite is an origin that gives back what it gets, on every connection.
type echoSite struct {
	port int
	mu   sync.Mutex
	open map[net.Conn]struct{}
}

func startEcho(t *testing.T) *echoSite {
	t.Helper()
	listener, err := net.Listen("tcp", loopback(0))
	if err != nil {
		t.Fatal(err)
	}
	s := &echoSite{port: listener.Addr().(*net.TCPAddr).Port, open: map[net.Conn]struct{}{}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.open[conn] = struct{}{}
			s.mu.Unlock()
			serving.Go(func() { s.echo(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		s.mu.Lock()
		for conn := range s.open {
			conn.Close()
		}
		s.mu.Unlock()
		serving.Wait()
	})
	return s
}

// echo copies by hand: io.Copy would splice, and hold a pipe for each.
func (s *echoSite) echo(conn net.Conn) {
	defer func() {
		conn.Close()
		s.mu.Lock()
		delete(s.open, conn)
		s.mu.Unlock()
	}()
	buf := make([]byte, 4<<10)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if _, err := conn.Write(buf[:n]); err != nil {
			return
		}
	}
}

// quiet is a tunnel through which a greeting has gone and come back, and that
// costs this process nothing but a descriptor.
type quiet struct {
	conn net.Conn
	host string
}

// openHeld asks for a tunnel from a client's address, and sends through it what
// a browser would.
func openHeld(proxy, from, host string, port int, hello []byte) (*quiet, error) {
	dialer := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.Dial("tcp", proxy)
	if err != nil {
		return nil, err
	}
	h := &quiet{conn: conn, host: host}
	if err := h.greet(port, hello); err != nil {
		conn.Close()
		return nil, fmt.Errorf("%s from %s: %w", host, from, err)
	}
	return h, nil
}

func (h *quiet) greet(port int, hello []byte) error {
	_ = h.conn.SetDeadline(time.Now().Add(patience))
	target := net.JoinHostPort(h.host, strconv.Itoa(port))
	fmt.Fprintf(h.conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
	reader := bufio.NewReaderSize(h.conn, 16)
	response, err := http.ReadResponse(reader, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errors.New("CONNECT answered " + response.Status)
	}
	if reader.Buffered() > 0 {
		return errors.New("bytes after the reply to CONNECT, and the origin was sent none")
	}
	return h.say(hello)
}

// say sends something through the tunnel and wants the same back.
func (h *quiet) say(what []byte) error {
	_ = h.conn.SetDeadline(time.Now().Add(patience))
	sent := make(chan error, 1)
	go func() {
		_, err := h.conn.Write(what)
		sent <- err
	}()
	back := make([]byte, len(what))
	_, err := io.ReadFull(h.conn, back)
	if err != nil {
		h.conn.Close() // and so the writer ends
	}
	if err := errors.Join(err, <-sent); err != nil {
		return err
	}
	if !bytes.Equal(back, what) {
		return errors.New("what came back is not what was sent")
	}
	return nil
}

// cut says whether the gateway ends the tunnel before a deadline.
func (h *quiet) cut(deadline time.Time) bool {
	_ = h.conn.SetReadDeadline(deadline)
	_, err := h.conn.Read(make([]byte, 1))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

// helloFor is the ClientHello of a TLS client that looks for a name.
func helloFor(name string) []byte {
	var hello helloKeeper
	_ = tls.Client(&hello, &tls.Config{ServerName: name}).Handshake() // fails: nobody answers
	return hello.Bytes()
}

// helloKeeper is a connection that keeps what is written to it and reads nothing.
type helloKeeper struct {
	net.Conn
	bytes.Buffer
}

func (k *helloKeeper) Read([]byte) (int, error)         { return 0, io.EOF }
func (k *helloKeeper) Write(p []byte) (int, error)      { return k.Buffer.Write(p) }
func (k *helloKeeper) Close() error                     { return nil }
func (k *helloKeeper) SetDeadline(time.Time) error      { return nil }
func (k *helloKeeper) SetReadDeadline(time.Time) error  { return nil }
func (k *helloKeeper) SetWriteDeadline(time.Time) error { return nil }

// holdMany opens tunnels, a few at once, and closes them when the test ends.
func holdMany(t *testing.T, g *gateway, from, host string, port, count int) []*quiet {
	t.Helper()
	hello := helloFor(host)
	tunnels, failures := make([]*quiet, count), make([]error, count)
	var openers sync.WaitGroup
	for first := range min(openersAtOnce, count) {
		openers.Go(func() {
			for i := first; i < count; i += openersAtOnce {
				if tunnels[i], failures[i] = openHeld(g.proxy, from, host, port, hello); failures[i] != nil {
					return
				}
			}
		})
	}
	openers.Wait()
	t.Cleanup(func() { closeHeld(tunnels) })
	if err := errors.Join(failures...); err != nil {
		t.Fatalf("open %d tunnels: %v", count, err)
	}
	return tunnels
}

func closeHeld(tunnels []*quiet) {
	for _, h := range tunnels {
		if h != nil {
			h.conn.Close()
		}
	}
}

// wantUnharmed uses tunnels once more.
func wantUnharmed(t *testing.T, tunnels []*quiet) {
	t.Helper()
	for i, h := range tunnels {
		if err := h.say([]byte("still here?")); err != nil {
			t.Fatalf("tunnel %d of %d, to %s: %v", i, len(tunnels), h.host, err)
		}
	}
}

// affordable is how many tunnels this process and its child can hold: each
// costs both of them two descriptors, since the origin is here as well.
func affordable(t *testing.T) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return int((min(limit.Cur, 1<<20) - min(limit.Cur, spareDescr)) / 2)
}

// descriptors counts those that a process has open.
func (g *gateway) descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.cmd.Process.Pid))
	if err != nil {
		t.Skipf("the system does not tell the descriptors of a process: %v", err)
	}
	return len(entries)
}

// resident is the memory that a process occupies, in bytes.
func (g *gateway) resident(t *testing.T) int {
	t.Helper()
	for line := range strings.Lines(readFile(t, fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))) {
		var kilobytes int
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kilobytes); n == 1 {
			return kilobytes << 10
		}
	}
	t.Fatal("no VmRSS in the status of a process")
	return 0
}

// live is what a collection of garbage leaves, in bytes: the next is due at
// twice that. It asks until one has begun, since to ask makes garbage as well.
func (g *gateway) live(t *testing.T) int {
	t.Helper()
	before := g.metric(t, "go_gc_duration_seconds_count")
	eventually(t, "garbage is collected", func() error {
		if g.metric(t, "go_gc_duration_seconds_count") == before {
			return errors.New("it is not")
		}
		return nil
	})
	return int(g.metric(t, "go_memstats_next_gc_bytes") / 2)
}

// TestManyTunnels holds thousands of tunnels that say nothing, and has hundreds
// work beside them.
func TestManyTunnels(t *testing.T) {
	sallyport(t)
	idle := min(idleTunnels, affordable(t)-busyTunnels)
	if idle < leastTunnels {
		t.Skipf("%d idle tunnels beside %d busy ones are all that the limit of open files allows", idle, busyTunnels)
	}
	upstream, site := startUnbound(t), startEcho(t)
	g := startGateway(t, setting{Upstream: upstream}, "version: 1\ndefault: allow\n")
	const host = "www.rockets.example"

	// What the first tunnels cost once and for all is no matter of the others.
	closeHeld(holdMany(t, g, "127.0.0.1", host, site.port, openersAtOnce))
	eventually(t, "the first tunnels have gone", func() error { return g.wantTunnels(t, 0) })
	memory, live := g.resident(t), g.live(t)
	descriptors, goroutines := g.descriptors(t), g.metric(t, "go_goroutines")

	began := time.Now()
	silent := holdMany(t, g, "127.0.0.1", host, site.port, idle)
	t.Logf("%d tunnels opened in %v", idle, time.Since(began).Round(time.Millisecond))
	eventually(t, "the silent tunnels are parked", func() error {
		if more := g.metric(t, "go_goroutines") - goroutines; more > 100 {
			return fmt.Errorf("%v more goroutines than with none", more)
		}
		return g.wantTunnels(t, idle)
	})
	perTunnel := float64(g.descriptors(t)-descriptors) / float64(idle)
	if perTunnel > 2.05 {
		t.Errorf("an idle tunnel takes %.2f descriptors, want 2", perTunnel)
	}
	resident := (g.resident(t) - memory) / idle
	inUse := (g.live(t) - live) / idle
	if inUse > 4<<10 {
		t.Errorf("an idle tunnel keeps %d bytes alive, want 4,096 at most", inUse)
	}
	if resident > 8<<10 { // as much again may be garbage that is not collected yet
		t.Errorf("an idle tunnel takes %d bytes of the machine's memory, want 8,192 at most", resident)
	}
	t.Logf("an idle tunnel: %d bytes in use, %d resident, %.2f descriptors", inUse, resident, perTunnel)

	busyBeside(t, g, host, site.port)
	eventually(t, "the busy tunnels have gone", func() error { return g.wantTunnels(t, idle) })
	wantUnharmed(t, silent)
	closeHeld(silent)
	eventually(t, "the idle tunnels have gone", func() error { return g.wantTunnels(t, 0) })
	eventually(t, "their descriptors are closed", func() error {
		if now := g.descriptors(t); now > descriptors+50 {
			return fmt.Errorf("%d are open, and %d were at the start", now, descriptors)
		}
		return nil
	})
}

// busyBeside has tunnels carry a lot at once, and looks at every byte.
func busyBeside(t *testing.T, g *gateway, host string, port int) {
	t.Helper()
	load := make([]byte, 256<<10)
	_, _ = rand.Read(load) // never fails
	busy := holdMany(t, g, "127.0.0.2", host, port, busyTunnels)
	failures := make([]error, len(busy))
	began := time.Now()
	var talking sync.WaitGroup
	for i, h := range busy {
		talking.Go(func() { failures[i] = h.say(load) })
	}
	talking.Wait()
	if err := errors.Join(failures...); err != nil {
		t.Errorf("busy tunnels: %v", err)
	}
	t.Logf("%d busy tunnels: %d MB there and back in %v", len(busy), len(busy)*len(load)>>20, time.Since(began).Round(time.Millisecond))
	closeHeld(busy)
}

func (g *gateway) wantTunnels(t *testing.T, want int) error {
	t.Helper()
	if got := g.metric(t, "sallyport_proxy_tunnels"); got != float64(want) {
		return fmt.Errorf("%v tunnels are counted, want %d", got, want)
	}
	return nil
}

// TestReloadCutsExactly bans an app while a thousand tunnels are open, and looks
// which of them are left.
func TestReloadCutsExactly(t *testing.T) {
	sallyport(t)
	upstream, site := startUnbound(t), startEcho(t)
	const groups = "version: 1\ngroups:\n  employees: {networks: [127.0.0.0/16]}\ndefault: allow\n"
	g := startGateway(t, setting{Upstream: upstream}, groups)
	scale := 100
	if affordable(t) < 10*scale {
		scale = 10
	}
	var banned, others []*quiet
	for _, c := range []struct {
		from, host string
		count      int
		banned     bool
	}{
		{"127.0.0.1", "zoom.us", 2 * scale, true},
		{"127.0.0.1", "us04web.zoom.us", scale, true},
		{"127.0.0.1", "vanity.rockets.example", scale, true}, // leads to Zoom by CNAME
		{"127.9.0.1", "us04web.zoom.us", scale, false},       // of no employee
		{"127.0.0.1", "www.rockets.example", 3 * scale, false},
		{"127.0.0.1", "notzoom.us", scale, false},
		{"127.0.0.1", "zoom.us.evil.example", scale, false},
	} {
		tunnels := holdMany(t, g, c.from, c.host, site.port, c.count)
		if c.banned {
			banned = append(banned, tunnels...)
		} else {
			others = append(others, tunnels...)
		}
	}
	eventually(t, "every tunnel is counted", func() error { return g.wantTunnels(t, 10*scale) })

	began := time.Now()
	g.rewrite(t, groups+"rules: [{name: ban, who: {groups: [employees]}, what: {apps: [zoom]}, action: block}]\n")
	deadline := began.Add(patience)
	left := slices.DeleteFunc(slices.Clone(banned), func(h *quiet) bool { return h.cut(deadline) })
	for _, h := range left {
		t.Errorf("a tunnel to %s is still open", h.host)
	}
	t.Logf("%d of %d tunnels cut within %v of the edit", len(banned)-len(left), 10*scale, time.Since(began).Round(time.Millisecond))
	wantUnharmed(t, others)
	eventually(t, "the gateway counts what is left", func() error { return g.wantTunnels(t, len(others)) })
	eventually(t, "every cut is in the decision log", func() error { return g.wantClosings(t, "policy", len(banned)) })
}

// wantClosings counts the tunnels of which the decision log says that they were
// ended by something.
func (g *gateway) wantClosings(t *testing.T, by string, want int) error {
	t.Helper()
	count, kinds := 0, map[string]int{}
	for line := range strings.Lines(readFile(t, filepath.Join(g.dir, "decisions.jsonl"))) {
		if _, rest, found := strings.Cut(line, `"closed_by":"`); found {
			kind, _, _ := strings.Cut(rest, `"`)
			kinds[kind]++
			if kind == by {
				count++
			}
		}
	}
	if count != want {
		return fmt.Errorf("%d by %s, want %d, among %v", count, by, want, kinds)
	}
	return nil
}
