package outbound

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds every wait of the tests; none of them waits that long unless
// it fails.
const patience = 10 * time.Second

// newDialer makes a dialer that the test may look into.
func newDialer(t testing.TB, c Config, deps Dependencies) *Dialer {
	t.Helper()
	d, err := New(c, deps)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// serve runs a server at an address of loopback until the test ends. Its
// connections are closed when serve's func returns.
func serve(t testing.TB, at string, talk func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, l, talk)
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func serveOn(t testing.TB, l net.Listener, talk func(net.Conn)) {
	var running sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			running.Go(func() {
				defer func() {
					_ = conn.Close()
					mu.Lock()
					delete(open, conn)
					mu.Unlock()
				}()
				talk(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		running.Wait()
	})
}

// deafPair makes 127.0.0.1 and 127.0.0.2 at one port deaf: no connection comes
// about there, and none is refused.
func deafPair(t testing.TB) (first, second netip.AddrPort) {
	t.Helper()
	for range 20 {
		port := freePort(t)
		first, second = deafAt(t, "127.0.0.1", port), deafAt(t, "127.0.0.2", port)
		if first.IsValid() && second.IsValid() {
			return first, second
		}
	}
	t.Fatal("no port is free")
	return first, second
}

// deafAt makes one address deaf: its queue is full, and the kernel drops
// whoever asks. It is invalid where somebody has that port.
func deafAt(t testing.TB, address string, port uint16) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	at := netip.AddrPortFrom(netip.MustParseAddr(address), port)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(port), Addr: at.Addr().As4()}); err != nil {
		return netip.AddrPort{}
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		conn, err := net.DialTimeout("tcp", at.String(), 50*time.Millisecond)
		if err != nil {
			return at
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Fatal("the queue takes no end of connections")
	return at
}

// freePort is a port at which nobody listens.
func freePort(t testing.TB) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

func addresses(texts ...string) []netip.Addr {
	var list []netip.Addr
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

// eventually waits for something that is about to happen.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// openFiles counts the descriptors of this process.
func openFiles(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("descriptors cannot be counted here: %v", err)
	}
	return len(all)
}
