package dnsfilter

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
	"github.com/sallyport/sallyport/policy"
)

func TestRefusedNameNeverReachesUpstream(t *testing.T) {
	up := newZone(t, "us04web.zoom.us. 60 IN A 3.7.35.1")
	o := openDoor(t, memo(policy.Rule{}), nil, up)
	for _, network := range []string{"udp", "tcp"} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeHTTPS, dns.TypeTXT, dns.TypeANY, dns.TypeNS, 65280} {
			reply := o.askOver(network, withEDNS(query("US04web.Zoom.us", qtype), 1232, false))
			if reply.Rcode != dns.RcodeSuccess {
				t.Errorf("%s %s: %s, want NOERROR", network, typeName(qtype), dns.RcodeToString[reply.Rcode])
			}
			if e := ede(reply); e == nil || e.InfoCode != dns.ExtendedErrorCodeBlocked || e.ExtraText != "Privacy and security concerns" {
				t.Errorf("%s %s: dnswire.Extended error %v, want Blocked with the reason", network, typeName(qtype), e)
			}
			if reply.Question[0].Name != "US04web.Zoom.us." {
				t.Errorf("%s: question %q came back in other letters", network, reply.Question[0].Name)
			}
			d := o.lastDecision()
			if d.Host.Name() != "us04web.zoom.us" || d.Transport != network || d.QType != typeName(qtype) ||
				d.Verdict.RuleName() != "zoom-memo" || d.Client != netip.MustParseAddr("127.0.0.1") || d.Door != policy.DoorDNS {
				t.Errorf("recorded %+v", d)
			}
		}
	}
	if n := len(o.decisions()); n != 14 {
		t.Errorf("%d decisions recorded for 14 queries", n)
	}
	if n := up.udp.Load() + up.tcp.Load(); n != 0 {
		t.Errorf("upstream was asked %d times about a refused name", n)
	}
}

func TestWarnRefusesAsBlockDoes(t *testing.T) {
	o := openDoor(t, memo(policy.Rule{Action: policy.ActionWarn}), nil)
	reply := o.ask(query("zoom.us", dns.TypeA))
	if got := texts(reply.Answer); !slices.Equal(got, []string{"zoom.us. 30 IN A 0.0.0.0"}) {
		t.Errorf("answer %q", got)
	}
	if d := o.lastDecision(); d.Verdict.Action != policy.ActionWarn {
		t.Errorf("recorded %v, want warn", d.Verdict.Action)
	}
}

