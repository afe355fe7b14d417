package ingress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is when a test gives up on what must come.
const patience = 10 * time.Second

// fakeDoor echoes queries, those that begin with 'w' by a worker.
type fakeDoor struct {
	desks   atomic.Int32
	tried   atomic.Int32
	respond func(ctx context.Context, q *Query, dst []byte) []byte // by default an echo
	reply   func(q *Query, dst []byte) []byte                      // by default an echo
}

type fakeDesk struct {
	door  *fakeDoor
	begun bool
	once  sync.Once
}

func (d *fakeDoor) Desk() Desk { return &fakeDesk{door: d} }

func (d *fakeDoor) Respond(ctx context.Context, q *Query, dst []byte) []byte {
	if d.respond != nil {
		return d.respond(ctx, q, dst)
	}
	return append(dst, q.Wire...)
}

func (d *fakeDesk) Begin() {
	if d.begun {
		panic("Begin twice")
	}
	d.begun = true
}

func (d *fakeDesk) End() {
	if !d.begun {
		panic("End without Begin")
	}
	d.begun = false
}

func (d *fakeDesk) Try(q *Query, dst []byte) ([]byte, bool) {
	if !d.begun || q.Transport != UDP || len(dst) != 0 || cap(dst) < 1232 {
		panic("a query that is not as promised")
	}
	d.once.Do(func() { d.door.desks.Add(1) })
	d.door.tried.Add(1)
	if len(q.Wire) > 0 && q.Wire[0] == 'w' {
		return nil, false
	}
	if d.door.reply != nil {
		return d.door.reply(q, dst), true
	}
	return append(dst, q.Wire...), true
}

// shedCount counts what was shed, by reason.
type shedCount struct {
	mu sync.Mutex
	by map[string]int
}

func (s *shedCount) count(reason string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = make(map[string]int)
	}
	s.by[reason] += n
}

func (s *shedCount) of(reason string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.by[reason]
}

// listen binds a listener that is closed with the test.
func listen(t testing.TB, address string, c UDPConfig) *UDPListener {
	t.Helper()
	if c.Workers == nil {
		c.Workers = NewWorkers(0)
	}
	l, err := ListenUDP(t.Context(), address, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Close()
		c.Workers.Close()
	})
	return l
}

// serve serves until the test ends, or before if the test stops it; wait waits
// for that.
func serve(t testing.TB, l *UDPListener, d Door) (wait func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Serve(context.Background(), d)
	}()
	wait = func() {
		t.Helper()
		select {
		case <-done:
		case <-time.After(patience):
			t.Fatal("Serve does not return")
		}
	}
	t.Cleanup(func() {
		l.Close()
		wait()
	})
	return wait
}

// dial connects to the listener's port at host, so that replies from any other
// address do not arrive.
func dial(t testing.TB, l *UDPListener, host string) *net.UDPConn {
	t.Helper()
	to := netip.AddrPortFrom(netip.MustParseAddr(host), l.local.Port())
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func send(t testing.TB, conn *net.UDPConn, query string) {
	t.Helper()
	if _, err := conn.Write([]byte(query)); err != nil {
		t.Fatal(err)
	}
}

func receive(t testing.TB, conn *net.UDPConn) string {
	t.Helper()
	var b [65536]byte
	n, err := conn.Read(b[:])
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// eventually waits for a condition that other goroutines bring about.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("in vain waited for this: " + what)
		}
	}
}

// needIPv6 skips a test where the machine has no ::1.
func needIPv6(t *testing.T) {
	t.Helper()
	conn, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here:", err)
	}
	_ = conn.Close()
}

