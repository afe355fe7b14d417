package upstream

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
)

func TestParseServer(t *testing.T) {
	tests := []struct{ in, name, verify, problem string }{
		{"192.0.2.1", "udp://192.0.2.1:53", "", ""},
		{"192.0.2.1:5353", "udp://192.0.2.1:5353", "", ""},
		{"udp://192.0.2.1", "udp://192.0.2.1:53", "", ""},
		{"tcp://192.0.2.1:5353", "tcp://192.0.2.1:5353", "", ""},
		{"2001:db8::1", "udp://[2001:db8::1]:53", "", ""},
		{"[2001:db8::1]", "udp://[2001:db8::1]:53", "", ""},
		{"udp://[2001:db8::1]:5353", "udp://[2001:db8::1]:5353", "", ""},
		{"fe80::1%lo", "udp://[fe80::1%lo]:53", "", ""},
		{"::ffff:192.0.2.1", "udp://192.0.2.1:53", "", ""},
		{"dns.example", "udp://dns.example:53", "", ""},
		{"tcp://DNS.example.:54", "tcp://dns.example:54", "", ""},
		{"tls://192.0.2.1", "tls://192.0.2.1:853", "192.0.2.1", ""},
		{"tls://[2001:db8::1]", "tls://[2001:db8::1]:853", "2001:db8::1", ""},
		{"tls://192.0.2.1#dns.example", "tls://192.0.2.1:853#dns.example", "dns.example", ""},
		{"tls://192.0.2.1:443#Dns.Example.", "tls://192.0.2.1:443#dns.example", "dns.example", ""},
		{"tls://dns.example", "tls://dns.example:853", "dns.example", ""},
		{"tls://a.example#b.example", "tls://a.example:853#b.example", "b.example", ""},
		{"tls://a.example#A.example", "tls://a.example:853", "a.example", ""},
		{"quic://dns.example:8853", "quic://dns.example:8853", "dns.example", ""},
		{"https://dns.example", "https://dns.example:443/dns-query", "dns.example", ""},
		{"https://dns.example/abc?x=y", "https://dns.example:443/abc?x=y", "dns.example", ""},
		{"https://dns.example/dns-query{?dns}", "https://dns.example:443/dns-query", "dns.example", ""},
		{"https://192.0.2.1:8443/q", "https://192.0.2.1:8443/q", "192.0.2.1", ""},
		{"https://[2001:db8::1]/q", "https://[2001:db8::1]:443/q", "2001:db8::1", ""},
		{"sdns://x", "", "", `unknown scheme "sdns"`},
		{"UDP://192.0.2.1", "", "", `unknown scheme "UDP"`},
		{"192.0.2.1:0", "", "", "use an IP address or a name"},
		{"192.0.2.1:99999", "", "", "use an IP address or a name"},
		{"192.0.2.300", "", "", "use an IP address or a name"},
		{"1.2.3", "", "", "use an IP address or a name"},
		{"[::1", "", "", "use an IP address or a name"},
		{"", "", "", "use an IP address or a name"},
		{"tls://", "", "", "use an IP address or a name"},
		{"a..example", "", "", "use an IP address or a name"},
		{"dns.example/x", "", "", "use an IP address or a name"},
		{"udp://192.0.2.1#dns.example", "", "", "use an IP address or a name"},
		{"tls://192.0.2.1#", "", "", "no name that a certificate can be for"},
		{"tls://192.0.2.1#a b", "", "", "no name that a certificate can be for"},
		{"https://user@dns.example/", "", "", "a user or a #"},
		{"https://192.0.2.1/q#dns.example", "", "", "a user or a #"},
		{"https://%zz/", "", "", "not a URL"},
	}
	for _, tt := range tests {
		s, err := parseServer(tt.in)
		if tt.problem != "" {
			if err == nil || !strings.Contains(err.Error(), tt.problem) || !strings.Contains(err.Error(), `"`+tt.in+`"`) {
				t.Errorf("%q: error %v, want %q and the input", tt.in, err, tt.problem)
			}
			continue
		}
		if err != nil || s.name != tt.name || s.verify != tt.verify {
			t.Errorf("%q: %q, certificate for %q, %v; want %q, %q", tt.in, s.name, s.verify, err, tt.name, tt.verify)
		}
	}
}

// A server that was understood is understood again from its own name, as the
// same.
func FuzzParseServer(f *testing.F) {
	for _, s := range []string{
		"192.0.2.1", "[2001:db8::1]:53", "tls://192.0.2.1#dns.example", "https://dns.example/dns-query{?dns}",
		"quic://dns.example:853", "tcp://fe80::1%lo", "https://[2001:db8::1]:8443/a%2Fb?c=d", "udp://a_b.example.", "https://h/?",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		s, err := parseServer(in)
		if err != nil {
			return
		}
		if (s.host == "") != s.addr.IsValid() || s.port == 0 || s.addr.Is4In6() {
			t.Fatalf("%q: %+v", in, s)
		}
		if (s.verify != "") != (s.scheme == "tls" || s.scheme == "https" || s.scheme == "quic") {
			t.Fatalf("%q: certificate for %q", in, s.verify)
		}
		if s.scheme == "https" && s.addr.Zone() != "" {
			return // a URL writes the zone in another way
		}
		again, err := parseServer(s.name)
		if err != nil || again != s {
			t.Fatalf("%q: %+v, again %+v, %v", in, s, again, err)
		}
	})
}

