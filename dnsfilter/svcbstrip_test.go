package dnsfilter

import (
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// serviceRecords reads records in presentation form, one a line.
func serviceRecords(t testing.TB, text string) []dns.RR {
	t.Helper()
	var records []dns.RR
	parser := dns.NewZoneParser(strings.NewReader(text), ".", "")
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		records = append(records, rr)
	}
	if err := parser.Err(); err != nil {
		t.Fatal(err)
	}
	return records
}

const (
	echOne     = `ech="AEX+DQBBpQAgACBl"`
	sigOfHTTPS = `a.example. 60 IN RRSIG HTTPS 13 2 60 20300101000000 20200101000000 1 example. AAAA`
)

func TestStripService(t *testing.T) {
	for _, c := range []struct {
		name    string
		ech, h3 bool
		in      string
		want    string // empty: unchanged
	}{
		{
			name: "neither", in: `a.example. 60 IN HTTPS 1 . alpn="h3,h2" ` + echOne,
		},
		{
			name: "ech", ech: true,
			in:   `a.example. 60 IN HTTPS 1 . alpn="h3,h2" port="8443" ipv4hint="192.0.2.1" ` + echOne + ` ipv6hint="2001:db8::1"`,
			want: `a.example. 60 IN HTTPS 1 . alpn="h3,h2" port="8443" ipv4hint="192.0.2.1" ipv6hint="2001:db8::1"`,
		},
		{
			name: "h3 and a draft of it", h3: true,
			in:   `a.example. 60 IN HTTPS 1 . alpn="h3,h3-29,h2" ` + echOne,
			want: `a.example. 60 IN HTTPS 1 . alpn="h2" ` + echOne,
		},
		{
			name: "both, of SVCB", ech: true, h3: true,
			in:   `_8443._foo.a.example. 60 IN SVCB 2 b.example. alpn="h2,h3" ` + echOne,
			want: `_8443._foo.a.example. 60 IN SVCB 2 b.example. alpn="h2"`,
		},
		{
			name: "nothing but h3", h3: true,
			in:   `a.example. 60 IN HTTPS 1 . alpn="h3" no-default-alpn="" port="8443"`,
			want: `a.example. 60 IN HTTPS 1 . port="8443"`,
		},
		{
			name: "no-default-alpn stays with an alpn", h3: true,
			in:   `a.example. 60 IN HTTPS 1 . alpn="h3,h2" no-default-alpn=""`,
			want: `a.example. 60 IN HTTPS 1 . alpn="h2" no-default-alpn=""`,
		},
		{
			name: "mandatory", ech: true, h3: true,
			in:   `a.example. 60 IN HTTPS 1 . mandatory="alpn,no-default-alpn,port,ech" alpn="h3" no-default-alpn="" port="8443" ` + echOne,
			want: `a.example. 60 IN HTTPS 1 . mandatory="port" port="8443"`,
		},
		{
			name: "mandatory of that alone", ech: true,
			in:   `a.example. 60 IN HTTPS 1 . mandatory="ech" alpn="h2" ` + echOne,
			want: `a.example. 60 IN HTTPS 1 . alpn="h2"`,
		},
		{
			name: "mandatory alpn that stays", h3: true,
			in:   `a.example. 60 IN HTTPS 1 . mandatory="alpn" alpn="h2,h3"`,
			want: `a.example. 60 IN HTTPS 1 . mandatory="alpn" alpn="h2"`,
		},
		{name: "other protocols that look alike", h3: true, in: `a.example. 60 IN HTTPS 1 . alpn="h2,h30,xh3"`},
		{name: "no ech there", ech: true, in: `a.example. 60 IN HTTPS 1 . alpn="h3"` + "\n" + sigOfHTTPS},
		{name: "alias mode", ech: true, h3: true, in: `a.example. 60 IN HTTPS 0 b.example.` + "\n" + sigOfHTTPS},
		{name: "other types", ech: true, h3: true, in: "a.example. 60 IN A 192.0.2.1\na.example. 60 IN TXT ech=x alpn=h3"},
		{name: "nothing at all", ech: true, h3: true},
		{
			name: "signatures of the changed set alone", ech: true,
			in: `w.example. 60 IN CNAME A.example.
w.example. 60 IN RRSIG CNAME 13 2 60 20300101000000 20200101000000 1 example. AAAA
A.example. 60 IN HTTPS 1 . alpn="h2"
a.example. 60 IN HTTPS 2 b.example. alpn="h2" ` + echOne + `
` + sigOfHTTPS + `
a.example. 60 IN RRSIG SVCB 13 2 60 20300101000000 20200101000000 1 example. AAAA
b.example. 60 IN RRSIG HTTPS 13 2 60 20300101000000 20200101000000 1 example. AAAA`,
			want: `w.example. 60 IN CNAME A.example.
w.example. 60 IN RRSIG CNAME 13 2 60 20300101000000 20200101000000 1 example. AAAA
A.example. 60 IN HTTPS 1 . alpn="h2"
a.example. 60 IN HTTPS 2 b.example. alpn="h2"
a.example. 60 IN RRSIG SVCB 13 2 60 20300101000000 20200101000000 1 example. AAAA
b.example. 60 IN RRSIG HTTPS 13 2 60 20300101000000 20200101000000 1 example. AAAA`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := serviceRecords(t, c.in)
			before := recordLines(in)
			got, changed := stripService(in, c.ech, c.h3)
			if changed != (c.want != "") {
				t.Errorf("changed is %v", changed)
			}
			want := before
			if changed {
				want = recordLines(serviceRecords(t, c.want))
			}
			if !slices.Equal(recordLines(got), want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(recordLines(got), "\n"), strings.Join(want, "\n"))
			}
			if !slices.Equal(recordLines(in), before) {
				t.Errorf("the given records have changed to\n%s", strings.Join(recordLines(in), "\n"))
			}
		})
	}
}