// TestUDPAnswers asks each kind of socket on each kind of address; a client
// hears only what comes from the address that it asked.
func TestUDPAnswers(t *testing.T) {
	tests := []struct {
		listen string
		ask    []string
		v6     bool
	}{
		{listen: "127.0.0.1:0", ask: []string{"127.0.0.1"}},
		{listen: "localhost:0", ask: []string{"127.0.0.1"}},
		{listen: "[::1]:0", ask: []string{"::1"}, v6: true},
		{listen: "0.0.0.0:0", ask: []string{"127.0.0.1", "127.0.0.2"}},
		{listen: "[::]:0", ask: []string{"::1", "127.0.0.1", "127.0.0.2"}, v6: true},
		{listen: ":0", ask: []string{"::1", "127.0.0.1", "127.0.0.2"}, v6: true},
	}
	for _, tt := range tests {
		for _, plain := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s plain=%v", tt.listen, plain), func(t *testing.T) {
				if tt.v6 {
					needIPv6(t)
				}
				l := listen(t, tt.listen, UDPConfig{Sockets: 2, plain: plain})
				clients := make(chan netip.AddrPort, 1)
				serve(t, l, &fakeDoor{
					reply: func(q *Query, dst []byte) []byte { clients <- q.Client; return append(dst, q.Wire...) },
					respond: func(_ context.Context, q *Query, dst []byte) []byte {
						clients <- q.Client
						return append(dst, q.Wire...)
					},
				})
				for _, host := range tt.ask {
					conn := dial(t, l, host)
					for _, query := range []string{"inline", "worker"} {
						send(t, conn, query)
						if reply := receive(t, conn); reply != query {
							t.Errorf("asked %s %q, heard %q", host, query, reply)
						}
						if client, want := <-clients, conn.LocalAddr().(*net.UDPAddr).AddrPort(); client != want {
							t.Errorf("asked %s: the client is %v, want %v", host, client, want)
						}
					}
				}
				if n := l.Unsent(); n != 0 {
					t.Errorf("%d replies were not sent", n)
				}
			})
		}
	}
}

func TestUDPAddress(t *testing.T) {
	l := listen(t, "127.0.0.1:0", UDPConfig{})
	if a := l.Address(); a.Name != "dns udp" || netip.MustParseAddrPort(a.Addr).Port() == 0 {
		t.Errorf("address %+v", a)
	}
}

func TestListenUDPRefuses(t *testing.T) {
	taken := listen(t, "127.0.0.1:0", UDPConfig{Sockets: 2})
	tests := []struct {
		name, address string
		config        UDPConfig
		is            error
	}{
		{name: "an address that is taken, though it is shared", address: taken.Address().Addr,
			config: UDPConfig{Sockets: 2, Workers: NewWorkers(1)}, is: syscall.EADDRINUSE},
		{name: "an address of others", address: "192.0.2.1:0",
			config: UDPConfig{Workers: NewWorkers(1)}, is: syscall.EADDRNOTAVAIL},
		{name: "no port", address: "127.0.0.1", config: UDPConfig{Workers: NewWorkers(1)}},
		{name: "no workers", address: "127.0.0.1:0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := ListenUDP(t.Context(), tt.address, tt.config)
			if err == nil {
				l.Close()
				t.Fatal("it listens")
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v, want %v", err, tt.is)
			}
		})
	}
}

// TestUDPLengths sends what does not fit, and what just does.
func TestUDPLengths(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			var shed shedCount
			l := listen(t, "127.0.0.1:0", UDPConfig{Sockets: 1, Shed: shed.count, plain: plain})
			door := &fakeDoor{}
			serve(t, l, door)
			conn := dial(t, l, "127.0.0.1")
			for _, n := range []int{queryBytes + 1, querySlot, querySlot + 1, 60000} {
				send(t, conn, string(make([]byte, n)))
			}
			send(t, conn, string(make([]byte, queryBytes)))
			if n := len(receive(t, conn)); n != queryBytes {
				t.Errorf("the first reply has %d bytes, want %d", n, queryBytes)
			}
			if n := shed.of(ShedMalformed); n != 4 {
				t.Errorf("%d malformed, want 4", n)
			}
			send(t, conn, "") // the door's to judge
			eventually(t, "both have been tried", func() bool { return door.tried.Load() == 2 })
		})
	}
}

func TestUDPSaysNothing(t *testing.T) {
	l := listen(t, "127.0.0.1:0", UDPConfig{Sockets: 1})
	serve(t, l, &fakeDoor{
		reply: func(q *Query, dst []byte) []byte {
			if q.Wire[0] == 's' {
				return nil
			}
			return append(dst, q.Wire...)
		},
		respond: func(context.Context, *Query, []byte) []byte { return nil },
	})
	conn := dial(t, l, "127.0.0.1")
	for _, query := range []string{"silent", "worker", "heard"} {
		send(t, conn, query)
	}
	if reply := receive(t, conn); reply != "heard" {
		t.Errorf("heard %q", reply)
	}
}