// Whatever a server sends, reading it ends in an answer to the question or in
// an error.
func FuzzResponse(f *testing.F) {
	q := Query{Name: "\x01a\x07example\x00", Type: 1}
	query := appendQuery(nil, q, 7, []byte(q.Name), extras{})
	f.Add(query)
	good := zone(f, goodAnswer)
	f.Add(patched(query, func(b []byte) { b[2] |= 0x80 }))
	f.Add(patched(query[:questionEnd(query)], func(b []byte) { b[2] |= 0x80; b[3] = 3; b[11] = 0 }))
	f.Add(good(readQuery(f, query), "udp").packets[0])
	f.Fuzz(func(t *testing.T, packet []byte) {
		if compare(packet, q, []byte(q.Name)) != ours {
			return
		}
		m, err := unpack(packet, q)
		if err != nil {
			if known := asError(err); known.Kind != Garbled && known.Kind != Refused {
				t.Fatalf("error %#v", err)
			}
			return
		}
		if len(m.Question) != 1 || m.Question[0].Name != "a.example." || m.Question[0].Qtype != 1 || m.Rcode != dnswire.RcodeNoError && m.Rcode != dnswire.RcodeNXDomain {
			t.Fatalf("answer %v", m)
		}
		keepaliveIn(m)
		age(m, "10")
		addressesIn(m)
	})
}

func TestEveryProblemAtOnce(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := New(Config{
		Servers:   []string{"sdns://x", "192.0.2.1:0"},
		Strategy:  9,
		Bootstrap: []string{"tls://192.0.2.1"},
		Forward:   []Zone{{Name: "."}, {Name: "a..b", Servers: []string{"192.0.2.1"}}, {Name: "corp.example"}, {Name: "x.example", Servers: []string{"192.0.2.1"}}, {Name: "X.Example.", Servers: []string{"192.0.2.1"}}},
		TrustAD:   []string{"192.0.2.77", "::::"},
		Try:       -1, CA: empty, MaxInFlight: -1,
	}, Dependencies{})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`unknown scheme "sdns"`, `"192.0.2.1:0"`, "strategy 9", `bootstrap "tls://192.0.2.1:853": use udp://`, `forward zone "."`, `forward zone "a..b"`,
		`forward zone "corp.example" has no upstream`, `"X.Example." is there twice`, `"192.0.2.77" is none of the upstreams`, `"::::"`, "timeouts of -1ns", "holds no certificate", "limit of -1",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %v\nlacks %q", err, want)
		}
	}
	for want, c := range map[string]Config{
		"no upstream resolver":            {},
		"cannot be looked up":             {Servers: []string{"tls://dns.example"}},
		`"boot.example": its name cannot`: {Servers: []string{"192.0.2.1"}, Bootstrap: []string{"boot.example"}},
		"read the authorities":            {Servers: []string{"192.0.2.1"}, CA: filepath.Join(t.TempDir(), "none.pem")},
		"at most 32":                      {Servers: slices.Repeat([]string{"192.0.2.1"}, maxServers+1)},
	} {
		if _, err := New(c, Dependencies{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v, want %q", c, err, want)
		}
	}
}

func TestStrategyNames(t *testing.T) {
	for _, s := range []Strategy{Failover, Fastest, Parallel} {
		if got, err := ParseStrategy(s.String()); err != nil || got != s {
			t.Errorf("%v: %v, %v", s, got, err)
		}
	}
	if got, err := ParseStrategy(""); err != nil || got != Failover {
		t.Errorf("none: %v, %v", got, err)
	}
	if _, err := ParseStrategy("random"); err == nil || !strings.Contains(err.Error(), `"random"`) {
		t.Errorf("error %v", err)
	}
}

func TestServersAreNamedOnce(t *testing.T) {
	p, err := New(Config{
		Servers: []string{"192.0.2.1", "udp://192.0.2.1:53"},
		Forward: []Zone{{Name: "corp.example", Servers: []string{"192.0.2.1", "10.0.0.53"}}},
	}, Dependencies{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if got := p.Names(); !slices.Equal(got, []string{"udp://192.0.2.1:53", "udp://10.0.0.53:53"}) || len(p.root.resolvers) != 1 {
		t.Errorf("names %q, %d asked", got, len(p.root.resolvers))
	}
}

func TestTryFitsIntoTotal(t *testing.T) {
	c := Config{Try: time.Minute, Total: time.Second}.withDefaults()
	if c.Try != time.Second {
		t.Errorf("try of %v in %v", c.Try, c.Total)
	}
}
