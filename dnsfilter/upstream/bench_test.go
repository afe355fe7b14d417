package upstream

import (
	"context"
	"net"
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

func BenchmarkAskUDP(b *testing.B) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		echo(conn)
	}()
	p, err := New(Config{Servers: []string{conn.LocalAddr().String()}}, Dependencies{})
	if err != nil {
		b.Fatal(err)
	}
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
	b.StopTimer()
	_ = p.Close()
	_ = conn.Close()
	<-ended
}
