package upstream

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
)

// reply is what a fake resolver does about a query: it sends packets, framed on
// streams, and then may hang up. In between it may send bytes as they are.
type reply struct {
	packets [][]byte
	raw     []byte
	cut     bool
}

// script says how a fake resolver answers. transport is udp, tcp, https or
// quic; tcp also inside TLS.
type script func(q *dns.Msg, transport string) reply

// fake is a resolver that does what a test wants, on 127.0.0.1.
type fake struct {
	t       *testing.T
	addr    string
	queries sync.Map // transport -> *atomic.Int64
	conns   atomic.Int64

	mu     sync.Mutex
	script script
	seen   []*dns.Msg
	wire   [][]byte
	from   map[string]bool // client addresses, UDP
	sent   map[string]bool // packets with where they came from, UDP
	again  int             // of those, that came again
	live   map[net.Conn]bool
	ca     string
	hangUp func() // QUIC: ends all connections
}

func (f *fake) set(s script) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script = s
}

func (f *fake) count(transport string) int64 {
	n, _ := f.queries.LoadOrStore(transport, new(atomic.Int64))
	return n.(*atomic.Int64).Load()
}

func (f *fake) packets() [][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.wire)
}

func (f *fake) ports() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.from)
}

// repeats is how many queries over UDP were sent again.
func (f *fake) repeats() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.again
}

// note takes note of a query over UDP. One that was sent again, as is every
// query whose answer takes long on a busy machine, is counted apart.
func (f *fake) note(packet []byte, from net.Addr) (again bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.from[from.String()] = true
	key := from.String() + " " + string(packet)
	if f.sent[key] {
		f.again++
		return true
	}
	f.sent[key] = true
	return false
}

// cutAll ends every connection that is open.
func (f *fake) cutAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.live {
		c.Close()
	}
	if f.hangUp != nil {
		f.hangUp()
	}
}

