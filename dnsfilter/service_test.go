package dnsfilter

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

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
