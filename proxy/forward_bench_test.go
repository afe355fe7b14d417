package proxy

import (
	"context"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/sallyport/sallyport/policy"
)

// BenchmarkForwardKeptAlive is one small plain request over kept connections,
// from the client's first byte to its last, with all its ends in this process.
func BenchmarkForwardKeptAlive(b *testing.B) {
	origin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer origin.Close()
	go func() {
		for {
			conn, err := origin.Accept()
			if err != nil {
				return
			}
			go answerAll(conn)
		}
	}()
	server, err := New(Config{
		Listen:       []string{"127.0.0.1:0"},
		Clients:      []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		DenyNetworks: DenyNetworks{None: true},
	}, Dependencies{
		Decider: deciderFunc(func(*policy.Request) policy.Verdict { return allowed() }),
		Identify: func(client netip.Addr, _ string) (policy.Subject, error) {
			return policy.Subject{Identity: policy.Identity{Addr: client}}, nil
		},
		Resolve: func(context.Context, string) (Resolution, error) {
			return Resolution{Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}, nil
		},
		Record:    func(*policy.Decision) {},
		RecordEnd: func(*policy.TunnelEnd) {},
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := server.Listen(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = server.Shutdown(contextCancelled()) }()
	conn, err := net.Dial("tcp", server.Addrs()[0].Addr)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	port := origin.Addr().(*net.TCPAddr).AddrPort().Port()
	request := []byte("GET http://" + at(port, "example.com") + "/path HTTP/1.1\r\nHost: " + at(port, "example.com") +
		"\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
	answer := make([]byte, 4<<10)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
		if n, err := conn.Read(answer); err != nil || n < 17 || string(answer[9:12]) != "200" {
			b.Fatalf("%q, %v", answer[:n], err)
		}
	}
}

// answerAll answers each request, which comes in one piece, with the same.
func answerAll(conn net.Conn) {
	defer conn.Close()
	piece := make([]byte, 4<<10)
	for {
		if _, err := conn.Read(piece); err != nil {
			return
		}
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello"); err != nil {
			return
		}
	}
}

func contextCancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