func (f *fake) answer(wire []byte, transport string) reply {
	q := new(dns.Msg)
	if err := q.Unpack(wire); err != nil {
		f.t.Errorf("a malformed query: %v", err)
		return reply{}
	}
	f.mu.Lock()
	f.seen = append(f.seen, q)
	f.wire = append(f.wire, bytes.Clone(wire))
	f.mu.Unlock()
	n, _ := f.queries.LoadOrStore(transport, new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
	return f.play(q, transport)
}

// play does what the script says.
func (f *fake) play(q *dns.Msg, transport string) reply {
	f.mu.Lock()
	s := f.script
	f.mu.Unlock()
	return s(q, transport)
}

// zone answers from records in presentation form: NXDOMAIN with an SOA for
// names that it does not have.
func zone(t testing.TB, records ...string) script {
	var all []dns.RR
	for _, text := range records {
		r, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return func(q *dns.Msg, _ string) reply {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		known := false
		name := q.Question[0].Name
		for range len(all) {
			alias := ""
			for _, r := range all {
				if !strings.EqualFold(r.Header().Name, name) {
					continue
				}
				known = true
				c, isAlias := r.(*dns.CNAME)
				if isAlias {
					alias = c.Target
				}
				if isAlias || r.Header().Rrtype == q.Question[0].Qtype {
					m.Answer = append(m.Answer, dns.Copy(r))
				}
			}
			if alias == "" {
				break
			}
			name = alias
		}
		if !known {
			m.Rcode = dns.RcodeNameError
		}
		if len(m.Answer) == 0 {
			soa, _ := dns.NewRR(". 600 IN SOA ns.example. host.example. 1 2 3 4 300")
			m.Ns = append(m.Ns, soa)
		}
		m.Compress = true
		return reply{packets: [][]byte{pack(t, m)}}
	}
}

func readQuery(t testing.TB, wire []byte) *dns.Msg {
	q := new(dns.Msg)
	if err := q.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	return q
}

func pack(t testing.TB, m *dns.Msg) []byte {
	wire, err := m.Pack()
	if err != nil {
		t.Errorf("pack: %v", err)
	}
	return wire
}

func silent(*dns.Msg, string) reply { return reply{} }

// lie changes what a good resolver would answer.
type lie func(good []byte, q *dns.Msg, transport string) reply

func lying(t testing.TB, l lie) script {
	good := zone(t, "a.example. 600 IN A 192.0.2.1")
	return func(q *dns.Msg, transport string) reply {
		return l(good(q, transport).packets[0], q, transport)
	}
}

func one(packet []byte) reply { return reply{packets: [][]byte{packet}} }

func patched(good []byte, change func([]byte)) []byte {
	bad := bytes.Clone(good)
	change(bad)
	return bad
}

// questionEnd is where the question of a packet ends.
func questionEnd(packet []byte) int {
	_, end, _ := dnswire.ReadName(packet, dnswire.HeaderBytes)
	return end + 4
}

func withRcode(rcode int) lie {
	return func(good []byte, _ *dns.Msg, _ string) reply {
		return one(patched(good[:questionEnd(good)], func(b []byte) {
			b[3] = b[3]&^0xF | byte(rcode)
			clear(b[6:12])
		}))
	}
}

func newFake(t *testing.T, s script) *fake {
	return &fake{t: t, script: s, from: make(map[string]bool), sent: make(map[string]bool), live: make(map[net.Conn]bool)}
}

// newPlain is a fake on UDP and TCP, on one port.
func newPlain(t *testing.T, s script) *fake {
	t.Helper()
	f := newFake(t, s)
	var packets net.PacketConn
	var listener net.Listener
	for listener == nil {
		var err error
		if packets, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if listener, err = net.Listen("tcp4", packets.LocalAddr().String()); err != nil {
			packets.Close()
		}
	}
	f.addr = packets.LocalAddr().String()
	var running sync.WaitGroup
	running.Go(func() { f.serveUDP(packets) })
	running.Go(func() { f.serveStreams(listener) })
	t.Cleanup(func() {
		packets.Close()
		listener.Close()
		f.cutAll()
		running.Wait()
	})
	return f
}

// newTLS is a fake on TLS, with a certificate for the names.
func newTLS(t *testing.T, a *issuer, s script, names ...string) *fake {
	t.Helper()
	f := newFake(t, s)
	listener, err := tls.Listen("tcp4", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{a.issue(t, names...)}})
	if err != nil {
		t.Fatal(err)
	}
	f.addr = listener.Addr().String()
	var running sync.WaitGroup
	running.Go(func() { f.serveStreams(listener) })
	t.Cleanup(func() {
		listener.Close()
		f.cutAll()
		running.Wait()
	})
	return f
}

func (f *fake) serveUDP(conn net.PacketConn) {
	buffer := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		var r reply
		if f.note(buffer[:n], from) {
			r = f.play(readQuery(f.t, buffer[:n]), "udp")
		} else {
			r = f.answer(buffer[:n], "udp")
		}
		for _, packet := range r.packets {
			conn.WriteTo(packet, from)
		}
	}
}

func (f *fake) serveStreams(listener net.Listener) {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		f.conns.Add(1)
		f.mu.Lock()
		f.live[conn] = true
		f.mu.Unlock()
		running.Go(func() {
			f.serveStream(conn)
			conn.Close()
			f.mu.Lock()
			delete(f.live, conn)
			f.mu.Unlock()
		})
	}
}

func (f *fake) serveStream(conn net.Conn) {
	for {
		wire, err := readMessage(conn, nil)
		if err != nil {
			return
		}
		r := f.answer(wire, "tcp")
		for _, packet := range r.packets {
			if _, err := conn.Write(frame(packet)); err != nil {
				return
			}
		}
		conn.Write(r.raw)
		if r.cut {
			return
		}
	}
}

func frame(packet []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)
}