// TestUDPProxyHeader lists the client's network as that of a proxy.
func TestUDPProxyHeader(t *testing.T) {
	tests := []struct {
		name   string
		from   string
		packet string
		client string // "peer", or "" where the packet is shed
		query  string
	}{
		{name: "v4", from: "127.0.0.0/8", packet: header4 + "query", client: "192.0.2.7:12345", query: "query"},
		{name: "v4, by a worker", from: "127.0.0.0/8", packet: header4 + "work", client: "192.0.2.7:12345", query: "work"},
		{name: "v6", from: "127.0.0.0/8", packet: header6 + "query", client: "[2001:db8::7]:12345", query: "query"},
		{name: "local", from: "127.0.0.0/8", packet: headerLocal + "query", client: "peer", query: "query"},
		{name: "missing", from: "127.0.0.0/8", packet: "query"},
		{name: "broken", from: "127.0.0.0/8", packet: header4Long + "query"},
		{name: "nothing at all", from: "127.0.0.0/8", packet: ""},
		{name: "from a stranger", from: "192.0.2.0/24", packet: header4 + "query", client: "peer", query: header4 + "query"},
	}
	for _, tt := range tests {
		for _, plain := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s plain=%v", tt.name, plain), func(t *testing.T) {
				var shed shedCount
				l := listen(t, "127.0.0.1:0", UDPConfig{
					Sockets: 1, Shed: shed.count, plain: plain,
					ProxyFrom: []netip.Prefix{netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix(tt.from)},
				})
				serve(t, l, &fakeDoor{
					reply: func(q *Query, dst []byte) []byte { return append(dst, q.Client.String()+" "+string(q.Wire)...) },
					respond: func(_ context.Context, q *Query, dst []byte) []byte {
						return append(dst, q.Client.String()+" "+string(q.Wire)...)
					},
				})
				conn := dial(t, l, "127.0.0.1")
				send(t, conn, tt.packet)
				if tt.client == "" {
					eventually(t, "a header is shed", func() bool { return shed.of(ShedProxyHeader) == 1 })
					return
				}
				client := tt.client
				if client == "peer" {
					client = conn.LocalAddr().String()
				}
				if reply, want := receive(t, conn), client+" "+tt.query; reply != want {
					t.Errorf("heard %q, want %q", reply, want)
				}
			})
		}
	}
}

// TestUDPShedsTheOldest has one worker, which is busy, and room for two.
func TestUDPShedsTheOldest(t *testing.T) {
	var shed shedCount
	workers := NewWorkers(1)
	l := listen(t, "127.0.0.1:0", UDPConfig{Sockets: 1, Workers: workers, Waiting: 2, Shed: shed.count})
	release := make(chan struct{})
	serve(t, l, &fakeDoor{respond: func(_ context.Context, q *Query, dst []byte) []byte {
		<-release
		return append(dst, q.Wire...)
	}})
	conn := dial(t, l, "127.0.0.1")
	send(t, conn, "w1")
	eventually(t, "the worker is busy", func() bool { return workers.Busy() == 1 })
	for _, query := range []string{"w2", "w3", "w4", "w5"} {
		send(t, conn, query)
	}
	eventually(t, "two are shed", func() bool { return shed.of(ShedBusy) == 2 })
	if n := workers.Waiting(); n != 2 {
		t.Errorf("%d waiting, want 2", n)
	}
	close(release)
	for _, want := range []string{"w1", "w4", "w5"} {
		if reply := receive(t, conn); reply != want {
			t.Errorf("heard %q, want %q", reply, want)
		}
	}
	eventually(t, "the worker has ended", func() bool { return workers.Busy() == 0 && workers.Waiting() == 0 })
}

