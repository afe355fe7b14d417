package ingress

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// name4 and name6 are socket addresses as the kernel writes them.
func name4(addr string, port uint16) []byte {
	b := binary.NativeEndian.AppendUint16(nil, unix.AF_INET)
	b = binary.BigEndian.AppendUint16(b, port)
	return append(b, netip.MustParseAddr(addr).AsSlice()...)
}

func name6(addr string, port uint16, scope uint32) []byte {
	b := binary.NativeEndian.AppendUint16(nil, unix.AF_INET6)
	b = binary.BigEndian.AppendUint16(b, port)
	b = append(b, 0xff, 0xff, 0xff, 0xff) // flow
	a := netip.MustParseAddr(addr).As16()
	return binary.NativeEndian.AppendUint32(append(b, a[:]...), scope)
}

func TestBatchPeer(t *testing.T) {
	loopback := 1
	in, err := net.InterfaceByIndex(loopback)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name []byte
		want string
	}{
		{name4("192.0.2.1", 53), "192.0.2.1:53"},
		{name4("192.0.2.1", 0x1234), "192.0.2.1:4660"},
		{name6("2001:db8::1", 65535, 0), "[2001:db8::1]:65535"},
		{name6("2001:db8::1", 1, 7), "[2001:db8::1]:1"}, // a zone only where it matters
		{name6("::ffff:192.0.2.1", 53, 0), "192.0.2.1:53"},
		{name6("fe80::1", 53, uint32(loopback)), "[fe80::1%" + in.Name + "]:53"},
		{name6("fe80::1", 53, 1<<30), "[fe80::1%1073741824]:53"},
		{[]byte{0, 0, 1, 2, 3, 4}, "invalid AddrPort"},
	}
	b := newBatch(2, false)
	for _, tt := range tests {
		clear(b.names)
		copy(b.names[nameSlot:], tt.name)
		if got := b.peer(1).String(); got != tt.want {
			t.Errorf("% x is %s, want %s", tt.name, got, tt.want)
		}
	}
	allocations := testing.AllocsPerRun(100, func() {
		copy(b.names, tests[5].name)
		b.peer(0)
	})
	if allocations != 0 {
		t.Errorf("%v allocations for an address with a zone that is known", allocations)
	}
}

func TestZonesAreBounded(t *testing.T) {
	var z zones
	for i := range uint32(3 * maxZones) {
		if got, want := z.name(1<<30+i), strconv.Itoa(1<<30+int(i)); got != want {
			t.Fatalf("zone %q, want %q", got, want)
		}
	}
	if len(z.names) > maxZones {
		t.Errorf("%d names kept", len(z.names))
	}
}

// controlMessage writes one as the kernel does, without padding at its end.
func controlMessage(level, kind int32, info []byte) []byte {
	b := make([]byte, unix.CmsgLen(len(info)))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(len(info)))
	copy(b[unix.CmsgLen(0):], info)
	return b
}

func info4(index uint32, local, dst string) []byte {
	b := binary.NativeEndian.AppendUint32(nil, index)
	b = append(b, netip.MustParseAddr(local).AsSlice()...)
	return append(b, netip.MustParseAddr(dst).AsSlice()...)
}

func info6(dst string, index uint32) []byte {
	a := netip.MustParseAddr(dst).As16()
	return binary.NativeEndian.AppendUint32(a[:], index)
}

func TestSourceControl(t *testing.T) {
	tests := []struct {
		name     string
		in, want []byte
		many     bool // it was not for us alone
	}{
		{name: "v4",
			in:   controlMessage(unix.IPPROTO_IP, unix.IP_PKTINFO, info4(7, "192.0.2.1", "192.0.2.1")),
			want: controlMessage(unix.IPPROTO_IP, unix.IP_PKTINFO, info4(0, "192.0.2.1", "192.0.2.1"))},
		{name: "v4 broadcast", many: true,
			in:   controlMessage(unix.IPPROTO_IP, unix.IP_PKTINFO, info4(7, "192.0.2.1", "192.0.2.255")),
			want: controlMessage(unix.IPPROTO_IP, unix.IP_PKTINFO, info4(0, "192.0.2.1", "192.0.2.255"))},
		{name: "v6",
			in:   controlMessage(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, info6("2001:db8::1", 7)),
			want: controlMessage(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, info6("2001:db8::1", 0))},
		{name: "v6 link-local",
			in:   controlMessage(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, info6("fe80::1", 7)),
			want: controlMessage(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, info6("fe80::1", 7))},
		{name: "v4 in v6",
			in:   controlMessage(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, info6("::ffff:192.0.2.1", 7)),
			want: controlMessage(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, info6("::ffff:192.0.2.1", 0))},
		{name: "v6 multicast", many: true,
			in:   controlMessage(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, info6("ff02::1", 7)),
			want: controlMessage(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, info6("ff02::1", 0))},
		{name: "v4 multicast in v6", many: true,
			in:   controlMessage(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, info6("::ffff:224.0.0.1", 7)),
			want: controlMessage(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, info6("::ffff:224.0.0.1", 0))},
		{name: "another kind", in: controlMessage(unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT, []byte{1, 0, 0, 0})},
		{name: "another length", in: controlMessage(unix.IPPROTO_IP, unix.IP_PKTINFO, []byte{1, 0, 0, 0})},
		{name: "cut off", in: controlMessage(unix.IPPROTO_IP, unix.IP_PKTINFO, info4(7, "192.0.2.1", "192.0.2.1"))[:20]},
		{name: "a length that is none", in: make([]byte, unix.CmsgLen(4))},
		{name: "nothing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, unicast := sourceControl(tt.in)
			if got := tt.in[:n]; !bytes.Equal(got, tt.want) || unicast == tt.many {
				t.Errorf("% x (unicast %v), want % x (%v)", got, unicast, tt.want, !tt.many)
			}
		})
	}
}

