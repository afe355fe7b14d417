package dnsfilter

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
	"github.com/sallyport/sallyport/policy"
)

// response makes a response of records in presentation form, sections divided
// by "--".
func response(t testing.TB, name string, qtype uint16, rcode int, records ...string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetRcode(query(name, qtype), rcode)
	sections := []*[]dns.RR{&m.Answer, &m.Ns, &m.Extra}
	for _, text := range records {
		if text == "--" {
			sections = sections[1:]
			continue
		}
		r, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		*sections[0] = append(*sections[0], r)
	}
	return m
}

func TestDigest(t *testing.T) {
	const soa = "example. 900 IN SOA ns.example. host.example. 1 2 3 4 120"
	const sig = " 60 IN RRSIG %s 13 2 60 20300101000000 20200101000000 1 example. c2lnbmF0dXJl"
	rrsig := func(owner, covered string) string { return owner + strings.Replace(sig, "%s", covered, 1) }
	tests := []struct {
		name     string
		asked    string
		qtype    uint16
		do       bool
		rcode    int
		records  []string
		want     string // answers and authorities, space and type reduced
		facts    string
		lifetime time.Duration
		fails    string
	}{
		{
			name: "chain in disorder", asked: "a.example", qtype: dns.TypeA,
			records: []string{"c.example. 30 IN A 192.0.2.1", "b.example. 20 IN CNAME c.example.", "a.example. 10 IN CNAME b.example."},
			want:    "a.example.|CNAME b.example.|CNAME c.example.|A", facts: "b.example c.example 192.0.2.1", lifetime: 10 * time.Second,
		},
		{
			name: "volunteers are dropped", asked: "a.example", qtype: dns.TypeA,
			records: []string{"a.example. 60 IN A 192.0.2.1", "bank.example. 60 IN A 6.6.6.6", "a.example. 60 IN AAAA 2001:db8::6", "a.example. 60 IN TXT x",
				"--", "example. 60 IN NS evil.example.", soa, "--", "evil.example. 60 IN A 6.6.6.6"},
			want: "a.example.|A", facts: "192.0.2.1", lifetime: 60 * time.Second,
		},
		{
			name: "two aliases of one name: the first counts", asked: "a.example", qtype: dns.TypeA,
			records: []string{"a.example. 60 IN CNAME b.example.", "a.example. 60 IN CNAME zoom.us.", "b.example. 60 IN A 192.0.2.1", "zoom.us. 60 IN A 6.6.6.6"},
			want:    "a.example.|CNAME b.example.|A", facts: "b.example 192.0.2.1", lifetime: 60 * time.Second,
		},
		{
			name: "data beside an alias: the data counts", asked: "a.example", qtype: dns.TypeA,
			records: []string{"a.example. 60 IN CNAME b.example.", "a.example. 60 IN A 192.0.2.1"},
			want:    "a.example.|A", facts: "192.0.2.1", lifetime: 60 * time.Second,
		},
		{
			name: "DNAME", asked: "x.old.example", qtype: dns.TypeA,
			records: []string{"old.example. 60 IN DNAME new.example.", "x.old.example. 60 IN CNAME x.new.example.", "x.new.example. 60 IN A 192.0.2.1"},
			want:    "old.example.|DNAME x.old.example.|CNAME x.new.example.|A", facts: "new.example x.new.example 192.0.2.1", lifetime: 60 * time.Second,
		},
		{
			name: "DNAME that made another name", asked: "x.old.example", qtype: dns.TypeA,
			records: []string{"old.example. 60 IN DNAME new.example.", "x.old.example. 60 IN CNAME y.other.example.", "y.other.example. 60 IN A 192.0.2.1"},
			want:    "x.old.example.|CNAME y.other.example.|A", facts: "y.other.example 192.0.2.1", lifetime: 60 * time.Second,
		},
		{
			name: "alias asked for itself", asked: "a.example", qtype: dns.TypeCNAME,
			records: []string{"a.example. 60 IN CNAME b.example.", "b.example. 60 IN CNAME c.example."},
			want:    "a.example.|CNAME", facts: "b.example", lifetime: 60 * time.Second,
		},
		{
			name: "ANY", asked: "a.example", qtype: dns.TypeANY,
			records: []string{"a.example. 60 IN A 192.0.2.1", "a.example. 50 IN TXT x", "b.example. 60 IN TXT y"},
			want:    "a.example.|A a.example.|TXT", facts: "192.0.2.1", lifetime: 50 * time.Second,
		},
		{
			name: "a loop", asked: "a.example", qtype: dns.TypeA,
			records: []string{"a.example. 60 IN CNAME b.example.", "b.example. 60 IN CNAME a.example."}, fails: "without end",
		},
		{
			name: "NXDOMAIN behind an alias", asked: "a.example", qtype: dns.TypeA, rcode: dns.RcodeNameError,
			records: []string{"a.example. 60 IN CNAME gone.example.", "--", soa},
			want:    "a.example.|CNAME / example.|SOA", facts: "gone.example", lifetime: 60 * time.Second,
		},
		{
			name: "NODATA keeps the smaller of SOA TTL and minimum", asked: "a.example", qtype: dns.TypeA,
			records: []string{"--", soa}, want: "/ example.|SOA", lifetime: 120 * time.Second,
		},
		{
			name: "a negative answer is kept an hour at most", asked: "a.example", qtype: dns.TypeA, rcode: dns.RcodeNameError,
			records: []string{"--", "example. 90000 IN SOA ns.example. host.example. 1 2 3 4 90000"}, want: "/ example.|SOA", lifetime: time.Hour,
		},
		{
			name: "NODATA without an SOA", asked: "a.example", qtype: dns.TypeA,
			records: []string{"--", "example. 60 IN NS ns.example."}, want: "", lifetime: 0,
		},
		{
			name: "an SOA beside the name", asked: "a.example", qtype: dns.TypeA, rcode: dns.RcodeNameError,
			records: []string{"--", "other.example. 60 IN SOA ns.example. host.example. 1 2 3 4 60"}, want: "", lifetime: 0,
		},
		{
			name: "TTLs are sane", asked: "a.example", qtype: dns.TypeA,
			records: []string{"a.example. 4294967295 IN A 192.0.2.1"}, want: "a.example.|A", facts: "192.0.2.1", lifetime: 0,
		},
		{
			name: "a day at most", asked: "a.example", qtype: dns.TypeA,
			records: []string{"a.example. 2000000 IN A 192.0.2.1"}, want: "a.example.|A", facts: "192.0.2.1", lifetime: 24 * time.Hour,
		},
		{
			name: "signatures, wanted", asked: "a.example", qtype: dns.TypeA, do: true,
			records: []string{"a.example. 60 IN CNAME b.example.", rrsig("a.example.", "CNAME"), "b.example. 60 IN A 192.0.2.1", rrsig("b.example.", "A"),
				rrsig("b.example.", "TXT"), "--", "b.example. 60 IN NSEC c.example. A", rrsig("b.example.", "NSEC"), "example. 60 IN NS ns.example."},
			want:  "a.example.|CNAME a.example.|RRSIG b.example.|A b.example.|RRSIG / b.example.|NSEC b.example.|RRSIG",
			facts: "b.example 192.0.2.1", lifetime: 60 * time.Second,
		},
		{
			name: "signatures, not wanted", asked: "a.example", qtype: dns.TypeA,
			records: []string{"a.example. 60 IN A 192.0.2.1", rrsig("a.example.", "A"), "--", "a.example. 60 IN NSEC c.example. A"},
			want:    "a.example.|A", facts: "192.0.2.1", lifetime: 60 * time.Second,
		},
		{
			name: "facts of services", asked: "a.example", qtype: dns.TypeHTTPS,
			records: []string{"a.example. 60 IN HTTPS 0 Alias.example.", "a.example. 60 IN HTTPS 1 . ipv4hint=192.0.2.1 ipv6hint=2001:db8::1", "a.example. 60 IN HTTPS 2 alias.example. ipv4hint=192.0.2.1"},
			want:    "a.example.|HTTPS a.example.|HTTPS a.example.|HTTPS", facts: "alias.example 192.0.2.1 2001:db8::1", lifetime: 60 * time.Second,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wire, err := dnswire.WireName(tt.asked)
			if err != nil {
				t.Fatal(err)
			}
			e, err := digest(response(t, tt.asked, tt.qtype, tt.rcode, tt.records...), lookupKey{name: wire, qtype: tt.qtype, do: tt.do}, ordinaryTTLs(), newClock().Now())
			if tt.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fails) {
					t.Errorf("error %v, want %q", err, tt.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var kept dns.Msg
			if err := kept.Unpack(e.whole.wire); err != nil {
				t.Fatal(err)
			}
			var parts []string
			for _, r := range kept.Answer {
				parts = append(parts, r.Header().Name+"|"+typeName(r.Header().Rrtype))
			}
			for i, r := range kept.Ns {
				if i == 0 {
					parts = append(parts, "/")
				}
				parts = append(parts, r.Header().Name+"|"+typeName(r.Header().Rrtype))
			}
			if got := strings.Join(parts, " "); got != tt.want {
				t.Errorf("kept %q, want %q", got, tt.want)
			}
			var facts []string
			for _, f := range e.facts {
				facts = append(facts, f.String())
			}
			if got := strings.Join(facts, " "); got != tt.facts {
				t.Errorf("facts %q, want %q", got, tt.facts)
			}
			if e.lifetime != tt.lifetime {
				t.Errorf("lifetime %v, want %v", e.lifetime, tt.lifetime)
			}
			if len(kept.Extra) != 0 || kept.Rcode != tt.rcode {
				t.Errorf("additional %v, rcode %d", kept.Extra, kept.Rcode)
			}
		})
	}
}

