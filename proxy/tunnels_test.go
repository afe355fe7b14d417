package proxy

import (
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// tcpPair is a TCP connection and its other end.
func tcpPair(t *testing.T) (*net.TCPConn, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	return a.(*net.TCPConn), b.(*net.TCPConn)
}

// A server that answers, and hangs up on a client that is still sending, has
// its answer delivered.
func TestAnswerOfAServerThatHangsUp(t *testing.T) {
	d := open(t, nil)
	where := origin(t, func(conn *net.TCPConn) {
		buffer := make([]byte, 10)
		_, _ = io.ReadFull(conn, buffer)
		_, _ = conn.Write([]byte("enough"))
		_ = conn.CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
	})
	c := d.tunnel(where.String())
	c.send("0123456789")
	if got := c.read(6); got != "enough" {
		t.Errorf("got %q", got)
	}
	if rest := c.rest(); rest != "" { // the server's end, before the client's
		t.Errorf("got %q", rest)
	}
	c.send("and more")
	_ = c.CloseWrite()
	if _, ends := d.await(1, 1); ends[0].ClosedBy != closedByUpstream || ends[0].BytesUp != 18 {
		t.Errorf("end %+v", ends[0])
	}
}

// An idle tunnel holds its two connections and no pipe, even after it has
// moved a lot.
func TestIdleTunnelsHoldNoPipes(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("counts descriptors in /proc")
	}
	d := open(t, nil)
	where := origin(t, echoing)
	pipes := func() int {
		runtime.GC() // pipes that nobody uses any more are closed by the collector
		runtime.GC()
		count := 0
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		for _, entry := range entries {
			if target, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil && strings.HasPrefix(target, "pipe:") {
				count++
			}
		}
		return count
	}
	before := pipes()
	const tunnels = 40
	bulk := strings.Repeat("x", 256<<10)
	for range tunnels {
		c := d.tunnel(where.String())
		var running sync.WaitGroup
		running.Go(func() { _, _ = io.WriteString(c.TCPConn, bulk) })
		if got := c.read(len(bulk)); got != bulk {
			t.Fatal("bytes were changed")
		}
		running.Wait()
	}
	d.awaitMetric(tunnels, "sallyport_proxy_tunnels")
	// The echoing origin uses io.Copy, which keeps one pipe (two descriptors) a
	// connection: those are not ours.
	eventually(t, "only the origin holds pipes", func() bool { return pipes()-before <= 2*tunnels+8 })
}