func TestSecondLook(t *testing.T) {
	up := newZone(t,
		"vanity.corp.example. 60 IN CNAME hop.corp.example.",
		"hop.corp.example. 60 IN CNAME Us04Web.ZOOM.us.",
		"us04web.zoom.us. 60 IN A 192.0.2.7",
		"svc.corp.example. 60 IN HTTPS 1 zoom.us. alpn=h2",
		"svcb.corp.example. 60 IN SVCB 1 media.zoom.us.",
		"hint.corp.example. 60 IN HTTPS 1 . ipv4hint=192.0.2.1,3.7.35.9",
		"hint6.corp.example. 60 IN HTTPS 1 . ipv6hint=2620:123:2000::9",
		"addr.corp.example. 60 IN A 3.7.35.10",
		"mapped.corp.example. 60 IN AAAA ::ffff:3.7.35.10",
		"fine.corp.example. 60 IN CNAME zoom.us.evil.example.",
		"zoom.us.evil.example. 60 IN A 192.0.2.8",
		`dotted.corp.example. 60 IN CNAME www\.zoom\.us.`,
	)
	tests := []struct {
		name  string
		qtype uint16
		fact  string // that refuses; empty: answered
	}{
		{"vanity.corp.example", dns.TypeA, "us04web.zoom.us"},
		{"vanity.corp.example", dns.TypeTXT, "us04web.zoom.us"},
		{"hop.corp.example", dns.TypeCNAME, "us04web.zoom.us"},
		{"svc.corp.example", dns.TypeHTTPS, "zoom.us"},
		{"svcb.corp.example", dns.TypeSVCB, "media.zoom.us"},
		{"hint.corp.example", dns.TypeHTTPS, "3.7.35.9"},
		{"hint6.corp.example", dns.TypeHTTPS, "2620:123:2000::9"},
		{"addr.corp.example", dns.TypeA, "3.7.35.10"},
		{"mapped.corp.example", dns.TypeAAAA, "3.7.35.10"},
		{"fine.corp.example", dns.TypeA, ""},
		{"dotted.corp.example", dns.TypeCNAME, ""},
	}
	o := openDoor(t, memo(policy.Rule{}), nil, up)
	for _, pass := range []string{"miss", "hit"} {
		for _, tt := range tests {
			t.Run(pass+"/"+tt.name+"/"+typeName(tt.qtype), func(t *testing.T) {
				before := len(o.decisions())
				reply := o.ask(withEDNS(query(tt.name, tt.qtype), 1232, false))
				d := o.lastDecision()
				if n := len(o.decisions()) - before; n != 1 {
					t.Errorf("%d decisions recorded for one query", n)
				}
				if d.Host.Name() != tt.name {
					t.Errorf("recorded host %q, want what was asked", d.Host)
				}
				if tt.fact == "" {
					if d.Verdict.Action != policy.ActionAllow || len(reply.Answer) == 0 || ede(reply) != nil {
						t.Fatalf("refused: %v", reply)
					}
					return
				}
				if d.Verdict.Fact.String() != tt.fact {
					t.Errorf("refused for %q, want %q", d.Verdict.Fact, tt.fact)
				}
				if !slices.ContainsFunc(d.Facts, func(h policy.Host) bool { return h.String() == tt.fact }) {
					t.Errorf("facts %v do not hold %q", d.Facts, tt.fact)
				}
				if e := ede(reply); e == nil || e.InfoCode != dns.ExtendedErrorCodeBlocked {
					t.Errorf("extended error %v, want Blocked", e)
				}
				for _, r := range reply.Answer {
					if r.Header().Name != dns.Fqdn(tt.name) || r.Header().Rrtype == dns.TypeCNAME {
						t.Errorf("the sinkhole leaks %q", r)
					}
				}
			})
		}
	}
}

func TestAllowedAnswerIsRelayed(t *testing.T) {
	up := newZone(t,
		"www.example. 120 IN CNAME host.example.",
		"host.example. 60 IN A 192.0.2.1",
		"host.example. 60 IN A 192.0.2.2",
	)
	o := openDoor(t, deciderFunc(allowAll), nil, up)
	// Names are compressed against the question, so its letters shine through.
	want := []string{"wWw.ExAmPlE. 120 IN CNAME host.ExAmPlE.", "host.ExAmPlE. 60 IN A 192.0.2.1", "host.ExAmPlE. 60 IN A 192.0.2.2"}
	reply := o.ask(query("wWw.ExAmPlE", dns.TypeA))
	if got := texts(reply.Answer); !slices.Equal(got, want) {
		t.Errorf("answer %q, want %q", got, want)
	}
	if reply.IsEdns0() != nil {
		t.Error("an OPT record for a client that sent none")
	}
	if !reply.RecursionAvailable || !reply.RecursionDesired || reply.Authoritative || reply.AuthenticatedData {
		t.Errorf("flags %+v", reply.MsgHdr)
	}
	o.clock.Advance(45 * time.Second)
	reply = o.ask(query("www.example", dns.TypeA))
	want = []string{"www.example. 75 IN CNAME host.example.", "host.example. 15 IN A 192.0.2.1", "host.example. 15 IN A 192.0.2.2"}
	if got := texts(reply.Answer); !slices.Equal(got, want) {
		t.Errorf("after 45 s: %q, want %q", got, want)
	}
	if n := up.udp.Load(); n != 1 {
		t.Errorf("upstream was asked %d times, want once", n)
	}
	o.clock.Advance(15 * time.Second)
	o.ask(query("www.example", dns.TypeA))
	if n := up.udp.Load(); n != 2 {
		t.Errorf("upstream was asked %d times after the TTL, want twice", n)
	}
	hits := func() float64 { return o.metric("sallyport_dns_cache_hits_total") }
	misses := func() float64 { return o.metric("sallyport_dns_cache_misses_total") }
	eventually(t, "three lookups to be counted", func() bool { return hits()+misses() >= 3 })
	if hits, misses := hits(), misses(); hits != 1 || misses != 2 {
		t.Errorf("%v hits and %v misses, want 1 and 2", hits, misses)
	}
}

