package proxy

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// A client that is gone without a word is noticed, although nothing is set on
// its connection.
func TestAcceptedConnectionsAreProbed(t *testing.T) {
	probed := make(chan int, 1)
	d := open(t, func(c *Config, d *Dependencies) {
		c.Transparent.Listen = []string{"127.0.0.1:0"}
		d.Original = func(conn *net.TCPConn) (netip.AddrPort, error) {
			raw, _ := conn.SyscallConn()
			_ = raw.Control(func(fd uintptr) {
				on, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
				after, _ := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
				probed <- on * after
			})
			return netip.AddrPort{}, net.ErrClosed
		}
	})
	conn, err := net.Dial("tcp", d.Addrs()[1].Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, want := <-probed, int(keepAliveAfter.Seconds()); got != want {
		t.Errorf("probed after %d s, want %d", got, want)
	}
}
