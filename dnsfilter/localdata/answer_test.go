package localdata

import (
	"errors"
	"testing"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
)

// checkReply holds whatever was answered to what every reply must be.
func checkReply(t *testing.T, d *Data, name string, qtype uint16) {
	t.Helper()
	reply, ours := d.Answer(name, qtype)
	if !ours {
		if reply != nil {
			t.Fatalf("%q: a reply that is not ours: %v", name, reply)
		}
		return
	}
	packed, err := reply.Pack()
	if err != nil {
		t.Fatalf("%q: %v", name, err)
	}
	var again dns.Msg
	if err := again.Unpack(packed); err != nil {
		t.Fatalf("%q: %v", name, err)
	}
	if again.String() != reply.String() {
		t.Fatalf("%q: sent\n%v\nread\n%v", name, reply, &again)
	}
	asked, err := wireOf(reply.Question[0].Name)
	if err != nil || asked != name {
		t.Fatalf("asked %q, answered %q", name, asked)
	}
	_, open := Continues(reply)
	switch {
	case reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError:
		t.Fatalf("%q: %v", name, reply)
	case reply.Rcode == dns.RcodeNameError && len(reply.Ns) != 1:
		t.Fatalf("%q: does not exist, without SOA: %v", name, reply)
	case len(reply.Ns) == 0 && len(reply.Answer) == 0:
		t.Fatalf("%q: says nothing: %v", name, reply)
	case len(reply.Ns) == 1 && open:
		t.Fatalf("%q: goes on after its end: %v", name, reply)
	}
	last := name // the chain of aliases must hold together
	for _, rr := range reply.Answer {
		owner, err := wireOf(rr.Header().Name)
		if err != nil || owner != last {
			t.Fatalf("%q: %v does not belong to %q", name, rr, last)
		}
		if alias, ok := rr.(*dns.CNAME); ok && qtype != dns.TypeCNAME && qtype != dns.TypeANY {
			if last, err = wireOf(alias.Target); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, rr := range reply.Ns {
		owner, err := wireOf(rr.Header().Name)
		if err != nil || rr.Header().Rrtype != dns.TypeSOA || !within(last, owner) {
			t.Fatalf("%q: %v speaks for a name that it does not cover", name, rr)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	for _, name := range []string{
		".", "localhost", "a.b.invalid", "x.onion", "_dns.resolver.arpa", "5.0.0.10.in-addr.arpa", "0.0.10.in-addr.arpa",
		"1.0.0.127.in-addr.arpa", "1.d.f.ip6.arpa", "nas.corp.example", "no.zone.example", "a.lab.example", "*.lab.example",
		"c.example", "out.example", "999.10.in-addr.arpa", "g.0.d.f.ip6.arpa", `a\.b.lab.example`, "home.arpa",
	} {
		f.Add([]byte(wire(f, name)), uint16(dns.TypeA))
		f.Add([]byte(wire(f, name)), uint16(dns.TypePTR))
	}
	d := made(f, Config{
		Hosts: []string{hostsOf(f, "10.0.0.5 nas.corp.example", "fd12::1 a.b.home.arpa", "10.0.0.6 x.zone.example")},
		Records: []string{
			"*.lab.example. 30 IN A 10.9.9.9", "c.example. 30 IN CNAME nas.corp.example.", "out.example. 30 IN CNAME w.example.net.",
			"zone.example. 60 IN SOA ns.zone.example. admin.zone.example. 1 2 3 4 60", "*.w.zone.example. 60 IN CNAME x.lab.example.",
			"*.gone.example. 60 IN CNAME no.zone.example.",
		},
		Forwarded:  []string{"theirs.zone.example", "1.10.in-addr.arpa"},
		Designated: Designated{Name: "dns.corp.example", Endpoints: []Endpoint{{Transport: TransportTLS, Port: 853}}},
	})
	f.Fuzz(func(t *testing.T, name []byte, qtype uint16) {
		whole, next, ok := dnswire.ReadName(name, 0)
		if !ok || next != len(name) {
			return // the door asks about names only
		}
		checkReply(t, d, dnswire.LowerName(whole), qtype)
	})
}

func FuzzRecords(f *testing.F) {
	for _, seed := range []string{
		"nas.corp.example. 300 IN A 10.0.0.5", "*.a 1 CNAME b", "a CNAME a", "$ORIGIN x.\n@ SOA a b 1 2 3 4 5\nc A 1.2.3.4",
		"$TTL 5\na TXT \"x\" \"y\"", "a 300 IN HTTPS 1 . alpn=h2 ech=AAAA", "$GENERATE 1-3 a$ A 1.2.3.$", "a\\.b A 1.2.3.4", "x ( A\n 1.2.3.4 )",
		"a TYPE65280 \\# 2 abcd", "$INCLUDE x", "a DS 1 8 2 00", "3 A 1.2.3.4", "a LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := New(Config{Records: []string{text}})
		if err != nil {
			var problem *RecordError
			if !errors.As(err, &problem) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if len(d.tree.nodes) > 2000 {
			return // $GENERATE made many alike
		}
		for name, n := range d.tree.nodes {
			checkReply(t, d, name, dns.TypeA)
			for _, set := range n.sets {
				checkReply(t, d, name, set[0].Header().Rrtype)
			}
		}
	})
}
