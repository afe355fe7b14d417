package dnsfilter

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
	"github.com/sallyport/sallyport/dnsfilter/ingress"
	"github.com/sallyport/sallyport/policy"
)

// rawQuery is a query for zoom.us A with EDNS.
func rawQuery() []byte {
	m := withEDNS(query("zoom.us", dns.TypeA), 1232, false)
	m.Id = 0x1234
	wire, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return wire
}

func TestALabelWithADotIsNotAName(t *testing.T) {
	o := openDoor(t, memo(policy.Rule{}), nil, newZone(t))
	o.ask(query(`zoom\.us`, dns.TypeA))
	if d := o.lastDecision(); d.Verdict.Action.Refuses() || d.Host.Name() != `zoom\046us` {
		t.Errorf("recorded %q, %v", d.Host, d.Verdict.Action)
	}
}

// Whatever comes in: no panic, and the reply, if there is one, is a well-formed
// message with the query's id and question that fits its transport.
func FuzzHandlePacket(f *testing.F) {
	for at := range rawQuery() {
		broken := rawQuery()
		broken[at] ^= 0xFF
		f.Add(broken, at%2 == 0)
		f.Add(rawQuery()[:at], false)
	}
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeHTTPS, dns.TypeANY, dns.TypeTXT} {
		for _, name := range []string{"zoom.us", "localhost", "use-application-dns.net", "allowed.example", `q\000\.x`, "."} {
			m := query(name, qtype)
			wire, err := m.Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(wire, qtype == dns.TypeA)
		}
	}
	for mode := policy.AnswerNull; mode <= policy.AnswerPage; mode++ {
		wire := rawQuery()
		f.Add(append(wire, byte(mode)), false)
	}
	up := fuzzDoor(f)
	f.Fuzz(func(t *testing.T, wire []byte, tcp bool) {
		transport := ingress.UDP
		if tcp {
			transport = ingress.TCP
		}
		before := up.panics()
		reply := respond(up.handler, wire, transport)
		if up.panics() != before {
			t.Fatal("a recovered panic")
		}
		if reply == nil {
			if len(wire) >= dnswire.HeaderBytes && wire[2]&0x80 == 0 {
				t.Fatal("a query without a reply")
			}
			return
		}
		var m dns.Msg
		if err := m.Unpack(reply); err != nil {
			t.Fatalf("reply %x: %v", reply, err)
		}
		if m.Id != binary.BigEndian.Uint16(wire) || !m.Response {
			t.Fatalf("reply %v to %x", m.MsgHdr, wire)
		}
		if !tcp && len(reply) > dnswire.UDPPayload {
			t.Fatalf("%d bytes over UDP", len(reply))
		}
		if len(m.Question) == 1 {
			_, end, _ := dnswire.ReadName(wire, dnswire.HeaderBytes)
			if !bytes.Equal(reply[dnswire.HeaderBytes:end+4], wire[dnswire.HeaderBytes:end+4]) {
				t.Fatalf("question %x, want %x", reply[dnswire.HeaderBytes:end+4], wire[dnswire.HeaderBytes:end+4])
			}
		}
	})
}

// fuzzDoor is a door without sockets: its upstream is a func.
func fuzzDoor(f *testing.F) *fuzzedDoor {
	var panics int
	server, err := New(Config{
		Clients: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Upstreams: []string{"127.0.0.1:9"}, CacheBytes: 1 << 16,
	}, Dependencies{
		Decider: memo(policy.Rule{Reason: strings.Repeat("Datenschutz und \u00dc\u00dc\n", 40)}),
		Identify: func(a netip.Addr, _ *Peer) policy.Subject {
			return policy.Subject{Identity: policy.Identity{Addr: a}}
		},
		Record: func(*policy.Decision) {},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { server.Shutdown(context.Background()) })
	clk := newClock()
	server.lookups.flights.fetch = func(_ context.Context, packed string) (*entry, error) {
		key := unpackKey(packed)
		m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true}}
		m.Question = []dns.Question{{Name: dns.Fqdn(dnswire.CanonicalName(key.name)), Qtype: key.qtype, Qclass: dns.ClassINET}}
		for range 100 {
			m.Answer = append(m.Answer, &dns.TXT{
				Hdr: dns.RR_Header{Name: m.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60},
				Txt: []string{"some text"},
			})
		}
		return digest(m, key, ttlBounds{max: maxTTL, maxNegative: maxTTL}, clk.Now())
	}
	return &fuzzedDoor{Server: server, panics: func() int {
		panics = int(counterValue(server.handler.metrics.panics))
		return panics
	}}
}

type fuzzedDoor struct {
	*Server
	panics func() int
}