func TestNegativeAnswersAreCached(t *testing.T) {
	up := newZone(t, "host.example. 60 IN A 192.0.2.1")
	o := openDoor(t, deciderFunc(allowAll), nil, up)
	for range 2 {
		reply := o.ask(query("none.example", dns.TypeA))
		if reply.Rcode != dns.RcodeNameError || len(reply.Ns) != 1 || reply.Ns[0].Header().Ttl != 300 {
			t.Errorf("NXDOMAIN: %v", reply)
		}
		reply = o.ask(query("host.example", dns.TypeTXT))
		if reply.Rcode != dns.RcodeSuccess || len(reply.Answer) != 0 || len(reply.Ns) != 1 {
			t.Errorf("NODATA: %v", reply)
		}
	}
	if n := up.udp.Load(); n != 2 {
		t.Errorf("upstream was asked %d times, want once each", n)
	}
	o.clock.Advance(300 * time.Second)
	o.ask(query("none.example", dns.TypeA))
	if n := up.udp.Load(); n != 3 {
		t.Errorf("NXDOMAIN outlived its SOA's minimum")
	}
}

func TestNothingOutlivesAnEdge(t *testing.T) {
	up := newZone(t, "zoom.us. 600 IN A 192.0.2.1")
	clk := newClock()
	from := clk.Now().Add(10*time.Second + 400*time.Millisecond)
	until := from.Add(20 * time.Second)
	window := deciderFunc(func(r *policy.Request) policy.Verdict {
		v := allowAll(r)
		switch {
		case r.At.Before(from):
			v.NextEdge = from
		case r.At.Before(until):
			v = policy.Verdict{Rule: &policy.Rule{Name: "memo"}, NextEdge: until}
		}
		return v
	})
	o := openDoor(t, window, nil, up)
	steps := []struct {
		advance time.Duration
		want    string
	}{
		{0, "zoom.us. 10 IN A 192.0.2.1"},
		{9 * time.Second, "zoom.us. 1 IN A 192.0.2.1"},
		{time.Second, "zoom.us. 0 IN A 192.0.2.1"}, // 0.4 s left: no time at all
		{399 * time.Millisecond, "zoom.us. 0 IN A 192.0.2.1"},
		{time.Millisecond, "zoom.us. 20 IN A 0.0.0.0"}, // on the instant
		{19*time.Second + 900*time.Millisecond, "zoom.us. 0 IN A 0.0.0.0"},
		{100 * time.Millisecond, "zoom.us. 570 IN A 192.0.2.1"}, // 30.4 s old
	}
	for _, step := range steps {
		o.clock.Advance(step.advance)
		if got := texts(o.ask(query("zoom.us", dns.TypeA)).Answer); !slices.Equal(got, []string{step.want}) {
			t.Errorf("at %v: %q, want %q", o.clock.Now(), got, step.want)
		}
	}
}

// A verdict that allows the name and everything it leads to holds no longer
// than the verdict on the name alone, which comes first.
func TestAnswerEndsWithTheEarlierLook(t *testing.T) {
	up := newZone(t, "a.example. 600 IN A 192.0.2.1")
	edge := newClock().Now().Add(5 * time.Second)
	o := openDoor(t, deciderFunc(func(r *policy.Request) policy.Verdict {
		v := allowAll(r)
		if len(r.Derived) == 0 {
			v.NextEdge = edge
		}
		return v
	}), nil, up)
	if got := o.ask(query("a.example", dns.TypeA)).Answer[0].Header().Ttl; got != 5 {
		t.Errorf("TTL %d, want 5", got)
	}
}

