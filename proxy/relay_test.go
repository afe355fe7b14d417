package proxy

import (
	"bytes"
	"crypto/sha256"
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

func TestRelayCarriesEverything(t *testing.T) {
	for _, size := range []int{0, 1, blockBytes - 1, blockBytes, blockBytes + 1, 3*blockBytes + 7, 8 << 20} {
		client, src := tcpPair(t)
		dst, server := tcpPair(t)
		data := bytes.Repeat([]byte("sallyport"), size/9+1)[:size]
		var running sync.WaitGroup
		var how outcome
		var moved int64
		running.Go(func() {
			how = newRelay().carry(dst, src, func(n int64) { moved += n })
			_ = dst.CloseWrite()
		})
		running.Go(func() {
			_, _ = client.Write(data)
			_ = client.CloseWrite()
		})
		got, err := io.ReadAll(server)
		running.Wait()
		if err != nil || sha256.Sum256(got) != sha256.Sum256(data) || moved != int64(size) || how != outcomeEOF {
			t.Errorf("%d bytes: %d arrived, %d counted, outcome %d, %v", size, len(got), moved, how, err)
		}
	}
}

func TestRelayNamesTheSideThatIsGone(t *testing.T) {
	t.Run("source", func(t *testing.T) {
		client, src := tcpPair(t)
		dst, _ := tcpPair(t)
		_ = client.SetLinger(0) // a reset in place of an end
		_ = client.Close()
		if how := newRelay().carry(dst, src, func(int64) {}); how != outcomeReadFailed {
			t.Errorf("outcome %d", how)
		}
	})
	t.Run("destination", func(t *testing.T) {
		client, src := tcpPair(t)
		dst, server := tcpPair(t)
		_ = server.SetLinger(0)
		_ = server.Close()
		var running sync.WaitGroup
		running.Go(func() {
			for {
				if _, err := client.Write(make([]byte, blockBytes)); err != nil {
					return
				}
			}
		})
		if how := newRelay().carry(dst, src, func(int64) {}); how != outcomeWriteFailed {
			t.Errorf("outcome %d", how)
		}
		_ = src.Close()
		running.Wait()
	})
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

// BenchmarkTunnelBulk moves data through a tunnel.
func BenchmarkRelayBulk(b *testing.B) {
	t := &testing.T{}
	client, src := tcpPair(t)
	dst, server := tcpPair(t)
	var running sync.WaitGroup
	running.Go(func() { newRelay().carry(dst, src, func(int64) {}); _ = dst.CloseWrite() })
	running.Go(func() { _, _ = io.Copy(io.Discard, server) })
	data := make([]byte, 1<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := client.Write(data); err != nil {
			b.Fatal(err)
		}
	}
	_ = client.CloseWrite()
	running.Wait()
}
