package dnsfilter

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
	"github.com/sallyport/sallyport/policy"
)

// The golden file shows every mode's answer to every kind of type, with and
// without EDNS.
func TestSinkholeGolden(t *testing.T) {
	var page []netip.Addr
	for _, a := range []string{"192.0.2.80", "192.0.2.81", "2001:db8::80"} {
		page = append(page, netip.MustParseAddr(a))
	}
	modes := []struct {
		name string
		mode policy.AnswerMode
		page []netip.Addr
	}{
		{"null", policy.AnswerNull, nil},
		{"nxdomain", policy.AnswerNXDOMAIN, nil},
		{"nodata", policy.AnswerNODATA, nil},
		{"refused", policy.AnswerRefused, nil},
		{"page", policy.AnswerPage, page},
		{"page with IPv4 only", policy.AnswerPage, page[:1]},
		{"page without a page", policy.AnswerPage, nil},
	}
	var got bytes.Buffer
	for _, m := range modes {
		s := sinkhole{mode: m.mode, ttl: 30 * time.Second, page: m.page}
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeHTTPS, dns.TypeTXT, dns.TypeSOA, dns.TypeANY} {
			for _, e := range []bool{false, true} {
				q := query("uS04.zoom.us", qtype)
				q.Id, q.CheckingDisabled = 7, true
				if e {
					withEDNS(q, 1232, true)
				}
				fmt.Fprintf(&got, "== %s, %s, EDNS %v\n%s\n", m.name, typeName(qtype), e, show(t, sink(t, &s, q, policy.Verdict{
					Rule: &policy.Rule{Name: "zoom-memo", Reason: "Privacy and security concerns"},
				})))
			}
		}
	}
	path := filepath.Join("testdata", "sinkhole.golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	gotLines, wantLines := strings.Split(got.String(), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(gotLines), len(wantLines)) {
		if i >= len(gotLines) || i >= len(wantLines) || gotLines[i] != wantLines[i] {
			t.Fatalf("line %d differs from %s; run with -update and read the difference", i+1, path)
		}
	}
}

func sink(t *testing.T, s *sinkhole, m *dns.Msg, v policy.Verdict) *dns.Msg {
	t.Helper()
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	var q dnswire.Question
	rcode := q.Read(wire)
	if rcode != dnswire.RcodeNoError {
		t.Fatalf("question: %d", rcode)
	}
	var o dnswire.ReplyOptions
	s.null = newSinkhole(new(Config)).null
	msg, rcode, why := s.start(nil, &q, &v, newClock().Now())
	o.Error = why
	msg = dnswire.FinishReply(msg, &q, dnswire.UDPLimit(&q.EDNS), rcode, &o)
	var reply dns.Msg
	if err := reply.Unpack(msg); err != nil {
		t.Fatalf("reply %x: %v", msg, err)
	}
	if reply.Rcode != rcode {
		t.Errorf("says %d, and has %d", rcode, reply.Rcode)
	}
	return &reply
}