// A record without data gives the second look nothing to judge, and clients
// nothing but room for what each of them makes of it.
func TestHollowRecordsAreDropped(t *testing.T) {
	good := map[uint16]string{
		dns.TypeA:     "a.example. 60 IN A 192.0.2.1",
		dns.TypeAAAA:  "a.example. 60 IN AAAA 2001:db8::1",
		dns.TypeCNAME: "a.example. 60 IN CNAME b.example.",
		dns.TypeDNAME: "a.example. 60 IN DNAME b.example.",
		dns.TypeSVCB:  "a.example. 60 IN SVCB 1 b.example.",
		dns.TypeHTTPS: "a.example. 60 IN HTTPS 1 b.example.",
	}
	for qtype, record := range good {
		for _, beside := range []bool{false, true} {
			m := response(t, "a.example", qtype, 0)
			m.Answer = append(m.Answer, &dns.RFC3597{Hdr: dns.RR_Header{Name: "a.example.", Rrtype: qtype, Class: dns.ClassINET, Ttl: 60}})
			want := 0
			if beside {
				r, err := dns.NewRR(record)
				if err != nil {
					t.Fatal(err)
				}
				m.Answer = append(m.Answer, r)
				want = 1
			}
			wire, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			var received, kept dns.Msg
			if err := received.Unpack(wire); err != nil || len(received.Answer) != want+1 {
				t.Fatalf("%s: %v, %v", typeName(qtype), err, &received)
			}
			e, err := digest(&received, lookupKey{name: "\x01a\x07example\x00", qtype: qtype}, ordinaryTTLs(), newClock().Now())
			if err != nil {
				t.Fatal(err)
			}
			if err := kept.Unpack(e.whole.wire); err != nil || len(kept.Answer) != want || len(e.facts) != want || (e.lifetime > 0) != beside {
				t.Errorf("%s: %v, %v, facts %v, for %v", typeName(qtype), err, kept.Answer, e.facts, e.lifetime)
			}
		}
	}
}

