package dnsfilter

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/policy"
)

// rawQuery is a query for zoom.us A with EDNS, and change applied to its
// bytes.
func rawQuery(change func([]byte) []byte) []byte {
	m := withEDNS(query("zoom.us", dns.TypeA), 1232, false)
	m.Id = 0x1234
	wire, err := m.Pack()
	if err != nil {
		panic(err)
	}
	if change != nil {
		wire = change(wire)
	}
	return wire
}

func setting(at int, values ...byte) func([]byte) []byte {
	return func(b []byte) []byte { copy(b[at:], values); return b }
}

const zoomQuestionEnd = headerBytes + len("\x04zoom\x02us\x00") + 4

// malformed are packets and what they are answered with; rcodeDrop for
// nothing.
func malformed() map[string]struct {
	wire  []byte
	rcode int
} {
	type m = struct {
		wire  []byte
		rcode int
	}
	opt := []byte{0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0}
	return map[string]m{
		"well formed":            {rawQuery(nil), rcodeNoError},
		"empty":                  {nil, rcodeDrop},
		"eleven bytes":           {rawQuery(nil)[:11], rcodeDrop},
		"a response":             {rawQuery(setting(2, 0x80)), rcodeDrop},
		"a response, garbage":    {bytes.Repeat([]byte{0xFF}, 100), rcodeDrop},
		"header only":            {rawQuery(nil)[:12], rcodeFormErr},
		"notify":                 {rawQuery(setting(2, 4<<3)), rcodeNotImp},
		"update":                 {rawQuery(setting(2, 5<<3)), rcodeNotImp},
		"opcode 15":              {rawQuery(setting(2, 15<<3)), rcodeNotImp},
		"no question":            {rawQuery(func(b []byte) []byte { return append(setting(4, 0, 0)(b)[:12], b[zoomQuestionEnd:]...) }), rcodeFormErr},
		"two questions":          {rawQuery(setting(4, 0, 2)), rcodeFormErr},
		"many questions":         {rawQuery(setting(4, 0xFF, 0xFF)), rcodeFormErr},
		"name cut off":           {rawQuery(nil)[:16], rcodeFormErr},
		"type cut off":           {rawQuery(nil)[:zoomQuestionEnd-3], rcodeFormErr},
		"name with a pointer":    {rawQuery(setting(12, 0xC0, 0x0C)), rcodeFormErr},
		"label too long":         {rawQuery(setting(12, 0x7F)), rcodeFormErr},
		"an answer in it":        {rawQuery(setting(7, 1)), rcodeFormErr},
		"an authority in it":     {rawQuery(setting(9, 1)), rcodeFormErr},
		"OPT cut off":            {rawQuery(func(b []byte) []byte { return b[:len(b)-1] }), rcodeFormErr},
		"OPT counted, not there": {rawQuery(func(b []byte) []byte { return b[:zoomQuestionEnd] }), rcodeFormErr},
		"OPT with long options":  {rawQuery(func(b []byte) []byte { return append(b[:len(b)-2], 0xFF, 0xFF) }), rcodeFormErr},
		"two OPT":                {rawQuery(func(b []byte) []byte { b[11] = 2; return append(b, opt...) }), rcodeFormErr},
		"OPT with an owner":      {rawQuery(func(b []byte) []byte { return append(b[:zoomQuestionEnd], append([]byte{1, 'a'}, opt...)...) }), rcodeFormErr},
		"too many additional":    {rawQuery(setting(10, 0xFF, 0xFF)), rcodeFormErr},
		"bytes behind the end":   {rawQuery(func(b []byte) []byte { return append(b, 1, 2, 3) }), rcodeFormErr},
		"EDNS version 1":         {rawQuery(func(b []byte) []byte { b[len(b)-5] = 1; return b }), rcodeBadVers},
		"EDNS version 255":       {rawQuery(func(b []byte) []byte { b[len(b)-5] = 255; return b }), rcodeBadVers},
		"class CH":               {rawQuery(setting(zoomQuestionEnd-2, 0, 3)), rcodeRefused},
		"class ANY":              {rawQuery(setting(zoomQuestionEnd-2, 0, 255)), rcodeRefused},
		"type 0":                 {rawQuery(setting(zoomQuestionEnd-4, 0, 0)), rcodeNotImp},
		"type OPT":               {rawQuery(setting(zoomQuestionEnd-4, 0, 41)), rcodeNotImp},
		"AXFR":                   {rawQuery(setting(zoomQuestionEnd-4, 0, 252)), rcodeNotImp},
		"IXFR with an authority": {rawQuery(func(b []byte) []byte { return setting(9, 1)(setting(zoomQuestionEnd-4, 0, 251)(b)) }), rcodeNotImp},
		"oversized":              {rawQuery(func(b []byte) []byte { return append(b, make([]byte, 9000)...) }), rcodeFormErr},
	}
}