// TestUDPStopAnswersWhatCame stops while queries are with workers, wait for
// one, and lie in the kernel.
func TestUDPStopAnswersWhatCame(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			const queries = 50
			workers := NewWorkers(4)
			l := listen(t, "127.0.0.1:0", UDPConfig{Sockets: 2, Workers: workers, plain: plain})
			release := make(chan struct{})
			door := &fakeDoor{respond: func(_ context.Context, q *Query, dst []byte) []byte {
				<-release
				return append(dst, q.Wire...)
			}}
			wait := serve(t, l, door)
			conn := dial(t, l, "127.0.0.1")
			for i := range queries {
				send(t, conn, fmt.Sprintf("w%d", i))
			}
			eventually(t, "all have been read", func() bool { return door.tried.Load() == queries })
			l.Stop()
			l.Stop()
			close(release)
			wait()
			heard := make(map[string]bool)
			for range queries {
				heard[receive(t, conn)] = true
			}
			if len(heard) != queries {
				t.Errorf("heard %d, want %d", len(heard), queries)
			}
		})
	}
}

// TestUDPStopReadsWhatTheKernelHolds stops a listener before it is served.
func TestUDPStopReadsWhatTheKernelHolds(t *testing.T) {
	const queries = 150 // more than two batches
	l := listen(t, "127.0.0.1:0", UDPConfig{Sockets: 2})
	if _, ok := l.sockets[0].(*plainSocket); ok {
		t.Skip("no batches here")
	}
	conn := dial(t, l, "127.0.0.1")
	for i := range queries {
		send(t, conn, fmt.Sprintf("%c%d", "iw"[i%2], i))
	}
	l.Stop()
	serve(t, l, &fakeDoor{})()
	heard := make(map[string]bool)
	for range queries {
		heard[receive(t, conn)] = true
	}
	if len(heard) != queries {
		t.Errorf("heard %d, want %d", len(heard), queries)
	}
}

// TestUDPStopUnderLoad counts that all that was tried was answered, while
// clients go on asking.
func TestUDPStopUnderLoad(t *testing.T) {
	l := listen(t, "127.0.0.1:0", UDPConfig{Sockets: 2})
	door := &fakeDoor{}
	wait := serve(t, l, door)
	var clients sync.WaitGroup
	var heard atomic.Int32
	var conns []*net.UDPConn
	for range 4 {
		conn := dial(t, l, "127.0.0.1")
		conns = append(conns, conn)
		clients.Go(func() {
			query, reply := [2]byte{}, [16]byte{}
			for i := 0; ; i++ {
				query[0] = "iw"[i%2]
				if _, err := conn.Write(query[:]); err != nil {
					return
				}
				if _, err := conn.Read(reply[:]); err != nil {
					return
				}
				heard.Add(1)
			}
		})
	}
	eventually(t, "queries are answered", func() bool { return heard.Load() > 200 })
	l.Stop()
	wait()
	tried := door.tried.Load()
	eventually(t, fmt.Sprintf("%d replies are heard", tried), func() bool { return heard.Load() == tried })
	for _, conn := range conns {
		_ = conn.Close() // the queries that came too late
	}
	clients.Wait()
}

// TestUDPEndsAtOnce closes, or cancels, while a worker waits and another query
// waits for it.
func TestUDPEndsAtOnce(t *testing.T) {
	for _, how := range []string{"close", "cancel"} {
		t.Run(how, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			workers := NewWorkers(1)
			l, err := ListenUDP(t.Context(), "127.0.0.1:0", UDPConfig{Workers: workers, Sockets: 1})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			served := make(chan struct{})
			var responses atomic.Int32
			go func() {
				defer close(served)
				l.Serve(ctx, &fakeDoor{respond: func(ctx context.Context, _ *Query, _ []byte) []byte {
					responses.Add(1)
					<-ctx.Done()
					return nil
				}})
			}()
			conn := dial(t, l, "127.0.0.1")
			send(t, conn, "w1")
			send(t, conn, "w2")
			eventually(t, "one waits", func() bool { return workers.Busy() == 1 && workers.Waiting() == 1 })
			if how == "close" {
				l.Close()
				l.Close()
			} else {
				cancel()
			}
			select {
			case <-served:
			case <-time.After(patience):
				t.Fatal("Serve does not return")
			}
			workers.Close()
			if workers.Waiting() != 0 || workers.Busy() != 0 {
				t.Errorf("%d waiting, %d busy", workers.Waiting(), workers.Busy())
			}
			l.Stop() // harmless
		})
	}
}