// Whatever an upstream sends: no panic, and what is made of it is well formed,
// answers the question and keeps no fact from the policy.
func FuzzUpstreamResponse(f *testing.F) {
	key := lookupKey{name: "\x01a\x07example\x00", qtype: dns.TypeHTTPS, do: true}
	for _, records := range [][]string{
		{"a.example. 60 IN HTTPS 1 zoom.us. alpn=h2 ipv4hint=3.7.35.1"},
		{"a.example. 60 IN CNAME b.example.", "b.example. 60 IN HTTPS 0 zoom.us."},
		{"x.example. 60 IN DNAME y.example.", "--", "example. 60 IN SOA a. b. 1 2 3 4 5", "--", "a. 1 IN A 1.2.3.4"},
	} {
		wire, err := response(f, "a.example", dns.TypeHTTPS, 0, records...).Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
		f.Add(wire[:len(wire)-4])
	}
	asked, err := withEDNS(query("A.exAmple", dns.TypeHTTPS), 1232, false).Pack()
	if err != nil {
		f.Fatal(err)
	}
	var q dnswire.Question
	q.Read(asked)
	now := newClock().Now()
	f.Fuzz(func(t *testing.T, wire []byte) {
		m := new(dns.Msg)
		if err := m.Unpack(wire); err != nil || len(m.Question) != 1 || !strings.EqualFold(m.Question[0].Name, "a.example.") {
			return // upstream passes on answers to the question only
		}
		e, err := digest(m, key, ordinaryTTLs(), now)
		if err != nil {
			return
		}
		reply := dnswire.FinishReply(e.start(nil, &q, formNoECH|formNoH3, 1, 30), &q, dnswire.UDPLimit(&q.EDNS), e.rcode, new(dnswire.ReplyOptions))
		var got dns.Msg
		if err := got.Unpack(reply); err != nil {
			t.Fatalf("reply %x: %v", reply, err)
		}
		if len(reply) > dnswire.UDPPayload || got.Question[0].Name != "A.exAmple." || len(got.Extra) != 1 {
			t.Fatalf("reply of %d bytes: %v", len(reply), &got)
		}
		for _, r := range append(got.Answer, got.Ns...) {
			if r.Header().Ttl > 30 {
				t.Fatalf("TTL of %v", r)
			}
		}
		facts := make(map[string]bool)
		for _, f := range e.facts {
			facts[f.String()] = true
		}
		for _, r := range got.Answer {
			if c, ok := r.(*dns.CNAME); ok {
				if h, ok := hostOf(c.Target); ok && !facts[h.String()] {
					t.Fatalf("%v is no fact of %v", c, e.facts)
				}
			}
		}
	})
}

