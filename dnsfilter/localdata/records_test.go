package localdata

import (
	"errors"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestRecords(t *testing.T) {
	d := made(t, Config{Records: []string{
		"nas.corp.example. 120 IN A 10.0.0.5",
		"nas.corp.example 120 IN AAAA fd00::5",
		"NAS.corp.example. 60 IN A 10.0.0.6 ; the set takes the lower TTL",
		"nas.corp.example. 60 IN A 10.0.0.6",
		"a.b.deep.example. IN TXT \"no TTL of its own\"",
		"*.lab.example. 30 IN A 10.9.9.9",
		"host.lab.example. 30 IN TXT here",
		"below.between.lab.example. 30 IN TXT here",
		"www.corp.example. 30 IN CNAME nas.corp.example.",
		"web.corp.example. 30 IN CNAME www.corp.example.",
		"out.corp.example. 30 IN CNAME cdn.example.net.",
		"lost.corp.example. 30 IN CNAME gone.zone.example.",
		"zone.example. 3600 IN SOA ns.zone.example. admin.zone.example. 7 3600 600 86400 900",
		"zone.example. 3600 IN NS ns.zone.example.",
		"ns.zone.example. 3600 IN A 10.0.0.53",
		"x.y.zone.example. 3600 IN A 10.0.0.54",
		"$ORIGIN block.example.\n$TTL 77\none A 10.1.0.1\n    TXT two\n",
		"$GENERATE 1-3 pc$.gen.example. 300 A 10.2.0.$",
		`sp\032ace.example. 30 IN A 10.0.0.9`,
	}})
	asks(t, d, [][2]string{
		{"nas.corp.example A", "NOERROR | nas.corp.example. 60 A 10.0.0.5 | nas.corp.example. 60 A 10.0.0.6"},
		{"nas.corp.example AAAA", "NOERROR | nas.corp.example. 120 AAAA fd00::5"},
		{"nas.corp.example HTTPS", "NOERROR | soa nas.corp.example."},
		{"nas.corp.example DS", "NOERROR | soa nas.corp.example."},
		{"below.nas.corp.example A", "upstream"},
		{"corp.example A", "upstream"},
		{"example A", "upstream"},
		{". NS", "upstream"},
		{"a.b.deep.example TXT", `NOERROR | a.b.deep.example. 300 TXT "no TTL of its own"`},
		{"b.deep.example TXT", "upstream"},

		{"any.lab.example A", "NOERROR | any.lab.example. 30 A 10.9.9.9"},
		{"far.below.lab.example A", "NOERROR | far.below.lab.example. 30 A 10.9.9.9"},
		{"any.lab.example AAAA", "NOERROR | soa any.lab.example."},
		{"*.lab.example A", "NOERROR | *.lab.example. 30 A 10.9.9.9"},
		{"lab.example A", "upstream"},
		{"host.lab.example A", "NOERROR | soa host.lab.example."},
		{"under.host.lab.example A", "upstream"}, // the wildcard is not the closest encloser's
		{"between.lab.example A", "upstream"},    // an empty non-terminal is there
		{"under.between.lab.example A", "upstream"},

		{"web.corp.example A", "NOERROR | web.corp.example. 30 CNAME www.corp.example. | www.corp.example. 30 CNAME nas.corp.example. | nas.corp.example. 60 A 10.0.0.5 | nas.corp.example. 60 A 10.0.0.6"},
		{"www.corp.example MX", "NOERROR | www.corp.example. 30 CNAME nas.corp.example. | soa nas.corp.example."},
		{"www.corp.example CNAME", "NOERROR | www.corp.example. 30 CNAME nas.corp.example."},
		{"out.corp.example A", "NOERROR | out.corp.example. 30 CNAME cdn.example.net. | continues cdn.example.net."},
		{"out.corp.example CNAME", "NOERROR | out.corp.example. 30 CNAME cdn.example.net."},
		{"lost.corp.example A", "NXDOMAIN | lost.corp.example. 30 CNAME gone.zone.example. | soa zone.example."},

		{"zone.example SOA", "NOERROR | zone.example. 3600 SOA ns.zone.example. admin.zone.example. 7 3600 600 86400 900"},
		{"zone.example A", "NOERROR | soa zone.example."},
		{"zone.example DS", "upstream"},
		{"ns.zone.example A", "NOERROR | ns.zone.example. 3600 A 10.0.0.53"},
		{"ns.zone.example MX", "NOERROR | soa zone.example."},
		{"no.zone.example A", "NXDOMAIN | soa zone.example."},
		{"y.zone.example A", "NOERROR | soa zone.example."},
		{"no.x.y.zone.example A", "NXDOMAIN | soa zone.example."},
		{"notzone.example A", "upstream"},

		{"one.block.example A", "NOERROR | one.block.example. 77 A 10.1.0.1"},
		{"one.block.example TXT", `NOERROR | one.block.example. 77 TXT "two"`},
		{"pc3.gen.example A", "NOERROR | pc3.gen.example. 300 A 10.2.0.3"},
		{"pc4.gen.example A", "upstream"},
		{`sp\032ace.example A`, `NOERROR | sp\ ace.example. 30 A 10.0.0.9`},
		{"one.block.example ANY", `NOERROR | one.block.example. 77 A 10.1.0.1 | one.block.example. 77 TXT "two"`},
	})
}

// A reply is the caller's: what is done to it must not show in the next.
func TestRepliesAreCopies(t *testing.T) {
	d := made(t, Config{Records: []string{"a.example. 300 IN A 10.0.0.1", "z.example. 300 IN SOA a.example. b.example. 1 2 3 4 300"}})
	for range 2 {
		for _, name := range []string{"a.example", "no.z.example", "no.invalid", "localhost"} {
			reply, ours := d.Answer(wire(t, name), dns.TypeA)
			if !ours {
				t.Fatalf("%s is not ours", name)
			}
			for _, rr := range append(reply.Answer, reply.Ns...) {
				if h := rr.Header(); h.Ttl == 0 || h.Name == "changed." {
					t.Fatalf("%s: an earlier reply's change shows: %v", name, rr)
				}
				rr.Header().Ttl, rr.Header().Name = 0, "changed."
				if a, ok := rr.(*dns.A); ok {
					clear(a.A)
				}
			}
		}
	}
	if got := ask(t, d, "a.example A"); got != "NOERROR | a.example. 300 A 10.0.0.1" {
		t.Error(got)
	}
}

func TestRecordMistakes(t *testing.T) {
	good := "good.example. 60 IN A 10.0.0.1"
	for _, c := range []struct {
		records []string
		index   int
		want    string
	}{
		{[]string{good, "bad.example. 60 IN A 10.0.0"}, 1, `record 2 "bad.example. 60 IN A 10.0.0": `},
		{[]string{good, good + "\nbad.example. 60 IN A 10.0.0"}, 1, "line: 2:"},
		{[]string{"bad.example. 60 IN A 10.0.0"}, 0, `such as "nas.corp.example. 300 IN A 10.0.0.5"`},
		{[]string{""}, 0, "no record in it"},
		{[]string{"; nothing"}, 0, "no record in it"},
		{[]string{"$INCLUDE secrets"}, 0, "$INCLUDE"},
		{[]string{"300 IN A 10.0.0.5"}, 0, "the owner's name comes first"},
		{[]string{"a.example. 60 CH TXT x"}, 0, "only IN"},
		{[]string{". 60 IN A 10.0.0.1"}, 0, "name a domain"},
		{[]string{"*. 60 IN A 10.0.0.1"}, 0, "name a domain"},
		{[]string{"a.example. 60 IN DNAME b.example."}, 0, "CNAME for each name"},
		{[]string{"a.example. 60 IN NSEC b.example. A"}, 0, "not signed"},
		{[]string{"*.a.example. 60 IN SOA a.example. b.example. 1 2 3 4 5"}, 0, "wildcard owns no SOA"},
		{[]string{good, "good.example. 60 IN CNAME other.example."}, 1, "keep one or the other"},
		{[]string{"a.example. 60 IN CNAME b.example.", "a.example. 60 IN CNAME c.example."}, 0, "alias of two names"},
		{[]string{"a.example. 60 IN SOA a.example. b.example. 1 2 3 4 5", "a.example. 60 IN SOA a.example. b.example. 2 2 3 4 5"}, 0, "two SOA"},
		{[]string{"theirs.example. 60 IN SOA a.example. b.example. 1 2 3 4 5"}, 0, "dns.forward"},
		{[]string{"a.example. 60 IN CNAME a.example."}, 0, "circle"},
		{[]string{"a.example. 60 IN CNAME b.example.", "b.example. 60 IN CNAME a.example."}, 0, "circle"},
		{[]string{good, "*.a.example. 60 IN CNAME x.a.example."}, 1, "circle"},
		{[]string{"db.localhost. 60 IN A 10.0.0.1"}, 0, "always the machine that asks"},
		{[]string{"x.invalid. 60 IN A 10.0.0.1"}, 0, "never exists"},
		{[]string{"x.onion. 60 IN A 10.0.0.1"}, 0, "Tor"},
		{[]string{"_dns.resolver.arpa. 60 IN SVCB 1 dns.example."}, 0, "dns.designated"},
		{[]string{"$GENERATE 1-60000 a$.example. A 10.0.0.1\n$GENERATE 1-60000 b$.example. A 10.0.0.1"}, 0, "more than 100000 records"},
	} {
		_, err := New(Config{Records: c.records, Forwarded: []string{"theirs.example"}})
		var problem *RecordError
		if !errors.As(err, &problem) {
			t.Errorf("%q: %v", c.records, err)
			continue
		}
		if problem.Index != c.index || problem.Text != c.records[c.index] || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: entry %d: %v\nwant entry %d and %q", c.records, problem.Index, err, c.index, c.want)
		}
	}
}

// All mistakes are told at once.
func TestEveryRecordMistake(t *testing.T) {
	_, err := New(Config{Records: []string{"a.example. IN A x", "b.example. 60 IN A 10.0.0.1", "c.example. IN A y"}})
	if err == nil || !strings.Contains(err.Error(), "record 1 ") || !strings.Contains(err.Error(), "record 3 ") {
		t.Error(err)
	}
}

// The longest chain that is taken is answered whole.
func TestLongestChain(t *testing.T) {
	records := []string{"n8.example. 60 IN A 10.0.0.1"}
	for i := range 8 {
		records = append(records, strings.NewReplacer("#", string(rune('0'+i)), "@", string(rune('1'+i))).Replace("n#.example. 60 IN CNAME n@.example."))
	}
	d := made(t, Config{Records: records})
	got := ask(t, d, "n0.example A")
	if !strings.HasSuffix(got, "n8.example. 60 A 10.0.0.1") {
		t.Error(got)
	}
	_, err := New(Config{Records: append(records, "m.example. 60 IN CNAME n0.example.")})
	if err == nil || !strings.Contains(err.Error(), "further than 8") {
		t.Error(err)
	}
}
