package dnswire

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// unpack reads a reply with the library.
func unpack(t testing.TB, wire []byte) *dns.Msg {
	t.Helper()
	var m dns.Msg
	if err := m.Unpack(wire); err != nil {
		t.Fatalf("reply %x: %v", wire, err)
	}
	return &m
}

// option returns the option of a type in a reply.
func option[T dns.EDNS0](m *dns.Msg) (found T, ok bool) {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if found, ok = o.(T); ok {
				return found, true
			}
		}
	}
	return found, false
}

func read(t testing.TB, wire []byte) *Question {
	t.Helper()
	q := new(Question)
	if rcode := q.Read(wire); rcode != RcodeNoError {
		t.Fatalf("rcode %d", rcode)
	}
	return q
}

func TestReplyOptions(t *testing.T) {
	q := read(t, rawQuery(nil))
	o := ReplyOptions{
		HasCookie: true,
		Cookie:    [24]byte([]byte("clientckserver-cookie-16")),
		Keepalive: 12300 * time.Millisecond,
		Subnet:    netip.MustParsePrefix("198.51.100.0/22"),
		Pad:       true,
	}
	o.Error[0] = Extended(EDEBlocked, "why")
	o.Error[1] = ExtendedError{Set: true, Code: EDEForged}
	wire := ErrorReply(nil, q, 4096, RcodeBadCookie, &o)
	if len(wire)%468 != 0 {
		t.Errorf("%d bytes: not padded to a multiple of 468", len(wire))
	}
	m := unpack(t, wire)
	if m.Rcode != dns.RcodeBadCookie {
		t.Errorf("rcode %d", m.Rcode)
	}
	if c, ok := option[*dns.EDNS0_COOKIE](m); !ok || c.Cookie != hexOf(o.Cookie[:]) {
		t.Errorf("cookie %v", c)
	}
	if k, ok := option[*dns.EDNS0_TCP_KEEPALIVE](m); !ok || k.Timeout != 123 {
		t.Errorf("keepalive %v", k)
	}
	if s, ok := option[*dns.EDNS0_SUBNET](m); !ok || s.SourceNetmask != 22 || s.SourceScope != 22 || s.Address.String() != "198.51.100.0" {
		t.Errorf("subnet %v", s)
	}
	var codes []uint16
	for _, x := range m.IsEdns0().Option {
		if e, ok := x.(*dns.EDNS0_EDE); ok {
			codes = append(codes, e.InfoCode)
		}
	}
	if len(codes) != 2 || codes[0] != EDEBlocked || codes[1] != EDEForged {
		t.Errorf("extended errors %v", codes)
	}
}

func TestReplyFitsItsLimit(t *testing.T) {
	q := read(t, rawQuery(nil))
	long := strings.Repeat("x", MaxExtraText)
	for _, tt := range []struct {
		name     string
		limit    int
		records  int
		tc, text bool
	}{
		{"all fits", 1232, 1, false, true},
		{"the text goes first", 512, 20, false, false},
		{"then the records", 512, 60, true, false},
	} {
		msg := StartReply(nil, q, RcodeNoError)
		for range tt.records {
			msg = AppendAddress(msg, netip.MustParseAddr("192.0.2.1"), 30)
		}
		o := ReplyOptions{Pad: true}
		o.Error[0] = Extended(EDEBlocked, long)
		wire := FinishReply(msg, q, tt.limit, RcodeNoError, &o)
		if len(wire) > tt.limit {
			t.Errorf("%s: %d bytes", tt.name, len(wire))
		}
		m := unpack(t, wire)
		e, _ := option[*dns.EDNS0_EDE](m)
		if m.Truncated != tt.tc || (e != nil && e.ExtraText == long) != tt.text || e == nil {
			t.Errorf("%s: TC %v, %v", tt.name, m.Truncated, e)
		}
		if !tt.tc && len(m.Answer) != tt.records {
			t.Errorf("%s: %d records", tt.name, len(m.Answer))
		}
	}
}

