package ingress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"golang.org/x/sys/unix"
)

// kept are the sockets that one Set opened, for another to have them too.
type kept struct {
	mu    sync.Mutex
	files map[string][]*os.File // by name and address
}

// keep gives a Set sockets, and remembers them.
func (k *kept) keep() Sockets {
	return Sockets{
		TCP: func(ctx context.Context, config *net.ListenConfig, name, address string) (net.Listener, error) {
			l, err := config.Listen(ctx, "tcp", address)
			if err != nil {
				return nil, err
			}
			return l, k.add(name+" "+l.Addr().String(), l.(syscall.Conn))
		},
		UDP: func(ctx context.Context, config *net.ListenConfig, name, network, address string) ([]net.PacketConn, bool, error) {
			conn, err := config.ListenPacket(ctx, network, address)
			if err != nil {
				return nil, false, err
			}
			return []net.PacketConn{conn}, false, k.add(name+" "+conn.LocalAddr().String(), conn.(syscall.Conn))
		},
		QUIC: func(ctx context.Context, config *net.ListenConfig, name, address string) (net.PacketConn, error) {
			conn, err := config.ListenPacket(ctx, "udp", address)
			if err != nil {
				return nil, err
			}
			return conn, k.add(name+" "+conn.LocalAddr().String(), conn.(syscall.Conn))
		},
	}
}