func recordLines(records []dns.RR) []string {
	lines := make([]string, len(records))
	for i, rr := range records {
		lines[i] = rr.String()
	}
	return lines
}

// Answers without anything to strip, which most are, cost nothing.
func TestStripNothingAllocatesNothing(t *testing.T) {
	in := serviceRecords(t, "a.example. 60 IN A 192.0.2.1\na.example. 60 IN HTTPS 1 . alpn=h2")
	if n := testing.AllocsPerRun(100, func() { stripService(in, true, true) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Whatever an upstream sends, what is left of it can be sent on, offers nothing
// of what was taken out, and has lost nothing else.
func FuzzStripService(f *testing.F) {
	for _, text := range []string{
		`a.example. 60 IN HTTPS 1 . mandatory="alpn,ech" alpn="h3,h2" no-default-alpn="" ` + echOne + "\n" + sigOfHTTPS,
		`a.example. 60 IN SVCB 1 b.example. alpn="h3" no-default-alpn="" port="1" key65280="x"`,
		`a.example. 60 IN HTTPS 0 b.example.`,
		"a.example. 60 IN CNAME b.example.\nb.example. 60 IN HTTPS 1 . mandatory=port port=1 ech=AAAA dohpath=/{?dns}",
	} {
		m := dns.Msg{Answer: serviceRecords(f, text)}
		packed, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed, true, true)
		f.Add(packed, true, false)
		f.Add(packed, false, true)
	}
	f.Fuzz(func(t *testing.T, packed []byte, ech, h3 bool) {
		var m dns.Msg
		if m.Unpack(packed) != nil {
			return
		}
		whole := dns.Msg{Answer: m.Answer}
		if !survives(&whole) {
			return // miekg/dns cannot send it on even as it came
		}
		before := recordLines(m.Answer)
		stripped, changed := stripService(m.Answer, ech, h3)
		if !slices.Equal(recordLines(m.Answer), before) {
			t.Fatalf("the given records have changed:\n%s", strings.Join(before, "\n"))
		}
		if !changed && !slices.Equal(recordLines(stripped), before) {
			t.Fatal("changed, and says that it has not")
		}
		if !survives(&dns.Msg{Answer: stripped}) {
			t.Fatalf("cannot be sent on:\n%s", strings.Join(recordLines(stripped), "\n"))
		}
		isService := func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeHTTPS || rr.Header().Rrtype == dns.TypeSVCB }
		notService := func(rr dns.RR) bool { return !isService(rr) }
		was := slices.DeleteFunc(slices.Clone(m.Answer), notService)
		is := slices.DeleteFunc(slices.Clone(stripped), notService)
		if len(is) != len(was) {
			t.Fatalf("%d of %d service bindings are left", len(is), len(was))
		}
		for i := range is {
			checkStripped(t, was[i], is[i], ech, h3)
		}
		if _, again := stripService(stripped, ech, h3); again {
			t.Fatal("twice is not like once")
		}
	})
}

// survives reports whether a message is the same once sent and read.
func survives(m *dns.Msg) bool {
	packed, err := m.Pack()
	if err != nil {
		return false
	}
	var again dns.Msg
	return again.Unpack(packed) == nil && slices.Equal(recordLines(again.Answer), recordLines(m.Answer))
}

// checkStripped compares what a service binding was with what is left of it. It
// reads bytes, so that it does not share the mistakes of what it checks.
func checkStripped(t *testing.T, before, after dns.RR, ech, h3 bool) {
	t.Helper()
	was, is := parametersOf(t, before), parametersOf(t, after)
	for key, value := range was {
		left, there := is[key]
		switch dns.SVCBKey(key) {
		case dns.SVCB_MANDATORY:
			for ; len(left) > 0; left = left[2:] {
				if need := uint16(left[0])<<8 | uint16(left[1]); was[need] != "" && is[need] == "" {
					t.Fatalf("%s is mandatory and gone: %v", dns.SVCBKey(need), after)
				}
			}
		case dns.SVCB_ALPN:
			for ; h3 && len(left) > 0; left = left[1+int(left[0]):] {
				if name := left[1 : 1+int(left[0])]; name == "h3" || strings.HasPrefix(name, "h3-") {
					t.Fatalf("still offers %s: %v", name, after)
				}
			}
			if !h3 && left != value {
				t.Fatalf("lost of alpn: %v", after)
			}
		case dns.SVCB_ECHCONFIG:
			if there == ech {
				t.Fatalf("ech is there: %v: %v", there, after)
			}
		case dns.SVCB_NO_DEFAULT_ALPN:
			if _, alpn := is[uint16(dns.SVCB_ALPN)]; there && !alpn && was[uint16(dns.SVCB_ALPN)] != "" {
				t.Fatalf("no-default-alpn without alpn: %v", after)
			}
		default:
			if !there || left != value {
				t.Fatalf("lost %s: %v", dns.SVCBKey(key), after)
			}
		}
	}
	if len(is) > len(was) {
		t.Fatalf("gained: %v", after)
	}
}

// parametersOf reads a service binding's parameters from its bytes (RFC 9460
// §2.2).
func parametersOf(t *testing.T, rr dns.RR) map[uint16]string {
	t.Helper()
	buf := make([]byte, dns.MaxMsgSize)
	end, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	name := func(at int) int {
		for buf[at] != 0 {
			at += 1 + int(buf[at])
		}
		return at + 1
	}
	parameters := make(map[uint16]string)
	at := name(0) + 10
	if at == end {
		return parameters // no data at all
	}
	for at = name(at + 2); at < end; {
		key, length := uint16(buf[at])<<8|uint16(buf[at+1]), int(buf[at+2])<<8|int(buf[at+3])
		parameters[key] = string(buf[at+4 : at+4+length])
		at += 4 + length
	}
	return parameters
}
