package outbound

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
)

func discard(conn net.Conn) { _, _ = conn.Read(make([]byte, 1)) }

func TestDialDirect(t *testing.T) {
	at := serve(t, "127.0.0.1:0", func(conn net.Conn) { _, _ = conn.Write([]byte("hello")) })
	var results []string
	d := newDialer(t, Config{}, Dependencies{Dialled: func(result string, took time.Duration) { results = append(results, result) }})
	conn, err := d.Dial(t.Context(), Target{Host: "www.example.com", Port: at.Port(), Addrs: addresses("127.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if conn.Via != Direct || conn.Remote != at || conn.TCP() == nil {
		t.Errorf("got %+v by %v, want a bare TCP connection to %v", conn, conn.Via, at)
	}
	got := make([]byte, 5)
	if _, err := conn.Read(got); err != nil || string(got) != "hello" {
		t.Errorf("read %q, %v", got, err)
	}
	if !slices.Equal(results, []string{"ok"}) {
		t.Errorf("results %v, want ok once", results)
	}
}

// A dead address is no obstacle while another one of the name's lives.
func TestRaceTriesTheNextAddress(t *testing.T) {
	at := serve(t, "127.0.0.3:0", discard)
	d := newDialer(t, Config{HeadStart: time.Hour}, Dependencies{})
	conn, err := d.Dial(t.Context(), Target{Port: at.Port(), Addrs: addresses("127.0.0.1", "127.0.0.2", "127.0.0.3")})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if conn.Remote != at {
		t.Errorf("connected to %s, want %s", conn.Remote, at)
	}
}

// A silent one is not waited for, and neither are its neighbours; next time it
// is not even asked first.
func TestRaceGoesRoundTheSilent(t *testing.T) {
	first, _ := deafPair(t)
	at := serve(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.3"), first.Port()).String(), discard)
	d := newDialer(t, Config{HeadStart: 5 * time.Millisecond, Timeout: time.Hour}, Dependencies{})
	to := Target{Port: at.Port(), Addrs: addresses("127.0.0.1", "127.0.0.2", "127.0.0.3")}
	conn, err := d.Dial(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if conn.Remote != at {
		t.Errorf("connected to %s, want %s", conn.Remote, at)
	}
	if got := d.order(to.Addrs, to.Port)[0]; got != at {
		t.Errorf("next time %s is tried first, want %s", got, at)
	}
}

// The first address that answers wins, also where others before it still wait,
// and the others' connections do not stay open.
func TestRaceLeavesNothingOpen(t *testing.T) {
	first, second := deafPair(t)
	at := serve(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.3"), first.Port()).String(), discard)
	d := newDialer(t, Config{HeadStart: time.Millisecond, Timeout: time.Hour}, Dependencies{})
	before := openFiles(t)
	for range 20 {
		d.silent = newSilence()
		conn, err := d.Dial(t.Context(), Target{Port: at.Port(), Addrs: []netip.Addr{first.Addr(), second.Addr(), at.Addr()}})
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	eventually(t, "descriptors are closed", func() bool { return openFiles(t) <= before+1 })
}

func TestRaceReportsWhyAllFailed(t *testing.T) {
	d := newDialer(t, Config{Timeout: 20 * time.Millisecond}, Dependencies{})
	port := freePort(t)
	_, err := d.Dial(t.Context(), Target{Port: port, Addrs: addresses("127.0.0.1", "127.0.0.2")})
	if !errors.Is(err, syscall.ECONNREFUSED) || Result(err) != "refused" {
		t.Errorf("got %v, which is %s", err, Result(err))
	}
	if _, err := d.Dial(t.Context(), Target{Port: port}); err == nil {
		t.Error("no address, and no error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = d.Dial(ctx, Target{Port: port, Addrs: addresses("127.0.0.1", "127.0.0.2")})
	if !errors.Is(err, context.Canceled) || Result(err) != "cancelled" {
		t.Errorf("got %v, which is %s", err, Result(err))
	}
}

func TestDialEndsInTime(t *testing.T) {
	at, _ := deafPair(t)
	for _, to := range []Target{
		{Port: at.Port(), Addrs: addresses("127.0.0.1")},
		{Port: at.Port(), Addrs: addresses("127.0.0.1", "127.0.0.2")},
	} {
		d := newDialer(t, Config{Timeout: 20 * time.Millisecond, HeadStart: time.Millisecond}, Dependencies{})
		if _, err := d.Dial(context.Background(), to); Result(err) != "timeout" {
			t.Errorf("%v: got %v, which is %s, want a timeout", to.Addrs, err, Result(err))
		}
	}
}

func TestRaceEndsWithItsContext(t *testing.T) {
	at, _ := deafPair(t)
	for _, list := range [][]string{{"127.0.0.1"}, {"127.0.0.1", "127.0.0.2"}} {
		d := newDialer(t, Config{}, Dependencies{})
		ctx, cancel := context.WithCancel(t.Context())
		r := &race{
			parent: ctx, deadline: time.Now().Add(time.Hour), headStart: time.Millisecond,
			targets: d.order(addresses(list...), at.Port()), silent: d.silent,
		}
		ended := make(chan error)
		go func() {
			_, err := r.run()
			ended <- err
		}()
		eventually(t, "every address is being tried", func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.ctx != nil && r.next == len(list)
		})
		cancel()
		if err := <-ended; Result(err) != "cancelled" {
			t.Errorf("%v: got %v, which is %s, want cancelled", list, err, Result(err))
		}
	}
}

// What connects at once needs nothing but the connection: neither goroutine nor
// timer, and so no context of its own.
func TestDialAtOnceNeedsNothing(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("connections are not made at once here")
	}
	at := serve(t, "127.0.0.1:0", discard)
	d := newDialer(t, Config{}, Dependencies{})
	r := &race{
		parent: t.Context(), deadline: time.Now().Add(time.Hour), headStart: time.Hour,
		targets: d.order(addresses("127.0.0.1", "127.0.0.2", "::1"), at.Port()), silent: d.silent,
	}
	conn, err := r.run()
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if r.ctx != nil || r.timer != nil {
		t.Error("the race has begun to wait")
	}
}

// acceptor takes connections as cheaply as it can, and keeps the last few.
func acceptor(b *testing.B) netip.AddrPort {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var kept [64]net.Conn
		for i := 0; ; i = (i + 1) % len(kept) {
			if kept[i] != nil {
				_ = kept[i].Close()
			}
			if kept[i], err = l.Accept(); err != nil {
				break
			}
		}
		for _, conn := range kept {
			if conn != nil {
				_ = conn.Close()
			}
		}
	}()
	b.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func TestDialIPv6(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	serveOn(t, l, echo)
	at := l.Addr().(*net.TCPAddr).AddrPort()
	for _, list := range [][]netip.Addr{addresses("::1"), addresses("127.0.0.9", "::1")} {
		conn, err := newDialer(t, Config{}, Dependencies{}).Dial(t.Context(), Target{Port: at.Port(), Addrs: list})
		if err != nil {
			t.Fatal(err)
		}
		if conn.Remote != at {
			t.Errorf("connected to %s, want %s", conn.Remote, at)
		}
		wantEcho(t, conn)
	}
}

// BenchmarkDial makes connections on loopback: by themselves, and through
// parents that take another connection each.
func BenchmarkDial(b *testing.B) {
	at := acceptor(b)
	for _, c := range []struct {
		name string
		list []string
	}{
		{"one", []string{"127.0.0.1"}},
		{"both-families", []string{"127.0.0.1", "::1"}},
	} {
		b.Run("direct/"+c.name, func(b *testing.B) {
			d := newDialer(b, Config{}, Dependencies{})
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			to := Target{Host: "www.example.com", Port: at.Port(), Addrs: addresses(c.list...)}
			b.ReportAllocs()
			for b.Loop() {
				conn, err := d.Dial(ctx, to)
				if err != nil {
					b.Fatal(err)
				}
				_ = conn.TCP().SetLinger(0) // or the ports are used up by TIME_WAIT
				_ = conn.Close()
			}
		})
	}
	for _, scheme := range []string{SchemeHTTP, SchemeSOCKS5H} {
		b.Run("parent/"+scheme, func(b *testing.B) {
			answer, asked := "HTTP/1.1 200 OK\r\n\r\n", 1
			if scheme == SchemeSOCKS5H {
				answer, asked = "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", 2
			}
			parent := serve(b, "127.0.0.1:0", func(conn net.Conn) {
				buffer := make([]byte, 256)
				for i := range asked {
					if _, err := conn.Read(buffer); err != nil {
						return
					}
					text := answer
					if i < asked-1 {
						text = "\x05\x00"
					}
					_, _ = conn.Write([]byte(text))
				}
				_, _ = conn.Read(buffer)
			})
			d := newDialer(b, Config{Parents: []Parent{{Name: "site", Endpoint: endpoint(scheme, parent)}}, Routes: everywhere("site")}, Dependencies{})
			b.ReportAllocs()
			for b.Loop() {
				conn, err := d.Dial(b.Context(), Target{Host: "www.example.com", Port: 443, Addrs: addresses("192.0.2.1")})
				if err != nil {
					b.Fatal(err)
				}
				_ = conn.TCP().SetLinger(0)
				_ = conn.Close()
			}
		})
	}
}