func TestHeaderChecks(t *testing.T) {
	o := openDoor(t, memo(policy.Rule{}), nil)
	for name, tt := range malformed() {
		t.Run(name, func(t *testing.T) {
			before := len(o.decisions())
			p := packet{wire: tt.wire, client: netip.MustParseAddrPort("127.0.0.1:4000")}
			wire := o.handler.respond(context.Background(), p, nil)
			if tt.rcode == rcodeDrop {
				if wire != nil {
					t.Errorf("answered %x", wire)
				}
				return
			}
			var reply dns.Msg
			if err := reply.Unpack(wire); err != nil {
				t.Fatalf("reply %x: %v", wire, err)
			}
			if reply.Rcode != tt.rcode || reply.Id != 0x1234 || !reply.Response || reply.Opcode != int(tt.wire[2]>>3&0xF) {
				t.Errorf("reply %v", reply.MsgHdr)
			}
			if len(reply.Question) == 1 && !bytes.Equal(wire[headerBytes:zoomQuestionEnd], tt.wire[headerBytes:zoomQuestionEnd]) {
				t.Errorf("question %v", reply.Question)
			}
			recorded := len(o.decisions()) - before
			if want := map[bool]int{true: 1}[tt.rcode == rcodeNoError]; recorded != want {
				t.Errorf("%d decisions recorded, want %d", recorded, want)
			}
		})
	}
	if n := o.metric("sallyport_dns_shed_total", "reason", "malformed"); n != 4 {
		t.Errorf("%v packets dropped, want 4", n)
	}
	if n := o.metric("sallyport_dns_queries_total", "rcode", "BADVERS"); n != 2 {
		t.Errorf("%v BADVERS counted, want 2", n)
	}
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
	for _, tt := range malformed() {
		f.Add(tt.wire, false)
		f.Add(tt.wire, true)
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
		wire := rawQuery(nil)
		f.Add(append(wire, byte(mode)), false)
	}
	up := fuzzDoor(f)
	f.Fuzz(func(t *testing.T, wire []byte, tcp bool) {
		p := packet{wire: wire, client: netip.MustParseAddrPort("127.0.0.1:4000")}
		if tcp {
			p.transport = transportTCP
		}
		before := up.panics()
		reply := up.handler.respond(context.Background(), p, make([]byte, 0, udpPayload))
		if up.panics() != before {
			t.Fatal("a recovered panic")
		}
		if reply == nil {
			if len(wire) >= headerBytes && wire[2]&0x80 == 0 {
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
		if !tcp && len(reply) > udpPayload {
			t.Fatalf("%d bytes over UDP", len(reply))
		}
		if len(m.Question) == 1 {
			_, end, _ := readName(wire, headerBytes)
			if !bytes.Equal(reply[headerBytes:end+4], wire[headerBytes:end+4]) {
				t.Fatalf("question %x, want %x", reply[headerBytes:end+4], wire[headerBytes:end+4])
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
		Identify: func(a netip.Addr) policy.Subject {
			return policy.Subject{Identity: policy.Identity{Addr: a}}
		},
		Record: func(*policy.Decision) {},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { server.Shutdown(context.Background()) })
	clk := newClock()
	server.lookups.flights.fetch = func(_ context.Context, key lookupKey) (*entry, error) {
		m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true}}
		m.Question = []dns.Question{{Name: dns.Fqdn(canonicalName(key.name)), Qtype: key.qtype, Qclass: dns.ClassINET}}
		for range 100 {
			m.Answer = append(m.Answer, &dns.TXT{
				Hdr: dns.RR_Header{Name: m.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60},
				Txt: []string{"some text"},
			})
		}
		return digest(m, key, clk.Now())
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
