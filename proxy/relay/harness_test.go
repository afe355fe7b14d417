package relay

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// atMost is how long a test waits for what must come.
const atMost = 20 * time.Second

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(atMost); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not %s after %v", what, atMost)
		}
	}
}

// relayWith makes a relay that is closed when the test ends.
func relayWith(t testing.TB, config Config) *Relay {
	t.Helper()
	r, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// pair is a TCP connection and its other end.
func pair(t testing.TB) (*net.TCPConn, *net.TCPConn) {
	t.Helper()
	return pairOver(t, false)
}

// pairOver is one that speaks Multipath TCP, or does not.
func pairOver(t testing.TB, multipath bool) (*net.TCPConn, *net.TCPConn) {
	t.Helper()
	var config net.ListenConfig
	config.SetMultipathTCP(multipath)
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var dialer net.Dialer
	dialer.SetMultipathTCP(multipath)
	a, err := dialer.DialContext(t.Context(), "tcp", l.Addr().String())
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

// listener is a Handler that keeps what it is told.
type listener struct {
	greet    func(piece []byte, occasion Occasion) Greeting // nil: carries at once
	up, down atomic.Int64
	outcome  Outcome
	ended    chan struct{}
	endings  atomic.Int32
}

func newListener() *listener { return &listener{ended: make(chan struct{})} }

func (l *listener) Greet(piece []byte, occasion Occasion) Greeting {
	if l.greet != nil {
		return l.greet(piece, occasion)
	}
	return Greeting{Then: Carry, Forward: bytes.Clone(piece)}
}

func (l *listener) Moved(up bool, n int64) {
	if up {
		l.up.Add(n)
	} else {
		l.down.Add(n)
	}
}

func (l *listener) Ended(outcome Outcome) {
	l.outcome = outcome
	if l.endings.Add(1) == 1 {
		close(l.ended)
	}
}

// how waits for the end.
func (l *listener) how(t testing.TB) Outcome {
	t.Helper()
	select {
	case <-l.ended:
		return l.outcome
	case <-time.After(atMost):
		t.Fatal("the flow has not ended")
		return Outcome{}
	}
}

// tunnel is a flow and its two peers.
type tunnel struct {
	t        testing.TB
	flow     *Flow
	handler  *listener
	client   *net.TCPConn // the client's own end
	server   *net.TCPConn // the server's own end
	inClient *net.TCPConn // the relay's ends
	inServer *net.TCPConn
	ends     Ends // what the flow has got
}

func open(t testing.TB, r *Relay, handler *listener, early string) *tunnel {
	t.Helper()
	if handler == nil {
		handler = newListener()
	}
	return openKind(t, r, handler, early, kinds["tcp"])
}

func send(t testing.TB, c io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatalf("send %q: %v", s, err)
	}
}

func expect(t testing.TB, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	_ = c.SetReadDeadline(time.Now().Add(atMost))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("got %q, want %q: %v", got[:n], want, err)
	}
}

// rest reads to the end.
func rest(t testing.TB, c net.Conn) string {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(atMost))
	got, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("read to the end: %v, after %q", err, got)
	}
	return string(got)
}

// atRest waits until nobody works for a flow.
func (u *tunnel) atRest() {
	u.t.Helper()
	eventually(u.t, "at rest", u.sleeping)
}

// restIfThere does so where there is rest: elsewhere, ways wait on their own.
func (u *tunnel) restIfThere() {
	if runtime.GOOS == "linux" {
		u.t.Helper()
		u.atRest()
	}
}

func (u *tunnel) sleeping() bool {
	u.flow.mu.Lock()
	defer u.flow.mu.Unlock()
	for i := range u.flow.ways {
		if u.flow.ways[i].state == wayMoving {
			return false
		}
	}
	return true
}

// together runs several things at once, and waits for them.
func together(things ...func()) {
	var running sync.WaitGroup
	for _, thing := range things {
		running.Go(thing)
	}
	running.Wait()
}

// handRelay is a relay whose time passes when the test says so.
type handRelay struct {
	*Relay
	time atomic.Int64
}

func relayByHand(t testing.TB, config Config) *handRelay {
	t.Helper()
	h := &handRelay{Relay: newRelay(config)}
	h.now = func() time.Duration { return time.Duration(h.time.Load()) }
	if err := h.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// pass lets time pass, and sweeps once at its end.
func (h *handRelay) pass(d time.Duration) {
	h.time.Add(int64(d))
	h.sweep()
}