func (k *kept) add(what string, socket syscall.Conn) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var fd int
	if controlErr := raw.Control(func(original uintptr) {
		fd, err = unix.FcntlInt(original, unix.F_DUPFD_CLOEXEC, 0)
	}); controlErr != nil || err != nil {
		return errors.Join(controlErr, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.files[what] = append(k.files[what], os.NewFile(uintptr(fd), what))
	return nil
}

// passOn gives another Set what was kept.
func (k *kept) passOn() Sockets {
	one := func(what string) (*os.File, error) {
		if len(k.files[what]) != 1 {
			return nil, fmt.Errorf("there are %d sockets for %s", len(k.files[what]), what)
		}
		return k.files[what][0], nil
	}
	return Sockets{
		TCP: func(_ context.Context, _ *net.ListenConfig, name, address string) (net.Listener, error) {
			file, err := one(name + " " + address)
			if err != nil {
				return nil, err
			}
			return net.FileListener(file)
		},
		UDP: func(_ context.Context, _ *net.ListenConfig, name, _, address string) (conns []net.PacketConn, inherited bool, err error) {
			for _, file := range k.files[name+" "+address] {
				conn, err := net.FilePacketConn(file)
				if err != nil {
					return nil, true, err
				}
				conns = append(conns, conn)
			}
			return conns, true, nil
		},
		QUIC: func(_ context.Context, _ *net.ListenConfig, name, address string) (net.PacketConn, error) {
			file, err := one(name + " " + address)
			if err != nil {
				return nil, err
			}
			return net.FilePacketConn(file)
		},
	}
}

func (k *kept) close() {
	for _, files := range k.files {
		for _, file := range files {
			_ = file.Close()
		}
	}
}

// TestSetsShareSockets opens a second Set with the sockets of the first, which
// leaves: the second answers what comes, on every socket, and those who are
// connected to the first may ask on.
func TestSetsShareSockets(t *testing.T) {
	const sockets = 3
	k := &kept{files: map[string][]*os.File{}}
	defer k.close()
	first := openSet(t, func(c *Config, d *Dependencies) { c.UDPSockets, d.Sockets = sockets, k.keep() })
	tcp, err := net.Dial("tcp", first.address(t, "dns tcp"))
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	secured, err := dialTLS(t, first.address(t, "dns tls"), first.tls("dot"))
	if err != nil {
		t.Fatal(err)
	}
	early, err := net.Dial("tcp", first.address(t, "dns tls")) // has not begun its handshake
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	bound := first.dialDoQ(t, nil)
	eventually(t, "all are inside", func() bool { return first.Conns(TCP) == 1 && first.Conns(TLS) == 2 && first.Conns(QUIC) == 1 })

	first.Leave()
	select {
	case <-bound.Context().Done():
	case <-time.After(patience):
		t.Fatal("the connection by QUIC goes on")
	}
	var told *quic.ApplicationError
	if err := context.Cause(bound.Context()); !errors.As(err, &told) || told.ErrorCode != doqNoError {
		t.Errorf("the connection by QUIC ends with %v", err)
	}
	for id, conn := range []net.Conn{tcp, secured} {
		sendAll(t, conn, framesOf(packQuestion(t, uint16(id), "now.example")))
		if reply := receiveFrame(t, conn); replyID(reply) != uint16(id) {
			t.Errorf("connection %d got the reply to %d", id, replyID(reply))
		}
	}

	// Queries that come while nobody reads wait, whichever socket they are in.
	var waiting []*dns.Conn
	for range 40 {
		conn, err := dns.Dial("udp", first.address(t, "dns udp"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.WriteMsg(new(dns.Msg).SetQuestion("now.example.", dns.TypeA)); err != nil {
			t.Fatal(err)
		}
		waiting = append(waiting, conn)
	}
	second := openSet(t, func(c *Config, d *Dependencies) {
		c.Listen = []string{first.address(t, "dns udp")}
		c.TLS.Listen = []string{first.address(t, "dns tls")}
		c.HTTPS.Listen = []string{first.address(t, "dns https")}
		c.QUIC.Listen = []string{first.address(t, "dns quic")}
		c.UDPSockets, d.Sockets = 1, k.passOn()
	})
	for _, conn := range waiting {
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := conn.ReadMsg(); err != nil {
			t.Fatalf("a query that waited: %v", err)
		}
	}
	if n := len(second.udp[0].sockets); n != len(k.files["dns udp "+first.address(t, "dns udp")]) {
		t.Errorf("%d sockets are read", n)
	}
	if _, reply := second.get(t, second.webClient(true, nil), packQuestion(t, 0, "now.example")); len(reply) == 0 {
		t.Error("no reply by HTTPS")
	}
	second.dialDoQ(t, nil)
	client := dns.Client{Net: "tcp"}
	if _, _, err := client.Exchange(new(dns.Msg).SetQuestion("now.example.", dns.TypeA), first.address(t, "dns tcp")); err != nil {
		t.Error(err)
	}
	if second.Conns(TCP) > 1 || first.Conns(TCP) != 1 {
		t.Errorf("%d connections by TCP are the first one's and %d the second's", first.Conns(TCP), second.Conns(TCP))
	}

	select {
	case <-first.done:
		t.Fatal("the first has ended with clients connected")
	default:
	}
	_ = tcp.Close()
	_ = secured.Close()
	_ = early.Close()
	<-first.done
}

// TestInheritedDropsAreNotOurs counts what the kernel drops from when a socket
// is taken over.
func TestInheritedDropsAreNotOurs(t *testing.T) {
	k := &kept{files: map[string][]*os.File{}}
	defer k.close()
	first := listen(t, "127.0.0.1:0", UDPConfig{Sockets: 1, ReceiveBuffer: 4096, From: k.keep()})
	conn := dial(t, first, "127.0.0.1")
	big := string(make([]byte, 2000))
	eventually(t, "packets are dropped", func() bool {
		send(t, conn, big)
		return first.Dropped() > 0
	})
	second := listen(t, first.local.String(), UDPConfig{Sockets: 1, From: k.passOn()})
	if n := second.Dropped(); n != 0 {
		t.Errorf("%d packets were dropped before anything came", n)
	}
}

// TestInheritedRoomIsKept takes a socket over to which somebody has given more
// room than we would ask for, or could.
func TestInheritedRoomIsKept(t *testing.T) {
	k := &kept{files: map[string][]*os.File{}}
	defer k.close()
	first := listen(t, "127.0.0.1:0", UDPConfig{Sockets: 1, ReceiveBuffer: 1 << 17, From: k.keep()})
	second := listen(t, first.local.String(), UDPConfig{Sockets: 1, ReceiveBuffer: 1 << 12, From: k.passOn()})
	raw, err := second.sockets[0].(*batchSocket).conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if room, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF); err != nil || room < 1<<17 {
			t.Errorf("it has room for %d bytes, %v", room, err)
		}
	}); err != nil {
		t.Fatal(err)
	}
}
