package dnsfilter

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// fakeUpstream is a resolver that says what a test wants it to, over UDP and
// TCP on one port of 127.0.0.1.
type fakeUpstream struct {
	t        *testing.T
	addr     string
	udp, tcp atomic.Int64 // queries seen, those that were sent again once

	mu     sync.Mutex
	script script
	seen   []*dns.Msg
	sent   map[string]bool // packets over UDP, with where they came from
}

// script answers one query: with no packet, one or several. Over TCP each
// packet is framed.
type script func(query *dns.Msg, overTCP bool) [][]byte

func newUpstream(t *testing.T, s script) *fakeUpstream {
	t.Helper()
	var listener net.Listener
	var packets net.PacketConn
	for range 32 {
		var err error
		if packets, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if listener, err = net.Listen("tcp4", packets.LocalAddr().String()); err == nil {
			break
		}
		packets.Close()
	}
	if listener == nil {
		t.Fatal("no port is free in both UDP and TCP")
	}
	u := &fakeUpstream{t: t, addr: packets.LocalAddr().String(), script: s, sent: make(map[string]bool)}
	var running sync.WaitGroup
	running.Go(func() { u.serveUDP(packets) })
	running.Go(func() { u.serveTCP(listener) })
	t.Cleanup(func() {
		packets.Close()
		listener.Close()
		running.Wait()
	})
	return u
}

// newZone is an upstream with records in presentation form. Names that own
// none are NXDOMAIN, others NODATA, with an SOA of 300 seconds; aliases inside
// the zone are followed.
func newZone(t *testing.T, records ...string) *fakeUpstream {
	return newUpstream(t, zoneScript(t, records...))
}

func zoneScript(t *testing.T, records ...string) script {
	var zone []dns.RR
	for _, text := range records {
		r, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		zone = append(zone, r)
	}
	return func(q *dns.Msg, _ bool) [][]byte {
		reply := new(dns.Msg).SetReply(q)
		reply.RecursionAvailable = true
		name, known := q.Question[0].Name, false
		for hops := 0; hops < 20; hops++ {
			var alias string
			for _, r := range zone {
				if !strings.EqualFold(r.Header().Name, name) {
					continue
				}
				known = true
				kind := r.Header().Rrtype
				if kind == q.Question[0].Qtype || kind == dns.TypeCNAME {
					reply.Answer = append(reply.Answer, r)
				}
				if c, ok := r.(*dns.CNAME); ok && q.Question[0].Qtype != dns.TypeCNAME {
					alias = c.Target
				}
			}
			if alias == "" {
				break
			}
			name = alias
		}
		if !known {
			reply.Rcode = dns.RcodeNameError
		}
		if len(reply.Answer) == 0 {
			soa, _ := dns.NewRR(". 600 IN SOA ns.example. host.example. 1 2 3 4 300")
			reply.Ns = append(reply.Ns, soa)
		}
		return pack(t, reply)
	}
}

func pack(t *testing.T, m *dns.Msg) [][]byte {
	wire, err := m.Pack()
	if err != nil {
		t.Errorf("pack: %v", err)
	}
	return [][]byte{wire}
}

// silent never answers.
func silent(*dns.Msg, bool) [][]byte { return nil }

func (u *fakeUpstream) set(s script) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.script = s
}

func (u *fakeUpstream) queries() []*dns.Msg {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]*dns.Msg(nil), u.seen...)
}

func (u *fakeUpstream) answer(wire []byte, overTCP bool) [][]byte {
	q := new(dns.Msg)
	if err := q.Unpack(wire); err != nil {
		u.t.Errorf("the door sent a malformed query: %v", err)
		return nil
	}
	u.mu.Lock()
	s := u.script
	u.seen = append(u.seen, q)
	u.mu.Unlock()
	return s(q, overTCP)
}

// again counts a packet, and reports whether the same has come before: the door
// sends a query again where the answer takes long, which on a busy machine is
// none of a test's concern. Nothing is lost on the way here.
func (u *fakeUpstream) again(from net.Addr, packet []byte) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	key := from.String() + " " + string(packet)
	if u.sent[key] {
		return true
	}
	u.sent[key] = true
	u.udp.Add(1)
	return false
}

func (u *fakeUpstream) serveUDP(conn net.PacketConn) {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		buffer := make([]byte, 4096)
		n, from, err := conn.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if u.again(from, buffer[:n]) {
			continue
		}
		running.Go(func() {
			for _, packet := range u.answer(buffer[:n], false) {
				conn.WriteTo(packet, from)
			}
		})
	}
}

func (u *fakeUpstream) serveTCP(listener net.Listener) {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		running.Go(func() {
			defer conn.Close()
			for {
				var prefix [2]byte
				if _, err := io.ReadFull(conn, prefix[:]); err != nil {
					return
				}
				wire := make([]byte, binary.BigEndian.Uint16(prefix[:]))
				if _, err := io.ReadFull(conn, wire); err != nil {
					return
				}
				u.tcp.Add(1)
				for _, packet := range u.answer(wire, true) {
					frame := binary.BigEndian.AppendUint16(nil, uint16(len(packet)))
					conn.Write(append(frame, packet...))
				}
			}
		})
	}
}