func TestUDPCloseBeforeServe(t *testing.T) {
	l := listen(t, "127.0.0.1:0", UDPConfig{})
	l.Close()
	serve(t, l, &fakeDoor{})()
}

// TestUDPRefusedReplies has the kernel refuse one reply in the middle of a
// batch: the others arrive, in order.
func TestUDPRefusedReplies(t *testing.T) {
	const queries = 64
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			l := listen(t, "127.0.0.1:0", UDPConfig{Sockets: 1, plain: plain})
			conn := dial(t, l, "127.0.0.1")
			for i := range queries {
				send(t, conn, fmt.Sprintf("%03d", i))
			}
			serve(t, l, &fakeDoor{reply: func(q *Query, dst []byte) []byte {
				switch string(q.Wire) {
				case "000", "010", "011", "063":
					return make([]byte, 65535) // no datagram is so long
				case "020":
					return make([]byte, 5000) // not in dst
				}
				return append(dst, q.Wire...)
			}})
			for i := range queries {
				switch i {
				case 0, 10, 11, 63:
					continue
				}
				want := fmt.Sprintf("%03d", i)
				if i == 20 {
					want = string(make([]byte, 5000))
				}
				if reply := receive(t, conn); reply != want {
					t.Fatalf("heard %.10q, want %.10q", reply, want)
				}
			}
			eventually(t, "four are counted", func() bool { return l.Unsent() == 4 })
		})
	}
}

// TestUDPIgnoresClosedClients has replies go to ports where nobody listens.
func TestUDPIgnoresClosedClients(t *testing.T) {
	l := listen(t, "127.0.0.1:0", UDPConfig{Sockets: 1})
	door := &fakeDoor{}
	for range 50 {
		gone := dial(t, l, "127.0.0.1")
		send(t, gone, "gone")
		_ = gone.Close()
	}
	conn := dial(t, l, "127.0.0.1")
	send(t, conn, "here")
	serve(t, l, door)
	if reply := receive(t, conn); reply != "here" {
		t.Errorf("heard %q", reply)
	}
}

// TestUDPDoesNotAllocate answers over a real socket, client and all.
func TestUDPDoesNotAllocate(t *testing.T) {
	query, reply := []byte("inline query"), make([]byte, 64)
	for _, tt := range []struct {
		listen, ask string
	}{{"127.0.0.1:0", "127.0.0.1"}, {"0.0.0.0:0", "127.0.0.2"}, {"[::1]:0", "::1"}, {"[::]:0", "127.0.0.2"}} {
		t.Run(tt.listen, func(t *testing.T) {
			if tt.listen[0] == '[' {
				needIPv6(t)
			}
			l := listen(t, tt.listen, UDPConfig{Sockets: 1})
			if _, ok := l.sockets[0].(*plainSocket); ok {
				t.Skip("no batches here")
			}
			serve(t, l, &fakeDoor{})
			conn := dial(t, l, tt.ask)
			allocations := testing.AllocsPerRun(200, func() {
				if _, err := conn.Write(query); err != nil {
					t.Fatal(err)
				}
				if _, err := conn.Read(reply); err != nil {
					t.Fatal(err)
				}
			})
			if allocations != 0 {
				t.Errorf("%v allocations a query", allocations)
			}
		})
	}
}

func TestSamePort(t *testing.T) {
	for _, tt := range []struct{ address, bound, want string }{
		{"127.0.0.1:0", "127.0.0.1:5353", "127.0.0.1:5353"},
		{"localhost:0", "127.0.0.1:5353", "127.0.0.1:5353"},
		{"0.0.0.0:0", "0.0.0.0:5353", "0.0.0.0:5353"},
		{"[::]:0", "[::]:5353", "[::]:5353"},
		{":0", "[::]:5353", ":5353"},
		{":0", "0.0.0.0:5353", ":5353"},
		{"[fe80::1%eth0]:53", "[fe80::1%eth0]:53", "[fe80::1%eth0]:53"},
	} {
		if got := samePort(tt.address, netip.MustParseAddrPort(tt.bound)); got != tt.want {
			t.Errorf("samePort(%q, %s) = %q, want %q", tt.address, tt.bound, got, tt.want)
		}
	}
}
