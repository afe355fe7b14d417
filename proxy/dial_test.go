package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
)

func addresses(texts ...string) []netip.Addr {
	var list []netip.Addr
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

func TestAlternate(t *testing.T) {
	for _, test := range []struct{ in, want []netip.Addr }{
		{nil, nil},
		{addresses("1.1.1.1"), addresses("1.1.1.1")},
		{addresses("1.1.1.1", "1.1.1.2", "::2", "::3"), addresses("1.1.1.1", "::2", "1.1.1.2", "::3")},
		{addresses("::2", "::3", "::4", "1.1.1.1"), addresses("::2", "1.1.1.1", "::3", "::4")},
		{addresses("1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4", "1.0.0.5", "1.0.0.6", "1.0.0.7", "1.0.0.8", "1.0.0.9"),
			addresses("1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4", "1.0.0.5", "1.0.0.6", "1.0.0.7", "1.0.0.8")},
	} {
		if got := alternate(test.in); !slices.Equal(got, test.want) {
			t.Errorf("alternate(%v) = %v, want %v", test.in, got, test.want)
		}
	}
}

// A dead address is no obstacle while another one of the name's lives.
func TestRaceTriesTheNextAddress(t *testing.T) {
	where := originAt(t, "127.0.0.3:0", func(conn *net.TCPConn) { _, _ = conn.Write([]byte("third")) })
	conn, err := race(t.Context(), addresses("127.0.0.1", "127.0.0.2", "127.0.0.3"), where.Port())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.RemoteAddr().String(); got != where.String() {
		t.Errorf("connected to %s", got)
	}
}

func TestRaceReportsWhyAllFailed(t *testing.T) {
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	_ = l.Close()
	if _, err := race(t.Context(), addresses("127.0.0.1", "127.0.0.2"), port); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v", err)
	}
	if _, err := race(t.Context(), nil, port); err == nil {
		t.Error("no address, and no error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := race(ctx, addresses("127.0.0.1", "127.0.0.2"), port); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