// TestUDPIgnoresBroadcasts sends a query to 127.255.255.255, which each socket
// gets.
func TestUDPIgnoresBroadcasts(t *testing.T) {
	var shed shedCount
	l := listen(t, "0.0.0.0:0", UDPConfig{Sockets: 3, Shed: shed.count})
	door := &fakeDoor{}
	serve(t, l, door)
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	all := netip.AddrPortFrom(netip.MustParseAddr("127.255.255.255"), l.local.Port())
	if _, err := conn.WriteToUDPAddrPort([]byte("query"), all); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all have shed it", func() bool { return shed.of(ShedMalformed) == 3 })
	if n := door.tried.Load(); n != 0 {
		t.Errorf("%d were tried", n)
	}
}

// TestUDPSocketsShareTheLoad asks from many ports, and all readers get some.
func TestUDPSocketsShareTheLoad(t *testing.T) {
	const sockets = 3
	l := listen(t, "127.0.0.1:0", UDPConfig{Sockets: sockets})
	if len(l.sockets) != sockets {
		t.Fatalf("%d sockets, want %d", len(l.sockets), sockets)
	}
	door := &fakeDoor{}
	serve(t, l, door)
	for range 100 { // one in 10^17 leaves a socket out
		conn := dial(t, l, "127.0.0.1")
		send(t, conn, "query")
		receive(t, conn)
	}
	if n := door.desks.Load(); n != sockets {
		t.Errorf("%d readers have read, want %d", n, sockets)
	}
}

// TestUDPCountsDrops sends more than fits into a small buffer that nobody
// reads.
func TestUDPCountsDrops(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			const queries = 500
			l := listen(t, "127.0.0.1:0", UDPConfig{Sockets: 1, ReceiveBuffer: 4096, plain: plain})
			if n := l.Dropped(); n != 0 {
				t.Errorf("%d dropped from the start", n)
			}
			conn := dial(t, l, "127.0.0.1")
			for range queries {
				send(t, conn, "query")
			}
			dropped := l.Dropped()
			if dropped == 0 || dropped >= queries {
				t.Errorf("%d dropped of %d", dropped, queries)
			}
			if again := l.Dropped(); again != dropped {
				t.Errorf("%d dropped, then %d", dropped, again)
			}
			l.Close()
			if closed := l.Dropped(); closed != dropped {
				t.Errorf("%d dropped, and %d once closed", dropped, closed)
			}
		})
	}
}