// An answer may lead to so many places, and an IPv6 address to the IPv4
// address that a translator makes of it.
func TestFactsOfHostileAnswers(t *testing.T) {
	asked := new(dns.Msg).SetQuestion("hints.example.", dns.TypeHTTPS)
	var hints []net.IP
	for i := range 1000 {
		hints = append(hints, net.IPv4(198, 51, byte(i>>8), byte(i)))
	}
	record := &dns.HTTPS{SVCB: dns.SVCB{
		Hdr:      dns.RR_Header{Name: "hints.example.", Rrtype: dns.TypeHTTPS, Class: dns.ClassINET, Ttl: 60},
		Priority: 1, Target: ".", Value: []dns.SVCBKeyValue{&dns.SVCBIPv4Hint{Hint: hints}},
	}}
	reply := new(dns.Msg).SetReply(asked)
	reply.Answer = []dns.RR{record}
	if _, err := digest(reply, lookupKey{name: "\x05hints\x07example\x00", qtype: dns.TypeHTTPS}, ordinaryTTLs(), time.Now()); err == nil {
		t.Error("a thousand hints were taken")
	}

	facts, _ := factsOf([]dns.RR{&dns.AAAA{AAAA: net.ParseIP("64:ff9b::307:2301")}})
	if want := policy.HostFromAddr(netip.MustParseAddr("3.7.35.1")); !slices.Contains(facts, want) {
		t.Errorf("facts %v, want %s among them", facts, want)
	}
}

// ordinaryTTLs are the bounds that a door has where nobody sets others.
func ordinaryTTLs() ttlBounds { return ttlBounds{max: maxTTL, maxNegative: defaultNegativeTTL} }
