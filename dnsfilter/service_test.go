package dnsfilter

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
	"github.com/sallyport/sallyport/dnsfilter/ingress"
	"github.com/sallyport/sallyport/policy"
)

const serviceRecord = "svc.example. 60 IN HTTPS 1 . alpn=h3,h2 ech=AEX+DQBBpQAgACDd"

// judging allows everything and says what of it a rule judges.
func judging(judged, stripH3 bool) deciderFunc {
	return func(r *policy.Request) policy.Verdict {
		v := allowAll(r)
		v.Judged, v.StripH3 = judged, stripH3
		return v
	}
}

func TestServiceRecordsAreStripped(t *testing.T) {
	for _, tt := range []struct {
		name            string
		mode            StripMode
		judged, stripH3 bool
		ech, h3         bool
	}{
		{"judged, by a rule", StripJudged, true, false, false, true},
		{"judged, by none", StripJudged, false, false, true, true},
		{"all", StripAll, false, false, false, true},
		{"never", StripNever, true, false, true, true},
		{"h3 too", StripJudged, true, true, false, false},
		{"h3 alone", StripNever, true, true, true, false},
	} {
		o := openDoor(t, judging(tt.judged, tt.stripH3), func(c *Config) { c.StripECH = tt.mode }, newZone(t, serviceRecord, "svc.example. 60 IN A 192.0.2.1"))
		for _, pass := range []string{"miss", "hit"} {
			reply := o.ask(query("svc.example", dns.TypeHTTPS))
			if len(reply.Answer) != 1 {
				t.Fatalf("%s, %s: %v", tt.name, pass, reply)
			}
			text := reply.Answer[0].String()
			if strings.Contains(text, "ech=") != tt.ech || strings.Contains(text, "h3") != tt.h3 || !strings.Contains(text, "h2") {
				t.Errorf("%s, %s: %s", tt.name, pass, text)
			}
		}
	}
}

// A name whose addresses are refused is not reached through its HTTPS record.
func TestServiceRecordsAreJudgedWithAddresses(t *testing.T) {
	o := openDoor(t, memo(policy.Rule{}), nil, newZone(t, serviceRecord, "svc.example. 60 IN A 3.7.35.1", "svc.example. 60 IN AAAA 2001:db8::1"))
	for range 2 {
		reply := o.ask(query("svc.example", dns.TypeHTTPS))
		if len(reply.Answer) != 0 || len(reply.Ns) != 1 {
			t.Errorf("reply %v", reply)
		}
		if d := o.lastDecision(); d.Verdict.Fact.String() != "3.7.35.1" {
			t.Errorf("refused for %v", d.Verdict.Fact)
		}
	}
}

// An HTTPS answer is there in time though the addresses are not: it is given,
// and not kept, for it was judged by half of what there is.
func TestServiceRecordsWithoutAddresses(t *testing.T) {
	zone := zoneScript(t, serviceRecord)
	up := newUpstream(t, func(q *dns.Msg, tcp bool) [][]byte {
		if q.Question[0].Qtype != dns.TypeHTTPS {
			return nil
		}
		return zone(q, tcp)
	})
	o := openDoor(t, deciderFunc(allowAll), func(c *Config) { c.QueryTimeout = time.Second }, up)
	began := time.Now()
	if reply := o.ask(query("svc.example", dns.TypeHTTPS)); len(reply.Answer) != 1 || reply.Answer[0].Header().Ttl != 60 {
		t.Errorf("reply %v", reply)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	wire, _ := dnswire.WireName("svc.example")
	e := o.lookups.cache.get([]byte(lookupKey{name: wire, qtype: dns.TypeHTTPS}.packed()))
	if e == nil || e.lifetime > failureTTL {
		t.Errorf("kept for longer than a moment: %+v", e)
	}
}

func TestParseStripMode(t *testing.T) {
	for text, want := range map[string]StripMode{"": StripJudged, "judged": StripJudged, "all": StripAll, "never": StripNever} {
		if got, err := ParseStripMode(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if _, err := ParseStripMode("some"); err == nil {
		t.Error("some is a mode")
	}
}

// A name that leads to an app which some rule names is judged by that rule,
// though it may let it pass today.
func TestServiceRecordsOfAliasesAreStripped(t *testing.T) {
	e := engine(t, `
version: 1
apps: {zoom: {name: Zoom, category: conferencing, domains: [zoom.us]}}
rules:
  - {name: later, what: {apps: [zoom]}, action: block, when: {from: 2199-01-01}}
default: allow
`)
	up := newZone(t, "vanity.example. 60 IN CNAME svc.zoom.us.", "svc.zoom.us. 60 IN HTTPS 1 . alpn=h2 ech=AEX+DQBBpQAgACDd", "svc.zoom.us. 60 IN A 192.0.2.1", serviceRecord)
	o := newDoor(t, e, nil, up)
	o.handler.prepare = e.Prepare
	for name, ech := range map[string]bool{"vanity.example": false, "svc.example": true} {
		wire, err := query(name, dns.TypeHTTPS).Pack()
		if err != nil {
			t.Fatal(err)
		}
		for _, pass := range []string{"miss", "hit"} {
			var m dns.Msg
			if err := m.Unpack(respond(o.handler, wire, ingress.TCP)); err != nil || len(m.Answer) == 0 {
				t.Fatalf("%s, %s: %v, %v", name, pass, err, &m)
			}
			if got := strings.Contains(m.Answer[len(m.Answer)-1].String(), "ech="); got != ech {
				t.Errorf("%s, %s: %v", name, pass, m.Answer)
			}
		}
	}
}

// While a policy takes another's place, nobody can say what rules make of an
// answer. Until that is known again, its clients get the form that hides nothing.
func TestServiceRecordsWhileThePolicyChanges(t *testing.T) {
	const text = "version: 1\nrules: [{name: other, what: {domains: [other.example]}, action: block}]\ndefault: allow\n"
	old, current := engine(t, text), engine(t, text)
	o := newDoor(t, current, nil, newZone(t, serviceRecord, "svc.example. 60 IN A 192.0.2.1"))
	o.handler.identify = func(a netip.Addr, _ *Peer) policy.Subject { return current.Subject(policy.Identity{Addr: a}) }
	wire, err := query("svc.example", dns.TypeHTTPS).Pack()
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		what    string
		prepare func([]policy.Host) *policy.Facts
		hides   bool
	}{{"before", current.Prepare, true}, {"while it changes", old.Prepare, false}} {
		o.lookups.cache.clear()
		o.handler.prepare = step.prepare
		for _, pass := range []string{"miss", "hit"} {
			var m dns.Msg
			if err := m.Unpack(respond(o.handler, wire, ingress.TCP)); err != nil || len(m.Answer) != 1 {
				t.Fatalf("%s, %s: %v, %v", step.what, pass, err, &m)
			}
			text := m.Answer[0].String()
			if strings.Contains(text, "ech=") != step.hides || strings.Contains(text, "h3") != step.hides || !strings.Contains(text, "h2") {
				t.Errorf("%s, %s: %s", step.what, pass, text)
			}
		}
	}
}
