package dnswire

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestNames(t *testing.T) {
	tests := []struct{ name, wire, canonical string }{
		{"Zoom.US", "\x04zoom\x02us\x00", "zoom.us"},
		{"zoom.us.", "\x04zoom\x02us\x00", "zoom.us"},
		{".", "\x00", ""},
		{"", "\x00", ""},
		{"_sip._TLS.example", "\x04_sip\x04_tls\x07example\x00", "_sip._tls.example"},
		{`zoom\.us`, "\x07zoom.us\x00", `zoom\046us`},
		{`zoom\046us`, "\x07zoom.us\x00", `zoom\046us`},
		{`a\\b`, "\x03a\\b\x00", `a\092b`},
		{`a\ b\000\255\127`, "\x06a b\x00\xff\x7f\x00", `a\032b\000\255\127`},
		{`a\"b\@c\;`, "\x06a\"b@c;\x00", `a"b@c;`},
		{"b\u00fccher.example", "\x07b\xc3\xbccher\x07example\x00", `b\195\188cher.example`},
		{"XN--BCHER-KVA.example", "\x0dxn--bcher-kva\x07example\x00", "xn--bcher-kva.example"},
	}
	for _, tt := range tests {
		wire, err := WireName(tt.name)
		if err != nil || wire != tt.wire {
			t.Errorf("%q: wire %q, %v; want %q", tt.name, wire, err, tt.wire)
			continue
		}
		if got := CanonicalName(wire); got != tt.canonical {
			t.Errorf("%q: canonical %q, want %q", tt.name, got, tt.canonical)
		}
		if again, err := WireName(tt.canonical); err != nil || again != wire {
			t.Errorf("%q: canonical form reads as %q, %v", tt.name, again, err)
		}
	}
}

func TestBadNames(t *testing.T) {
	long := strings.Repeat("x", 63)
	for _, name := range []string{
		"..", ".a", "a..b", long + "x", long + "x.a", `a\`, `a\1`, `a\25`, `a\256`, `a\2x5`,
		strings.Join([]string{long, long, long, long}, "."),
	} {
		if wire, err := WireName(name); err == nil {
			t.Errorf("%q is %q", name, wire)
		}
	}
	if _, err := WireName(strings.Join([]string{long, long, long, long[:61]}, ".")); err != nil {
		t.Errorf("the longest name there is: %v", err)
	}
}

func TestReadName(t *testing.T) {
	tests := []struct {
		msg  string
		next int
		ok   bool
	}{
		{"\x00", 1, true},
		{"\x01a\x00rest", 3, true},
		{"\x01a\xC0\x0C", 0, false},
		{"\x40" + strings.Repeat("a", 64) + "\x00", 0, false},
		{"\x05abc", 0, false},
		{"\x01a", 0, false},
		{"", 0, false},
		{strings.Repeat("\x01a", 127) + "\x00", 255, true},
		{strings.Repeat("\x01a", 128) + "\x00", 257, false},
	}
	for _, tt := range tests {
		wire, next, ok := ReadName([]byte(tt.msg), 0)
		if ok != tt.ok || ok && (next != tt.next || string(wire) != tt.msg[:next]) {
			t.Errorf("%q: %q %d %v", tt.msg, wire, next, ok)
		}
	}
}

// Whatever the library can read as a name reads the same here.
func FuzzWireName(f *testing.F) {
	for _, seed := range []string{"zoom.us", `a\.b.c`, `\000`, "..", ".", `x\`, strings.Repeat("a.", 127)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		wire, err := WireName(name)
		if err != nil {
			return
		}
		read, next, ok := ReadName([]byte(wire), 0)
		if !ok || next != len(wire) || string(read) != wire {
			t.Fatalf("%q makes %q, which is no name", name, wire)
		}
		canonical := CanonicalName(wire)
		if again, err := WireName(canonical); err != nil || again != wire {
			t.Fatalf("%q is %q, which reads as %q: %v", name, canonical, again, err)
		}
		var buffer [MaxNameBytes]byte
		n, err := dns.PackDomainName(dns.Fqdn(canonical), buffer[:], 0, nil, false)
		if err != nil || string(buffer[:n]) != wire {
			t.Fatalf("%q: the library makes %q of %q: %v", name, buffer[:n], canonical, err)
		}
	})
}