// show is a reply as text whose shape is ours.
func show(t *testing.T, m *dns.Msg) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%s rd=%v ra=%v aa=%v ad=%v cd=%v tc=%v\n", dns.RcodeToString[m.Rcode],
		m.RecursionDesired, m.RecursionAvailable, m.Authoritative, m.AuthenticatedData, m.CheckingDisabled, m.Truncated)
	fmt.Fprintf(&b, "question   %s %s\n", m.Question[0].Name, typeName(m.Question[0].Qtype))
	for _, line := range texts(m.Answer) {
		fmt.Fprintf(&b, "answer     %s\n", line)
	}
	for _, line := range texts(m.Ns) {
		fmt.Fprintf(&b, "authority  %s\n", line)
	}
	for _, r := range m.Extra {
		opt, ok := r.(*dns.OPT)
		if !ok {
			t.Errorf("additional record %v", r)
			continue
		}
		fmt.Fprintf(&b, "edns       version=%d size=%d do=%v", opt.Version(), opt.UDPSize(), opt.Do())
		if e := ede(m); e != nil {
			fmt.Fprintf(&b, " ede=%d %q", e.InfoCode, e.ExtraText)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Every type of a refused name gets the same class of answer: the name exists
// for all of them or for none.
func TestSinkholeIsConsistent(t *testing.T) {
	for mode := policy.AnswerNull; mode <= policy.AnswerPage; mode++ {
		s := sinkhole{mode: mode, ttl: time.Minute, page: []netip.Addr{netip.MustParseAddr("192.0.2.80")}}
		rcodes := make(map[int]bool)
		for qtype := range uint16(300) {
			if !dnswire.LookupType(qtype) {
				continue
			}
			reply := sink(t, &s, query("zoom.us", qtype), policy.Verdict{})
			rcodes[reply.Rcode] = true
			negative := len(reply.Answer) == 0 && reply.Rcode != dns.RcodeRefused
			if negative != (len(reply.Ns) == 1) {
				t.Errorf("mode %d %s: SOA where there should be none, or none where there should be: %v", mode, typeName(qtype), reply)
			}
		}
		if len(rcodes) != 1 {
			t.Errorf("mode %d answers with %v", mode, rcodes)
		}
	}
}

func TestRuleOverridesMode(t *testing.T) {
	s := sinkhole{mode: policy.AnswerNull}
	reply := sink(t, &s, query("zoom.us", dns.TypeA), policy.Verdict{Rule: &policy.Rule{Answer: policy.AnswerNXDOMAIN}})
	if reply.Rcode != dns.RcodeNameError {
		t.Errorf("reply %v", reply)
	}
}

func TestTTLLimit(t *testing.T) {
	now := newClock().Now()
	tests := []struct {
		left time.Duration
		want uint32
	}{
		{-time.Hour, 0}, {0, 0}, {400 * time.Millisecond, 0}, {time.Second - 1, 0}, {time.Second, 1},
		{10*time.Second + 999*time.Millisecond, 10}, {1000 * time.Hour, 86400},
	}
	for _, tt := range tests {
		if got := ttlLimit(now.Add(tt.left), now); got != tt.want {
			t.Errorf("%v before an edge: %d, want %d", tt.left, got, tt.want)
		}
	}
	if got := ttlLimit(time.Time{}, now); got != 86400 {
		t.Errorf("without an edge: %d", got)
	}
}

func TestExtraText(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ""},
		{"one\nline\ttoo\x7f", "one line too "},
		{"bad \xff byte", "bad \uFFFD byte"},
		{strings.Repeat("x", 300), strings.Repeat("x", 200)},
		{strings.Repeat("x", 199) + "\u00fc", strings.Repeat("x", 199)},
		{strings.Repeat("x", 198) + "\U0001F6AB!", strings.Repeat("x", 198)},
		{strings.Repeat("x", 196) + "\U0001F6AB!", strings.Repeat("x", 196) + "\U0001F6AB"},
	}
	for _, tt := range tests {
		got := dnswire.Extended(dnswire.EDEBlocked, tt.in).Text
		if got != tt.want || !utf8.ValidString(got) {
			t.Errorf("%q: %q, want %q", tt.in, got, tt.want)
		}
	}
}

// The longest name leaves a client that offers the least no room for the
// reason; the refusal itself must still fit.
func TestLongestRefusalFits(t *testing.T) {
	name := strings.Repeat(strings.Repeat("x", 63)+".", 3) + strings.Repeat("y", 61)
	for _, mode := range []policy.AnswerMode{policy.AnswerNull, policy.AnswerNXDOMAIN} {
		s := sinkhole{mode: mode}
		reply := sink(t, &s, withEDNS(query(name, dns.TypeTXT), 0, false), policy.Verdict{
			Rule: &policy.Rule{Reason: strings.Repeat("reason ", 50)},
		})
		reply.Compress = true // as it was on the wire
		if reply.Truncated || len(reply.Ns) != 1 || reply.Len() > dnswire.MinUDPPayload {
			t.Errorf("mode %d: %v", mode, reply)
		}
		if e := ede(reply); e == nil || e.InfoCode != dnswire.EDEBlocked || e.ExtraText != "" {
			t.Errorf("mode %d: dnswire.Extended error %v, want Blocked without text", mode, e)
		}
	}
}