func TestReplyWithoutEDNS(t *testing.T) {
	m := new(dns.Msg).SetQuestion("Zoom.US.", dns.TypeANY)
	wire, _ := m.Pack()
	q := read(t, wire)
	o := ReplyOptions{HasCookie: true, Pad: true}
	reply := unpack(t, FinishReply(AppendHINFO(StartReply(nil, q, RcodeNoError), 300), q, UDPLimit(&q.EDNS), RcodeNoError, &o))
	if reply.IsEdns0() != nil {
		t.Error("OPT for a client that sent none")
	}
	if reply.Question[0].Name != "Zoom.US." {
		t.Errorf("question %v: the letters are not the client's", reply.Question[0])
	}
	if h, ok := reply.Answer[0].(*dns.HINFO); !ok || h.Cpu != "RFC8482" || h.Hdr.Ttl != 300 {
		t.Errorf("answer %v", reply.Answer)
	}
}

func TestUDPLimit(t *testing.T) {
	for _, tt := range []struct {
		e    EDNS
		want int
	}{
		{EDNS{}, 512},
		{EDNS{Present: true}, 512},
		{EDNS{Present: true, Payload: 511}, 512},
		{EDNS{Present: true, Payload: 900}, 900},
		{EDNS{Present: true, Payload: 65535}, 1232},
	} {
		if got := UDPLimit(&tt.e); got != tt.want {
			t.Errorf("%+v: %d, want %d", tt.e, got, tt.want)
		}
	}
}

func TestExtended(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"plain", "plain"},
		{"two\nlines\x00", "two lines "},
		{"broken \xff", "broken \uFFFD"},
		{strings.Repeat("ü", 150), strings.Repeat("ü", 100)},
		{"x" + strings.Repeat("ü", 150), "x" + strings.Repeat("ü", 99)},
	} {
		if got := Extended(0, tt.text); got.Text != tt.want || !got.Set {
			t.Errorf("%q: %q", tt.text, got.Text)
		}
	}
}

// FuzzReplyMatchesLibrary: whatever is built, the library reads what was meant.
func FuzzReplyMatchesLibrary(f *testing.F) {
	for _, tt := range samples() {
		f.Add(tt.wire, 1232, uint8(3), "why", true)
	}
	f.Fuzz(func(t *testing.T, wire []byte, limit int, addresses uint8, text string, pad bool) {
		var q Question
		rcode := q.Read(wire)
		if rcode == RcodeDrop {
			return
		}
		rcode = max(rcode, RcodeNoError) // a query for a cookie is answered without error
		limit = min(max(limit, MinUDPPayload), 65535)
		msg := StartReply(nil, &q, rcode)
		if q.Section != nil {
			for i := range addresses {
				msg = AppendAddress(msg, netip.AddrFrom4([4]byte{192, 0, 2, i}), uint32(i))
			}
		}
		want := msg[7]
		o := ReplyOptions{Pad: pad, HasCookie: q.EDNS.HasCookie}
		o.Error[0] = Extended(EDEBlocked, text)
		reply := FinishReply(msg, &q, limit, rcode, &o)
		if len(reply) > limit {
			t.Fatalf("%d bytes, limit %d", len(reply), limit)
		}
		var m dns.Msg
		if err := m.Unpack(reply); err != nil {
			t.Fatalf("reply %x to %x: %v", reply, wire, err)
		}
		if m.Id != q.ID || !m.Response || m.Rcode != rcode && (q.EDNS.Present || rcode < 16) || (m.IsEdns0() != nil) != q.EDNS.Present {
			t.Fatalf("reply %v to %x", &m, wire)
		}
		if !m.Truncated && len(m.Answer) != int(want) {
			t.Fatalf("%d answers, want %d", len(m.Answer), want)
		}
	})
}
