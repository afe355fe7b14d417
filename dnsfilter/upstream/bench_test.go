package upstream

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// echo answers every query on conn with one A record, without reading more of
// it than where the question ends.
func echo(conn *net.UDPConn) {
	packet := make([]byte, 4096)
	record := []byte{0xC0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4, 192, 0, 2, 1}
	for {
		n, from, err := conn.ReadFromUDPAddrPort(packet)
		if err != nil {
			return
		}
		end := questionEnd(packet[:n])
		packet[2] |= 0x80
		copy(packet[6:12], []byte{0, 1, 0, 0, 0, 0})
		if _, err := conn.WriteToUDPAddrPort(append(packet[:end], record...), from); err != nil {
			return
		}
	}
}

// echoed is a Pool with one server that answers at once.
func echoed(t testing.TB) *Pool {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { echo(conn) })
	p, err := New(Config{Servers: []string{conn.LocalAddr().String()}}, Dependencies{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Close()
		_ = conn.Close()
		running.Wait()
	})
	return p
}

func BenchmarkAskUDP(b *testing.B) {
	p := echoed(b)
	q := question(b, "www.some-service.example", dns.TypeA)
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := p.Ask(context.Background(), q); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// What is allocated is the unpacked answer, which is the caller's: nine times.
// The race detector makes pools forget.
func TestAskAllocatesLittle(t *testing.T) {
	p := echoed(t)
	q := question(t, "www.some-service.example", dns.TypeA)
	ask := func() {
		if _, err := p.Ask(context.Background(), q); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 * maxSockets { // all sockets are open
		ask()
	}
	if n := testing.AllocsPerRun(200, ask); n > 16 {
		t.Errorf("%v allocations for a query", n)
	}
}
