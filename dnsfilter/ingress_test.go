package dnsfilter

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/policy"
)

func frame(wire []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...)
}

func dialDoor(t *testing.T, o *door) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", o.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(2 * patience))
	return conn.(*net.TCPConn)
}

func readFrame(t *testing.T, conn net.Conn) *dns.Msg {
	t.Helper()
	reply := new(dns.Msg)
	if wire := readWire(conn); wire == nil || reply.Unpack(wire) != nil {
		t.Fatalf("no reply, or a malformed one: %x", wire)
	}
	return reply
}

func readWire(conn net.Conn) []byte {
	var prefix [2]byte
	if _, err := io.ReadFull(conn, prefix[:]); err != nil {
		return nil
	}
	wire := make([]byte, binary.BigEndian.Uint16(prefix[:]))
	if _, err := io.ReadFull(conn, wire); err != nil {
		return nil
	}
	return wire
}

// awaitEnd fails unless the door closes the connection.
func awaitEnd(t *testing.T, conn net.Conn) {
	t.Helper()
	if n, err := conn.Read(make([]byte, 1)); n != 0 || os.IsTimeout(err) {
		t.Errorf("the connection is still open: %d bytes, %v", n, err)
	}
}

func TestListenBindsOnePortForBoth(t *testing.T) {
	o := openDoor(t, deciderFunc(allowAll), func(c *Config) { c.Listen = []string{"127.0.0.1:0", "127.0.0.2:0"} })
	addrs := o.Addrs()
	if len(addrs) != 4 {
		t.Fatalf("bound %v", addrs)
	}
	for i, want := range []string{"dns udp", "dns tcp", "dns udp", "dns tcp"} {
		if addrs[i].Name != want {
			t.Errorf("%d is %q, want %q", i, addrs[i].Name, want)
		}
	}
	if addrs[0].Addr != addrs[1].Addr || addrs[2].Addr != addrs[3].Addr || !strings.HasPrefix(addrs[2].Addr, "127.0.0.2:") {
		t.Errorf("bound %v", addrs)
	}
	if err := o.Listen(context.Background()); err == nil {
		t.Error("opened twice")
	}
}

func TestListenFailsWhole(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free := openDoor(t, deciderFunc(allowAll), nil)
	freed := free.addr
	free.Shutdown(context.Background())

	o := newDoor(t, deciderFunc(allowAll), func(c *Config) { c.Listen = []string{freed, taken.Addr().String()} })
	if err := o.Listen(context.Background()); err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("error %v, want one that names %s", err, taken.Addr())
	}
	if addrs := o.Addrs(); len(addrs) != 0 {
		t.Errorf("left open: %v", addrs)
	}
	again, err := net.Listen("tcp", freed)
	if err != nil {
		t.Fatalf("a listener was left open: %v", err)
	}
	again.Close()
	for _, bad := range []string{"127.0.0.1", "127.0.0.1:domainn", "nowhere"} {
		o := newDoor(t, deciderFunc(allowAll), func(c *Config) { c.Listen = []string{bad} })
		if err := o.Listen(context.Background()); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestWildcardRepliesFromTheAddressAsked(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", "[::]:0", ":0"} {
		t.Run(listen, func(t *testing.T) {
			o := newDoor(t, memo(policy.Rule{}), func(c *Config) {
				c.Listen = []string{listen}
				c.Clients = append(c.Clients, netip.MustParsePrefix("::1/128"))
			})
			if err := o.Listen(context.Background()); err != nil {
				t.Skipf("no such family here: %v", err)
			}
			_, port, err := net.SplitHostPort(o.Addrs()[0].Addr)
			if err != nil {
				t.Fatal(err)
			}
			hosts := []string{"127.0.0.1", "127.0.0.9"} // the second is not what routing would choose
			if listen != "0.0.0.0:0" && strings.HasPrefix(o.Addrs()[0].Addr, "[::]") {
				hosts = append(hosts, "::1")
			}
			for _, host := range hosts {
				// A connected client socket takes a reply from nowhere else.
				o.addr = net.JoinHostPort(host, port)
				if reply := o.ask(query("zoom.us", dns.TypeA)); len(reply.Answer) != 1 {
					t.Errorf("%s: %v", host, reply)
				}
				if d := o.lastDecision(); d.Client.Is4In6() {
					t.Errorf("client %v is not unmapped", d.Client)
				}
			}
		})
	}
}

func TestTCPPipelines(t *testing.T) {
	slow := make(chan struct{})
	zone := zoneScript(t, "slow.example. 60 IN A 192.0.2.1")
	up := newUpstream(t, func(q *dns.Msg, tcp bool) [][]byte { <-slow; return zone(q, tcp) })
	o := openDoor(t, memo(policy.Rule{}), nil, up)
	conn := dialDoor(t, o)
	first, second := query("slow.example", dns.TypeA), query("zoom.us", dns.TypeA)
	first.Id, second.Id = 1, 2
	for _, m := range []*dns.Msg{first, second} {
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range frame(wire) { // a byte at a time
			conn.Write([]byte{b})
		}
	}
	if reply := readFrame(t, conn); reply.Id != 2 {
		t.Errorf("reply to %d first, want the one that needs no upstream", reply.Id)
	}
	close(slow)
	if reply := readFrame(t, conn); reply.Id != 1 || len(reply.Answer) != 1 {
		t.Errorf("reply %v", reply)
	}
	// A client that is done writing still gets its answer.
	wire, _ := first.Pack()
	conn.Write(frame(wire))
	conn.CloseWrite()
	if reply := readFrame(t, conn); reply.Id != 1 {
		t.Errorf("reply %v", reply)
	}
	awaitEnd(t, conn)
}

