package dnswire

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// rawQuery is a query for zoom.us A with EDNS, and change applied to its
// bytes.
func rawQuery(change func([]byte) []byte) []byte {
	m := new(dns.Msg).SetQuestion("zoom.us.", dns.TypeA).SetEdns0(1232, false)
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

// withOption is rawQuery with one EDNS option of these bytes.
func withOption(code uint16, data ...byte) []byte {
	return rawQuery(func(b []byte) []byte {
		binary.BigEndian.PutUint16(b[len(b)-2:], uint16(4+len(data)))
		b = binary.BigEndian.AppendUint16(b, code)
		b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
		return append(b, data...)
	})
}

// cookieQuery is a query without a question, for a cookie (RFC 7873 §5.4).
func cookieQuery(client []byte) []byte {
	b := withOption(OptionCookie, client...)
	b[5] = 0
	return append(b[:HeaderBytes:HeaderBytes], b[questionEnd:]...)
}

func setting(at int, values ...byte) func([]byte) []byte {
	return func(b []byte) []byte { copy(b[at:], values); return b }
}

const questionEnd = HeaderBytes + len("\x04zoom\x02us\x00") + 4

// samples are packets and what they are answered with; RcodeDrop for nothing.
func samples() map[string]struct {
	wire  []byte
	rcode int
} {
	type m = struct {
		wire  []byte
		rcode int
	}
	opt := []byte{0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0}
	eight := []byte("clientck")
	return map[string]m{
		"well formed":             {rawQuery(nil), RcodeNoError},
		"empty":                   {nil, RcodeDrop},
		"eleven bytes":            {rawQuery(nil)[:11], RcodeDrop},
		"a response":              {rawQuery(setting(2, 0x80)), RcodeDrop},
		"a response, garbage":     {bytes.Repeat([]byte{0xFF}, 100), RcodeDrop},
		"header only":             {rawQuery(nil)[:12], RcodeFormErr},
		"notify":                  {rawQuery(setting(2, 4<<3)), RcodeNotImp},
		"update":                  {rawQuery(setting(2, 5<<3)), RcodeNotImp},
		"opcode 15":               {rawQuery(setting(2, 15<<3)), RcodeNotImp},
		"no question":             {rawQuery(func(b []byte) []byte { return append(setting(4, 0, 0)(b)[:12], b[questionEnd:]...) }), RcodeFormErr},
		"two questions":           {rawQuery(setting(4, 0, 2)), RcodeFormErr},
		"many questions":          {rawQuery(setting(4, 0xFF, 0xFF)), RcodeFormErr},
		"name cut off":            {rawQuery(nil)[:16], RcodeFormErr},
		"type cut off":            {rawQuery(nil)[:questionEnd-3], RcodeFormErr},
		"name with a pointer":     {rawQuery(setting(12, 0xC0, 0x0C)), RcodeFormErr},
		"label too long":          {rawQuery(setting(12, 0x7F)), RcodeFormErr},
		"an answer in it":         {rawQuery(setting(7, 1)), RcodeFormErr},
		"an authority in it":      {rawQuery(setting(9, 1)), RcodeFormErr},
		"OPT cut off":             {rawQuery(func(b []byte) []byte { return b[:len(b)-1] }), RcodeFormErr},
		"OPT counted, not there":  {rawQuery(func(b []byte) []byte { return b[:questionEnd] }), RcodeFormErr},
		"OPT with long options":   {rawQuery(func(b []byte) []byte { return append(b[:len(b)-2], 0xFF, 0xFF) }), RcodeFormErr},
		"two OPT":                 {rawQuery(func(b []byte) []byte { b[11] = 2; return append(b, opt...) }), RcodeFormErr},
		"OPT with an owner":       {rawQuery(func(b []byte) []byte { return append(b[:questionEnd], append([]byte{1, 'a'}, opt...)...) }), RcodeFormErr},
		"too many additional":     {rawQuery(setting(10, 0xFF, 0xFF)), RcodeFormErr},
		"bytes behind the end":    {rawQuery(func(b []byte) []byte { return append(b, 1, 2, 3) }), RcodeFormErr},
		"EDNS version 1":          {rawQuery(func(b []byte) []byte { b[len(b)-5] = 1; return b }), RcodeBadVers},
		"EDNS version 255":        {rawQuery(func(b []byte) []byte { b[len(b)-5] = 255; return b }), RcodeBadVers},
		"EDNS flags nobody knows": {rawQuery(func(b []byte) []byte { b[len(b)-3] = 0x7F; return b }), RcodeNoError},
		"class CH":                {rawQuery(setting(questionEnd-2, 0, 3)), RcodeNoError},
		"type 0":                  {rawQuery(setting(questionEnd-4, 0, 0)), RcodeNotImp},
		"type OPT":                {rawQuery(setting(questionEnd-4, 0, 41)), RcodeNotImp},
		"AXFR":                    {rawQuery(setting(questionEnd-4, 0, 252)), RcodeNotImp},
		"IXFR with an authority":  {rawQuery(func(b []byte) []byte { return setting(9, 1)(setting(questionEnd-4, 0, 251)(b)) }), RcodeNotImp},
		"oversized":               {rawQuery(func(b []byte) []byte { return append(b, make([]byte, 9000)...) }), RcodeFormErr},
		"an unknown option":       {withOption(65001, 1, 2, 3), RcodeNoError},
		"an empty unknown option": {withOption(65001), RcodeNoError},
		"option cut off":          {rawQuery(func(b []byte) []byte { return append(b[:len(b)-2], 0, 3, 0, 10, 0) }), RcodeFormErr},
		"client cookie":           {withOption(OptionCookie, eight...), RcodeNoError},
		"both cookies":            {withOption(OptionCookie, append(eight, make([]byte, 16)...)...), RcodeNoError},
		"cookie too short":        {withOption(OptionCookie, 1, 2, 3), RcodeFormErr},
		"server cookie too short": {withOption(OptionCookie, append(eight, 1, 2, 3, 4, 5, 6, 7)...), RcodeFormErr},
		"cookie too long":         {withOption(OptionCookie, make([]byte, 41)...), RcodeFormErr},
		"subnet":                  {withOption(OptionSubnet, 0, 1, 24, 0, 192, 0, 2), RcodeNoError},
		"two subnets": {rawQuery(func(b []byte) []byte {
			one := []byte{0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2}
			b[len(b)-1] = byte(2 * len(one))
			return append(append(b, one...), one...)
		}), RcodeFormErr},
		"nothing, and a subnet": {rawQuery(func(b []byte) []byte {
			options := []byte{0, 8, 0, 4, 0, 0, 0, 0, 0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2}
			b[len(b)-1] = byte(len(options))
			return append(b, options...)
		}), RcodeFormErr},
		"subnet of nothing":       {withOption(OptionSubnet, 0, 0, 0, 0), RcodeNoError},
		"a cookie alone":          {cookieQuery(eight), RcodeCookieQuery},
		"a broken cookie alone":   {cookieQuery(eight[:3]), RcodeFormErr},
		"subnet with a scope":     {withOption(OptionSubnet, 0, 1, 24, 24, 192, 0, 2), RcodeFormErr},
		"subnet too long":         {withOption(OptionSubnet, 0, 1, 33, 0, 192, 0, 2, 1, 0), RcodeFormErr},
		"subnet with host bits":   {withOption(OptionSubnet, 0, 1, 20, 0, 192, 0, 0xFF), RcodeFormErr},
		"subnet of family 3":      {withOption(OptionSubnet, 0, 3, 8, 0, 1), RcodeFormErr},
		"subnet cut off":          {withOption(OptionSubnet, 0, 1, 24), RcodeFormErr},
		"version 1 with nonsense": {func() []byte { b := withOption(OptionCookie, 1); b[len(b)-10] = 1; return b }(), RcodeBadVers},
	}
}

func TestRead(t *testing.T) {
	for name, tt := range samples() {
		var q Question
		if rcode := q.Read(tt.wire); rcode != tt.rcode {
			t.Errorf("%s: rcode %d, want %d", name, rcode, tt.rcode)
		}
		if tt.rcode == RcodeNoError && string(q.Name()) != "\x04zoom\x02us\x00" {
			t.Errorf("%s: name %q", name, q.Name())
		}
	}
}

func TestReadOptions(t *testing.T) {
	var q Question
	q.Read(withOption(OptionCookie, []byte("clientckserver-cookie-16")...))
	if !q.EDNS.HasCookie || string(q.EDNS.Cookie[:]) != "clientck" || string(q.EDNS.Server) != "server-cookie-16" {
		t.Errorf("cookie %+v", q.EDNS)
	}
	q.Read(withOption(OptionSubnet, 0, 2, 56, 0, 0x20, 1, 0xd, 0xb8, 0, 1, 0xAB))
	if want := netip.MustParsePrefix("2001:db8:1:ab00::/56"); !q.EDNS.HasSubnet || q.EDNS.Subnet != want {
		t.Errorf("subnet %v, want %v", q.EDNS.Subnet, want)
	}
	q.Read(withOption(OptionSubnet, 0, 0, 0, 0))
	if !q.EDNS.HasSubnet || q.EDNS.Subnet.IsValid() {
		t.Errorf("a subnet of nothing: %+v", q.EDNS)
	}
	q.Read(withOption(OptionPadding, make([]byte, 50)...))
	if !q.EDNS.Padding || q.EDNS.HasCookie || q.EDNS.HasSubnet || q.EDNS.Subnet.IsValid() {
		t.Errorf("what an earlier query said is still there: %+v", q.EDNS)
	}
	q.Read(withOption(OptionKeepalive))
	if !q.EDNS.Keepalive {
		t.Error("keepalive not seen")
	}
}

func TestReadDoesNotAllocate(t *testing.T) {
	var q Question
	wire := withOption(OptionCookie, []byte("clientckserver-cookie-16")...)
	buffer := make([]byte, 0, UDPPayload)
	addr := netip.MustParseAddr("0.0.0.0")
	if allocs := testing.AllocsPerRun(100, func() {
		q.Read(wire)
		o := ReplyOptions{HasCookie: true}
		o.Error[0] = Extended(EDEBlocked, "Privacy and security concerns")
		msg := StartReply(buffer, &q, RcodeNoError)
		msg = AppendSOA(AppendAddress(msg, addr, 30), 30)
		FinishReply(msg, &q, UDPLimit(&q.EDNS), RcodeNoError, &o)
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// FuzzReadMatchesLibrary holds the reader against miekg/dns: what one of them
// reads as a query the other reads the same way.
func FuzzReadMatchesLibrary(f *testing.F) {
	for _, tt := range samples() {
		f.Add(tt.wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		var q Question
		rcode := q.Read(wire)
		if rcode != RcodeNoError {
			return
		}
		var m dns.Msg
		if err := m.Unpack(wire); err != nil {
			// The library also reads options and records that nobody here acts on.
			if opt := q.EDNS.Present; !opt && wire[11] == 0 {
				t.Fatalf("we read %x, the library does not: %v", wire, err)
			}
			return
		}
		if len(m.Question) != 1 || m.Id != q.ID || m.Question[0].Qtype != q.Type || m.Question[0].Qclass != q.Class ||
			m.RecursionDesired != (q.Flags&FlagRD != 0) || m.CheckingDisabled != (q.Flags&FlagCD != 0) || m.AuthenticatedData != (q.Flags&FlagAD != 0) {
			t.Fatalf("%x: we read %+v, the library %v", wire, q, m)
		}
		name, err := WireName(m.Question[0].Name)
		if err != nil || name != string(q.Name()) {
			t.Fatalf("%x: we read the name %q, the library %q", wire, q.Name(), name)
		}
		opt := m.IsEdns0()
		if (opt != nil) != q.EDNS.Present {
			t.Fatalf("%x: OPT %v, the library says %v", wire, q.EDNS.Present, opt)
		}
		if opt != nil {
			compareOPT(t, &q.EDNS, opt)
		}
	})
}

func compareOPT(t *testing.T, e *EDNS, opt *dns.OPT) {
	if opt.UDPSize() != e.Payload || opt.Version() != e.Version || opt.Do() != e.DO {
		t.Fatalf("OPT %+v, the library reads %v", e, opt)
	}
	seen := false
	for _, option := range opt.Option {
		switch o := option.(type) {
		case *dns.EDNS0_COOKIE:
			if !seen && !strings.HasPrefix(o.Cookie, strings.ToLower(hexOf(e.Cookie[:]))) {
				t.Fatalf("cookie %x, the library reads %s", e.Cookie, o.Cookie)
			}
			seen = true
		case *dns.EDNS0_SUBNET:
			if e.Subnet.IsValid() && int(o.SourceNetmask) > 128 {
				t.Fatalf("subnet %v, the library reads %v", e.Subnet, o)
			}
		}
	}
	if seen != e.HasCookie {
		t.Fatalf("cookie seen %v, the library says %v", e.HasCookie, seen)
	}
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var s strings.Builder
	for _, c := range b {
		s.WriteByte(digits[c>>4])
		s.WriteByte(digits[c&15])
	}
	return s.String()
}
