package e2e

import (
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	silentConnections = 10_000
	maxConnections    = 4096     // limits.tcp_connections, as it is where nobody sets it
	silentMemoryKB    = 64 << 10 // what they may cost the gateway together
)

// TestSilentConnections opens ten thousand connections that say nothing, from a
// hundred addresses, and then as many as it can from one: whoever has something
// to ask is answered all the while, and the gateway's memory stays in bounds.
func TestSilentConnections(t *testing.T) {
	sallyport(t)
	needFiles(t, silentConnections+1000)
	g := startDoor(t, t.TempDir(), upstreamLine(startUnbound(t)))
	before, _ := memory(t, g.cmd.Process.Pid)

	crowd := silence{server: g.dns}
	defer crowd.end()
	crowd.gather(t, silentConnections, func(i int) net.IP { return net.IPv4(127, 0, 7, byte(1+i%100)) }, func() {
		g.wantAnswers(t, "127.0.0.1")
	})
	g.wantAnswers(t, "127.0.0.1")
	if open := g.metric(t, "sallyport_dns_connections", `transport="tcp"`); open > maxConnections || open < 1000 {
		t.Errorf("%v connections are open, want at most %d, and enough to prove anything", open, maxConnections)
	}
	after, _ := memory(t, g.cmd.Process.Pid)
	t.Logf("%d connections: resident memory from %d MB to %d MB", silentConnections, before>>10, after>>10)
	if after-before > silentMemoryKB {
		t.Errorf("resident memory went from %d KB to %d KB", before, after)
	}
	crowd.end()

	greedy := silence{server: g.dns}
	defer greedy.end()
	greedy.gather(t, 3000, func(int) net.IP { return net.IPv4(127, 0, 8, 1) }, func() {})
	g.wantAnswers(t, "127.0.0.1")
	eventually(t, "of 3000 connections of one address some are too many", func() error {
		return atLeast(g.metric(t, "sallyport_dns_shed_total", `reason="client_connections"`), 1)
	})
}

// wantAnswers asks over UDP and over a new connection, from an address.
func (g *gateway) wantAnswers(t *testing.T, from string) {
	t.Helper()
	if err := g.answered("www.rockets.example."); err != nil {
		t.Errorf("over UDP: %v", err)
	}
	dialer := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.Dial("tcp", g.dns)
	if err != nil {
		t.Errorf("over TCP: %v", err)
		return
	}
	defer conn.Close()
	if _, err := askStream(conn, 1, "www.rockets.example."); err != nil {
		t.Errorf("over TCP: %v", err)
	}
}

// silence is connections that nothing is sent on.
type silence struct {
	server string
	mu     sync.Mutex
	conns  []net.Conn
}

// gather opens n connections; now and then it calls between.
func (s *silence) gather(t *testing.T, n int, from func(i int) net.IP, between func()) {
	t.Helper()
	const dialers = 8
	refused := make(chan error, n)
	var all sync.WaitGroup
	for d := range dialers {
		all.Go(func() {
			for i := d; i < n; i += dialers {
				dialer := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: from(i)}}
				conn, err := dialer.Dial("tcp", s.server)
				if err != nil {
					refused <- err
					continue
				}
				s.mu.Lock()
				s.conns = append(s.conns, conn)
				s.mu.Unlock()
			}
		})
	}
	done := make(chan struct{})
	go func() {
		all.Wait()
		close(done)
	}()
	for waiting := true; waiting; {
		select {
		case <-done:
			waiting = false
		case <-time.After(100 * time.Millisecond):
			between()
		}
	}
	close(refused)
	for err := range refused {
		t.Errorf("%d connections could not be opened: %v", len(refused)+1, err)
		break
	}
}

func (s *silence) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.conns {
		conn.Close()
	}
	s.conns = nil
}

// needFiles skips where this process may not have so many files open.
func needFiles(t *testing.T, n uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < n {
		t.Skipf("%d files may be open, and this test needs %d (ulimit -n): %v", limit.Cur, n, err)
	}
}
