package ingress

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestDoHFreshness(t *testing.T) {
	s := openSet(t, onlyHTTPS)
	s.door.answerWith(func(*Query) []byte {
		return packed(t, "a.example. 77 IN A 192.0.2.1", "a.example. 99 IN A 192.0.2.2")
	})
	response, reply := s.get(t, s.webClient(true, nil), packQuestion(t, 0, "now.example"))
	if got := response.Header.Get("Cache-Control"); got != "private, max-age=77" {
		t.Errorf("Cache-Control %q", got)
	}
	var m dns.Msg
	if err := m.Unpack(reply); err != nil || len(m.Answer) != 2 {
		t.Errorf("reply %v, %v", m, err)
	}
}

// packed is a reply with these records as its answer.
func packed(t testing.TB, records ...string) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion("a.example.", dns.TypeA)
	m.Response, m.Compress = true, true
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

func TestFreshness(t *testing.T) {
	section := func(change func(*dns.Msg)) []byte {
		m := new(dns.Msg).SetQuestion("a.example.", dns.TypeA)
		m.Response, m.Compress = true, true
		change(m)
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return wire
	}
	record := func(text string) []dns.RR {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		return []dns.RR{rr}
	}
	soa := "example. 600 IN SOA ns.example. host.example. 1 2 3 4 30"
	tests := []struct {
		name  string
		reply []byte
		want  uint32
	}{
		{"one", packed(t, "a.example. 300 IN A 192.0.2.1"), 300},
		{"the smallest", packed(t, "a.example. 300 IN CNAME b.example.", "b.example. 20 IN A 192.0.2.1"), 20},
		{"none", packed(t), 0},
		{"zero", packed(t, "a.example. 0 IN A 192.0.2.1"), 0},
		{"negative", section(func(m *dns.Msg) { m.Ns = record(soa); m.Rcode = dns.RcodeNameError }), 30},
		{"negative, smaller TTL", section(func(m *dns.Msg) { m.Ns = record(strings.Replace(soa, "600", "7", 1)) }), 7},
		{"OPT is no record", section(func(m *dns.Msg) { m.Answer = record("a.example. 300 IN A 192.0.2.1"); m.SetEdns0(1232, true) }), 300},
		{"additional", section(func(m *dns.Msg) {
			m.Answer = record("a.example. 300 IN A 192.0.2.1")
			m.Extra = record("b.example. 5 IN A 192.0.2.1")
		}), 5},
		{"an error", section(func(m *dns.Msg) { m.Answer = record("a.example. 300 IN A 192.0.2.1"); m.Rcode = dns.RcodeServerFailure }), 0},
		{"a TTL beyond all", packed(t, "a.example. 4294967295 IN A 192.0.2.1"), 0},
		{"cut short", packed(t, "a.example. 300 IN A 192.0.2.1")[:42], 0},
		{"no header", []byte("short"), 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := freshness(test.reply); got != test.want {
				t.Errorf("%d, want %d", got, test.want)
			}
		})
	}
}

func FuzzFreshness(f *testing.F) {
	f.Add(packed(f, "a.example. 300 IN CNAME b.example.", "b.example. 20 IN A 192.0.2.1"))
	f.Add(packed(f, "example. 600 IN SOA ns.example. host.example. 1 2 3 4 30"))
	f.Fuzz(func(t *testing.T, reply []byte) {
		got := freshness(reply)
		var m dns.Msg
		if m.Unpack(reply) != nil {
			return // and it did not panic
		}
		for _, rr := range append(append(m.Answer, m.Ns...), m.Extra...) {
			if rr.Header().Rrtype != dns.TypeOPT && got > rr.Header().Ttl {
				t.Errorf("fresh for %d s with %v", got, rr)
			}
		}
	})
}
