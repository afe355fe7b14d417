package e2e

import (
	"net"
	"strconv"
	"testing"
)

// freePort finds a port that is free for UDP and TCP on 127.0.0.1. Somebody
// may take it before it is used: callers try again.
func freePort(t *testing.T) int {
	t.Helper()
	for range 50 {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		tcp.Close()
		if err != nil {
			continue
		}
		udp.Close()
		return tcp.Addr().(*net.TCPAddr).Port
	}
	t.Fatal("no port is free for both UDP and TCP")
	return 0
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