func TestTCPMoreThanIsPipelined(t *testing.T) {
	o := openDoor(t, memo(policy.Rule{}), nil)
	conn := dialDoor(t, o)
	const queries = 160
	var all []byte
	for i := range queries {
		m := query("zoom.us", dns.TypeA)
		m.Id = uint16(i)
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, frame(wire)...)
	}
	go conn.Write(all)
	seen := make(map[uint16]bool)
	for range queries {
		seen[readFrame(t, conn).Id] = true
	}
	if len(seen) != queries {
		t.Errorf("%d of %d answered", len(seen), queries)
	}
}

func TestTCPGarbageEndsTheConnection(t *testing.T) {
	patient := openDoor(t, deciderFunc(allowAll), func(c *Config) { c.IdleTimeout = time.Minute })
	hasty := openDoor(t, deciderFunc(allowAll), func(c *Config) { c.IdleTimeout = 100 * time.Millisecond })
	for _, tt := range []struct {
		name  string
		door  *door
		bytes []byte
	}{
		{"zero length", patient, []byte{0, 0}},
		{"short of a header", patient, []byte{0, 5, 1, 2, 3, 4, 5}},
		{"far too long", patient, []byte{0xFF, 0xFF}},
		{"nothing", hasty, nil},
		{"half a length", hasty, []byte{0}},
		{"half a query", hasty, frame(rawQuery())[:20]},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn := dialDoor(t, tt.door)
			conn.Write(tt.bytes)
			awaitEnd(t, conn)
		})
	}
	if n := patient.settled(3, "sallyport_dns_shed_total", "reason", "malformed"); n != 3 {
		t.Errorf("%v counted, want 3", n)
	}
	response, twoQuestions := rawQuery(), rawQuery()
	response[2] |= 0x80
	twoQuestions[5] = 2
	conn := dialDoor(t, patient)
	conn.Write(frame(response)) // a response: no reply, no harm
	conn.Write(frame(twoQuestions))
	if reply := readFrame(t, conn); reply.Rcode != dns.RcodeFormatError {
		t.Errorf("reply %v", reply)
	}
}

func TestStrangersHoldNoConnection(t *testing.T) {
	o := openDoor(t, deciderFunc(allowAll), func(c *Config) { c.Clients = nil })
	conn := dialDoor(t, o)
	conn.Write(frame(rawQuery()))
	if reply := readFrame(t, conn); reply.Rcode != dns.RcodeRefused {
		t.Errorf("reply %v", reply)
	}
	awaitEnd(t, conn)
}

// Clients that may not ask cannot keep those out that may.
func TestStrangersDoNotFillTheDoor(t *testing.T) {
	o := openDoor(t, memo(policy.Rule{}), func(c *Config) {
		c.MaxConns = 32 // 8 a client, 2 for strangers
		c.Clients = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		c.IdleTimeout = time.Hour
	})
	for i := range 40 {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i))}}
		conn, err := dialer.Dial("tcp", o.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
	conn := dialDoor(t, o)
	conn.Write(frame(rawQuery()))
	readFrame(t, conn)
	// The client itself has one connection.
	eventually(t, "strangers to hold no more than two", func() bool {
		return o.metric("sallyport_dns_connections", "transport", "tcp")-1 <= 2
	})
}

func TestShutdownEndsIdleConnections(t *testing.T) {
	o := openDoor(t, memo(policy.Rule{}), func(c *Config) { c.IdleTimeout = time.Hour })
	conn := dialDoor(t, o)
	conn.Write(frame(rawQuery()))
	readFrame(t, conn)
	if err := o.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	awaitEnd(t, conn)
	if _, err := net.Dial("tcp", o.addr); err == nil {
		t.Error("the door is still open")
	}
}

func TestGarbageOverUDPDoesNoHarm(t *testing.T) {
	o := openDoor(t, memo(policy.Rule{}), nil)
	var done sync.WaitGroup
	for worker := range 4 {
		done.Go(func() {
			conn, err := net.Dial("udp", o.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for i := range 200 {
				packet := make([]byte, (i*worker*37)%9000)
				for j := range packet {
					packet[j] = byte(i * (j + worker))
				}
				if _, err := conn.Write(packet); err != nil && !strings.Contains(err.Error(), syscall.EMSGSIZE.Error()) {
					t.Error(err)
				}
			}
		})
	}
	done.Wait()
	// The kernel may have dropped a query among so much garbage: ask as
	// clients do, more than once.
	client := dns.Client{Timeout: 200 * time.Millisecond}
	eventually(t, "an answer after the garbage", func() bool {
		reply, _, err := client.Exchange(query("zoom.us", dns.TypeA), o.addr)
		return err == nil && len(reply.Answer) == 1
	})
	if n := o.settled(0, "sallyport_dns_panics_total"); n != 0 {
		t.Errorf("%v panics", n)
	}
}
