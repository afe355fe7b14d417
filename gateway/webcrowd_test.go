package gateway

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
)

// TestWebCrowd: one client cannot take every descriptor, others are served
// meanwhile, and a place is free again once its connection is closed.
func TestWebCrowd(t *testing.T) {
	s := newWebServer("test http", "127.0.0.1:0", func(ctx context.Context, config *net.ListenConfig, _, address string) (net.Listener, error) {
		return config.Listen(ctx, "tcp", address)
	}, http.NotFoundHandler(), zap.NewNop())
	s.server.ReadHeaderTimeout, s.server.ReadTimeout = 0, 0 // however slow the machine
	if err := s.listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.shutdown(t.Context()) })
	from := func(client string) net.Conn {
		t.Helper()
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}}
		conn, err := dialer.DialContext(t.Context(), "tcp", s.addresses()[0].Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		return conn
	}
	served := func(conn net.Conn) bool {
		t.Helper()
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
				t.Fatal(err)
			}
			return false
		}
		_ = response.Body.Close()
		return true
	}
	var held []net.Conn
	for range maxWebConnsClient {
		held = append(held, from("127.0.0.1"))
	}
	if served(from("127.0.0.1")) {
		t.Error("a client was served with all its places taken")
	}
	if !served(from("127.0.0.2")) {
		t.Error("another client was not served")
	}
	_ = held[0].Close()
	for deadline := time.Now().Add(20 * time.Second); !served(from("127.0.0.1")); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a place is not given back")
		}
	}
}

func TestWebClients(t *testing.T) {
	for remote, want := range map[string]string{
		"10.4.7.7":             "10.4.7.7",
		"::ffff:10.4.7.7":      "10.4.7.7",
		"2001:db8:1:2:a:b:c:d": "2001:db8:1:2::",
		"fe80::1%eth0":         "fe80::",
	} {
		addr := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(remote), 1))
		if got := webClient(addr); got != netip.MustParseAddr(want) {
			t.Errorf("%s is client %s, want %s", remote, got, want)
		}
	}
}
