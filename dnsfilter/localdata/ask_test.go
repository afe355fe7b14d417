package localdata

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// made makes a Data or fails the test.
func made(t testing.TB, c Config) *Data {
	t.Helper()
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// wire is a name in the form that Answer takes.
func wire(t testing.TB, name string) string {
	t.Helper()
	w, err := wireOf(name)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// ask asks "name TYPE" and writes the reply down in one line: "upstream" where
// it is nobody's, else the response code, the answers without class, and the
// owner of the SOA.
func ask(t testing.TB, d *Data, question string) string {
	t.Helper()
	name, kind, _ := strings.Cut(question, " ")
	qtype, ok := dns.StringToType[kind]
	if !ok {
		t.Fatalf("question %q: no such type", question)
	}
	reply, ours := d.Answer(wire(t, name), qtype)
	if !ours {
		return "upstream"
	}
	if len(reply.Question) != 1 || wire(t, reply.Question[0].Name) != wire(t, name) || reply.Question[0].Qtype != qtype {
		t.Errorf("%s: the reply's question is %v", question, reply.Question)
	}
	if _, err := reply.Pack(); err != nil {
		t.Errorf("%s: pack: %v", question, err)
	}
	parts := []string{dns.RcodeToString[reply.Rcode]}
	for _, rr := range reply.Answer {
		parts = append(parts, strings.ReplaceAll(strings.ReplaceAll(rr.String(), "\tIN\t", " "), "\t", " "))
	}
	for _, rr := range reply.Ns {
		soa, ok := rr.(*dns.SOA)
		if !ok {
			t.Errorf("%s: authority holds %v", question, rr)
			continue
		}
		if soa.Hdr.Ttl > soa.Minttl {
			t.Errorf("%s: the SOA's TTL %d is above its minimum %d", question, soa.Hdr.Ttl, soa.Minttl)
		}
		parts = append(parts, "soa "+soa.Hdr.Name)
	}
	if target, open := Continues(reply); open {
		parts = append(parts, "continues "+presentationOf(target))
	}
	return strings.Join(parts, " | ")
}

// asks runs a table of questions and replies.
func asks(t *testing.T, d *Data, table [][2]string) {
	t.Helper()
	for _, row := range table {
		if got := ask(t, d, row[0]); got != row[1] {
			t.Errorf("%s\n got %s\nwant %s", row[0], got, row[1])
		}
	}
}