func TestEdgeThatPassesDuringALookup(t *testing.T) {
	up := newUpstream(t, silent)
	ban := newClock().Now().Add(30 * time.Second)
	o := openDoor(t, deciderFunc(func(r *policy.Request) policy.Verdict {
		if r.At.Before(ban) {
			return allowAll(r)
		}
		return policy.Verdict{Rule: &policy.Rule{Name: "ban"}}
	}), nil, up)
	zone := zoneScript(t, "a.example. 600 IN TXT late")
	up.set(func(q *dns.Msg, tcp bool) [][]byte {
		o.clock.Advance(time.Minute)
		return zone(q, tcp)
	})
	reply := o.ask(query("a.example", dns.TypeTXT))
	if d := o.lastDecision(); len(reply.Answer) != 0 || d.Verdict.RuleName() != "ban" {
		t.Errorf("let through on a verdict from before the edge: %v", reply)
	}
}

// The cache sits behind the decision: a new policy needs no flush.
func TestCacheKnowsNoPolicy(t *testing.T) {
	up := newZone(t, "zoom.us. 600 IN A 192.0.2.1")
	var mu sync.Mutex
	decider := deciderFunc(allowAll)
	o := openDoor(t, deciderFunc(func(r *policy.Request) policy.Verdict {
		mu.Lock()
		defer mu.Unlock()
		return decider(r)
	}), nil, up)
	swap := func(d deciderFunc) {
		mu.Lock()
		defer mu.Unlock()
		decider = d
	}
	answers := func() string { return strings.Join(texts(o.ask(query("zoom.us", dns.TypeA)).Answer), "\n") }
	if got := answers(); !strings.HasSuffix(got, "192.0.2.1") {
		t.Fatalf("before the memo: %q", got)
	}
	swap(memo(policy.Rule{}))
	if got := answers(); !strings.HasSuffix(got, "0.0.0.0") {
		t.Errorf("under the memo: %q", got)
	}
	swap(allowAll)
	if got := answers(); !strings.HasSuffix(got, "192.0.2.1") {
		t.Errorf("after the memo: %q", got)
	}
	if n := up.udp.Load(); n != 1 {
		t.Errorf("upstream was asked %d times, want once", n)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	for name, clients := range map[string][]netip.Prefix{
		"nobody": nil,
		"others": {netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::/0")},
	} {
		t.Run(name, func(t *testing.T) {
			o := openDoor(t, deciderFunc(allowAll), func(c *Config) { c.Clients = clients })
			reply := o.ask(withEDNS(query("a.example", dns.TypeA), 1232, false))
			if e := ede(reply); reply.Rcode != dns.RcodeRefused || e == nil || e.InfoCode != dns.ExtendedErrorCodeProhibited {
				t.Errorf("reply %v", reply)
			}
			if reply := o.askOver("tcp", query("a.example", dns.TypeA)); reply.Rcode != dns.RcodeRefused {
				t.Errorf("over TCP: %v", reply)
			}
			if n := len(o.decisions()); n != 0 {
				t.Errorf("%d decisions recorded about strangers", n)
			}
			if n := o.settled(1, "sallyport_dns_queries_total", "transport", "udp", "rcode", "REFUSED"); n != 1 {
				t.Errorf("%v refusals counted, want 1", n)
			}
		})
	}
}

func TestPanicIsAnsweredAndCounted(t *testing.T) {
	o := openDoor(t, deciderFunc(func(*policy.Request) policy.Verdict { panic("boom") }), nil)
	for range 3 {
		if reply := o.ask(query("a.example", dns.TypeA)); reply.Rcode != dns.RcodeServerFailure {
			t.Errorf("reply %v", reply)
		}
	}
	if n := o.settled(3, "sallyport_dns_panics_total"); n != 3 {
		t.Errorf("%v panics counted, want 3", n)
	}
	if n := o.settled(3, "sallyport_dns_queries_total", "rcode", "SERVFAIL"); n != 3 {
		t.Errorf("%v failures counted, want 3", n)
	}
}

func TestNoPolicyDenies(t *testing.T) {
	o := openDoor(t, deciderFunc(func(*policy.Request) policy.Verdict { return policy.Verdict{} }), nil)
	reply := o.ask(withEDNS(query("a.example", dns.TypeA), 1232, false))
	if got := texts(reply.Answer); !slices.Equal(got, []string{"a.example. 30 IN A 0.0.0.0"}) {
		t.Errorf("answer %q", got)
	}
	if e := ede(reply); e == nil || e.ExtraText == "" {
		t.Errorf("extended error %v, want a reason", e)
	}
}

func TestADIsShownToThoseWhoAsk(t *testing.T) {
	zone := zoneScript(t, "a.example. 600 IN A 192.0.2.1")
	up := newUpstream(t, func(q *dns.Msg, tcp bool) [][]byte {
		wires := zone(q, tcp)
		wires[0][3] |= dnswire.FlagAD
		return wires
	})
	o := openDoor(t, deciderFunc(allowAll), nil, up)
	plain, ad, do := query("a.example", dns.TypeA), query("a.example", dns.TypeA), withEDNS(query("a.example", dns.TypeA), 1232, true)
	ad.AuthenticatedData = true
	for m, want := range map[*dns.Msg]bool{plain: false, ad: true, do: true} {
		if got := o.ask(m); got.AuthenticatedData != want {
			t.Errorf("AD %v for\n%v", got.AuthenticatedData, m)
		}
	}
	for _, q := range up.queries() {
		if opt := q.IsEdns0(); opt == nil || !q.RecursionDesired {
			t.Errorf("upstream was asked without EDNS or recursion: %v", q)
		}
	}
}

func TestDOAndCDAreForwardedAndKeptApart(t *testing.T) {
	up := newZone(t, "a.example. 600 IN A 192.0.2.1")
	o := openDoor(t, deciderFunc(allowAll), nil, up)
	for _, do := range []bool{false, true} {
		for _, cd := range []bool{false, true} {
			for range 2 {
				m := withEDNS(query("a.example", dns.TypeA), 1232, do)
				m.CheckingDisabled = cd
				reply := o.ask(m)
				if reply.CheckingDisabled != cd || reply.IsEdns0().Do() != do {
					t.Errorf("DO %v CD %v came back as %v %v", do, cd, reply.IsEdns0().Do(), reply.CheckingDisabled)
				}
			}
			seen := up.queries()
			last := seen[len(seen)-1]
			if last.CheckingDisabled != cd || last.IsEdns0().Do() != do {
				t.Errorf("DO %v CD %v were asked upstream as %v %v", do, cd, last.IsEdns0().Do(), last.CheckingDisabled)
			}
		}
	}
	if n := up.udp.Load(); n != 4 {
		t.Errorf("upstream was asked %d times, want once for each of 4", n)
	}
}

func TestLargeAnswersAreTruncatedOverUDP(t *testing.T) {
	var records []string
	for range 80 {
		records = append(records, "big.example. 60 IN TXT "+strings.Repeat("x", 40))
	}
	var reply dns.Msg
	for _, r := range records {
		rr, err := dns.NewRR(r)
		if err != nil {
			t.Fatal(err)
		}
		reply.Answer = append(reply.Answer, rr)
	}
	up := newUpstream(t, func(q *dns.Msg, tcp bool) [][]byte {
		m := new(dns.Msg).SetReply(q)
		if !tcp {
			m.Truncated = true
			return pack(t, m)
		}
		m.Answer = reply.Answer
		return pack(t, m)
	})
	o := openDoor(t, deciderFunc(allowAll), nil, up)
	for name, m := range map[string]*dns.Msg{
		"plain": query("big.example", dns.TypeTXT),
		"EDNS":  withEDNS(query("big.example", dns.TypeTXT), 4096, false),
	} {
		got := o.ask(m)
		if !got.Truncated || len(got.Answer) != 0 || got.Len() > 1232 {
			t.Errorf("%s: not truncated: %v", name, got)
		}
		if (got.IsEdns0() != nil) != (m.IsEdns0() != nil) {
			t.Errorf("%s: OPT record %v", name, got.IsEdns0())
		}
		got = o.askOver("tcp", m)
		if got.Truncated || len(got.Answer) != 80 {
			t.Errorf("%s over TCP: %d answers, truncated %v", name, len(got.Answer), got.Truncated)
		}
	}
	if n := up.tcp.Load(); n != 1 {
		t.Errorf("upstream was asked %d times over TCP, want once", n)
	}
}

func TestLocalhostStaysHome(t *testing.T) {
	up := newZone(t)
	o := openDoor(t, deciderFunc(allowAll), nil, up)
	if got := texts(o.ask(query("LocalHost", dns.TypeA)).Answer); !slices.Equal(got, []string{"LocalHost. 86400 IN A 127.0.0.1"}) {
		t.Errorf("A: %q", got)
	}
	if got := texts(o.ask(query("a.localhost", dns.TypeAAAA)).Answer); !slices.Equal(got, []string{"a.localhost. 86400 IN AAAA ::1"}) {
		t.Errorf("AAAA: %q", got)
	}
	if reply := o.ask(query("localhost", dns.TypeTXT)); len(reply.Answer) != 0 || len(reply.Ns) != 1 {
		t.Errorf("TXT: %v", reply)
	}
	if n := up.udp.Load(); n != 0 {
		t.Errorf("upstream was asked %d times", n)
	}
	o.ask(query("notlocalhost", dns.TypeA))
	if n := up.udp.Load(); n != 1 {
		t.Errorf("a name that only ends in the letters stayed home")
	}
}

func TestShutdownLetsQueriesFinish(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	zone := zoneScript(t, "a.example. 600 IN A 192.0.2.1")
	up := newUpstream(t, func(q *dns.Msg, tcp bool) [][]byte {
		close(asked)
		<-release
		return zone(q, tcp)
	})
	o := openDoor(t, deciderFunc(allowAll), nil, up)
	replies := make(chan *dns.Msg, 1)
	go func() { replies <- o.ask(query("a.example", dns.TypeA)) }()
	<-asked
	closed := make(chan error, 1)
	go func() { closed <- o.Shutdown(context.Background()) }()
	select {
	case err := <-closed:
		t.Fatalf("closed with a query under way: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if reply := <-replies; len(reply.Answer) != 1 {
		t.Errorf("reply %v", reply)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, err := o.Resolve(context.Background(), "a.example"); err == nil {
		t.Error("a closed door still resolves")
	}
	if err := o.Listen(context.Background()); err == nil {
		t.Error("a closed door opens again")
	}
}

func TestShutdownEndsInTime(t *testing.T) {
	asked := make(chan struct{}, 8)
	up := newUpstream(t, func(*dns.Msg, bool) [][]byte {
		asked <- struct{}{}
		return nil
	})
	o := openDoor(t, deciderFunc(allowAll), func(c *Config) { c.UpstreamTimeout, c.QueryTimeout = time.Hour, time.Hour }, up)
	done := make(chan struct{})
	go func() {
		defer close(done)
		client := dns.Client{Timeout: 200 * time.Millisecond}
		_, _, _ = client.Exchange(query("a.example", dns.TypeA), o.addr)
	}()
	<-asked
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := o.Shutdown(ctx); err == nil {
		t.Error("a shutdown that abandoned a query said nothing of it")
	}
	<-done
}