// TestUDPOptions looks at what the kernel has been told.
func TestUDPOptions(t *testing.T) {
	needIPv6(t)
	tests := []struct {
		listen       string
		sockets      int
		info4, info6 int
		share        int
	}{
		{listen: "127.0.0.1:0", sockets: 1, share: 0},
		{listen: "127.0.0.1:0", sockets: 2, share: 1},
		{listen: "0.0.0.0:0", sockets: 2, info4: 1, share: 1},
		{listen: "[::]:0", sockets: 2, info6: 1, share: 1},
		{listen: ":0", sockets: 2, info6: 1, share: 1},
		{listen: "[::1]:0", sockets: 2, share: 1},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s %d", tt.listen, tt.sockets), func(t *testing.T) {
			l := listen(t, tt.listen, UDPConfig{Sockets: tt.sockets, ReceiveBuffer: 1 << 16})
			for i, s := range l.sockets {
				err := s.(*batchSocket).raw.Control(func(fd uintptr) {
					get := func(level, option, want int, name string) {
						t.Helper()
						if got, err := unix.GetsockoptInt(int(fd), level, option); err != nil || got != want {
							t.Errorf("socket %d: %s is %d (%v), want %d", i, name, got, err, want)
						}
					}
					get(unix.SOL_SOCKET, unix.SO_REUSEPORT, tt.share, "SO_REUSEPORT")
					get(unix.SOL_SOCKET, unix.SO_RCVBUF, 2<<16, "SO_RCVBUF") // the kernel doubles it
					get(unix.SOL_SOCKET, unix.SO_SNDBUF, 2<<16, "SO_SNDBUF")
					get(unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_OMIT, "IP_MTU_DISCOVER")
					if tt.listen[0] == '[' || tt.listen[0] == ':' {
						get(unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_OMIT, "IPV6_MTU_DISCOVER")
						get(unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, tt.info6, "IPV6_RECVPKTINFO")
					} else {
						get(unix.IPPROTO_IP, unix.IP_PKTINFO, tt.info4, "IP_PKTINFO")
					}
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestUDPFullDevice has the kernel take nothing for a while, which no loopback
// does: the send callback says so in its stead.
func TestUDPFullDevice(t *testing.T) {
	tests := []struct {
		name   string
		full   int // how often the device is full; -1: for good
		unsent uint64
	}{
		{name: "for a moment", full: 1},
		{name: "for good", full: -1, unsent: 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := listen(t, "127.0.0.1:0", UDPConfig{Sockets: 1})
			s := l.sockets[0].(*batchSocket)
			var full atomic.Int32
			full.Store(int32(tt.full))
			really := s.send
			s.send = func(fd uintptr) bool {
				switch n := full.Load(); {
				case n == 0:
					return really(fd)
				case n > 0:
					full.Add(-1)
				}
				s.errno = unix.EAGAIN
				return !s.patient
			}
			conn := dial(t, l, "127.0.0.1")
			for i := range 3 {
				send(t, conn, fmt.Sprintf("i%d", i))
			}
			serve(t, l, &fakeDoor{})
			if tt.full < 0 {
				eventually(t, "the replies are given up", func() bool { return l.Unsent() == tt.unsent })
				full.Store(0)
				send(t, conn, "i3") // after that it works again
			}
			for i := int(tt.unsent); i < 3; i++ {
				if reply, want := receive(t, conn), fmt.Sprintf("i%d", i); reply != want {
					t.Errorf("heard %q, want %q", reply, want)
				}
			}
			if tt.full < 0 {
				if reply := receive(t, conn); reply != "i3" {
					t.Errorf("heard %q after the device was full", reply)
				}
			}
			if n := l.Unsent(); n != tt.unsent {
				t.Errorf("%d unsent, want %d", n, tt.unsent)
			}
		})
	}
}

// blaster is a client that asks in batches from one port.
type blaster struct {
	conn   *net.UDPConn
	batch  *batch
	window int
}

func newBlaster(b *testing.B, l *UDPListener, window int) *blaster {
	c := &blaster{conn: dial(b, l, "127.0.0.1"), batch: newBatch(window, false), window: window}
	for i := range window {
		c.batch.replies[i].header.Iov.Base = &c.batch.queryMemory[i*querySlot]
		c.batch.replies[i].header.Iov.SetLen(60)
		c.batch.received[i].header.Name = nil
	}
	return c
}

// run asks and hears n times, with a window of queries under way.
func (c *blaster) run(b *testing.B, n *atomic.Int64) {
	raw, err := c.conn.SyscallConn()
	if err != nil {
		b.Error(err)
		return
	}
	var sent, got int
	ask := func(fd uintptr) bool { sent, _ = c.batch.send(fd, 0); return sent > 0 }
	hear := func(fd uintptr) bool { got, _ = c.batch.receive(fd); return got > 0 }
	c.batch.replied = c.window
	for n.Load() > 0 {
		if err := raw.Write(ask); err != nil {
			b.Error(err)
			return
		}
		for heard := 0; heard < sent; heard += got {
			if err := raw.Read(hear); err != nil {
				b.Error(err)
				return
			}
			n.Add(int64(-got))
		}
	}
}

// BenchmarkUDPEcho echoes queries of 60 bytes; the clients, in the same
// process, cost about as much.
func BenchmarkUDPEcho(b *testing.B) {
	for _, worker := range []bool{false, true} {
		b.Run(fmt.Sprintf("worker=%v", worker), func(b *testing.B) {
			l := listen(b, "127.0.0.1:0", UDPConfig{})
			serve(b, l, &fakeDoor{})
			var clients []*blaster
			for range 4 {
				c := newBlaster(b, l, 32)
				_ = c.conn.SetDeadline(time.Now().Add(time.Minute))
				if worker {
					for i := range c.window {
						c.batch.queryMemory[i*querySlot] = 'w'
					}
				}
				clients = append(clients, c)
			}
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			var running sync.WaitGroup
			for _, c := range clients {
				running.Go(func() { c.run(b, &left) })
			}
			running.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "queries/s")
		})
	}
}
