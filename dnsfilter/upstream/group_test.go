package upstream

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

func second(t *testing.T) *fake { return newPlain(t, zone(t, "a.example. 600 IN A 192.0.2.2")) }

func (o *opened) mustAnswerFrom(up *fake) {
	o.t.Helper()
	answer, err := o.Ask(context.Background(), question(o.t, "a.example", dns.TypeA))
	if err != nil || answer.Upstream != "udp://"+up.addr {
		o.t.Fatalf("answer of %q, %v; want udp://%s", answer.Upstream, err, up.addr)
	}
}

func TestFailover(t *testing.T) {
	for name, l := range map[string]lie{
		"silent":    func([]byte, *dns.Msg, string) reply { return reply{} },
		"SERVFAIL":  withRcode(dns.RcodeServerFailure),
		"malformed": func(good []byte, _ *dns.Msg, _ string) reply { return one(good[:len(good)-2]) },
	} {
		t.Run(name, func(t *testing.T) {
			bad, good := newPlain(t, lying(t, l)), second(t)
			o := open(t, func(c *Config) { c.Try = time.Second }, bad.addr, good.addr)
			o.mustAnswerFrom(good)
			if o.seen.tries("udp://"+good.addr, "ok") != 1 || len(o.seen.counts) != 2 {
				t.Errorf("observed %v", o.seen.counts)
			}
		})
	}
}

func TestTwoRoundsThroughSilence(t *testing.T) {
	up := newPlain(t, silent)
	answers := zone(t, goodAnswer)
	up.set(func(q *dns.Msg, transport string) reply {
		if up.count("udp") == 1 {
			return reply{} // lost
		}
		return answers(q, transport)
	})
	o := open(t, func(c *Config) { c.Try = time.Second }, up.addr)
	o.mustAnswer()
	if up.count("udp") != 2 {
		t.Errorf("asked %d times", up.count("udp"))
	}
}

// One packet that is lost costs less than a try.
func TestLostPacketIsSentAgain(t *testing.T) {
	up := newPlain(t, silent)
	answers := zone(t, goodAnswer)
	up.set(func(q *dns.Msg, transport string) reply {
		if up.repeats() == 0 {
			return reply{}
		}
		return answers(q, transport)
	})
	o := open(t, nil, up.addr)
	o.mustAnswer()
	if up.count("udp") != 1 || up.repeats() == 0 {
		t.Errorf("asked %d times, and %d times again", up.count("udp"), up.repeats())
	}
}

func TestRefusalIsNotAskedForTwice(t *testing.T) {
	up := newPlain(t, lying(t, withRcode(dns.RcodeServerFailure)))
	o := open(t, nil, up.addr)
	if _, err := o.ask("a.example"); err == nil || up.count("udp") != 1 {
		t.Errorf("%v, asked %d times", err, up.count("udp"))
	}
}

// A sick resolver keeps no client waiting: it is asked aside, once for each
// back-off, until it is well.
func TestSickResolverIsAskedAside(t *testing.T) {
	first, other := newPlain(t, silent), second(t)
	o := open(t, func(c *Config) { c.Try = time.Second / 2 }, first.addr, other.addr)
	asked := func() int64 { return first.count("udp") }
	o.mustAnswerFrom(other)
	o.mustAnswerFrom(other)
	if asked() != 1 {
		t.Fatalf("asked %d times within its back-off", asked())
	}
	h := &o.resolvers[0].health
	failures := func() int {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.failures
	}
	for i, wait := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
		o.clock.advance(wait - 500*time.Millisecond)
		o.mustAnswerFrom(other)
		if failures() != i+1 {
			t.Fatalf("asked again after less than %v", wait)
		}
		o.clock.advance(501 * time.Millisecond)
		o.mustAnswerFrom(other)
		o.mustAnswerFrom(other)
		eventually(t, "another failure", func() bool { return failures() == i+2 })
		if asked() != int64(i+2) {
			t.Fatalf("asked %d times after %d back-offs", asked(), i+1)
		}
	}
	if got := o.seen.changes(); !slices.Equal(got, []string{"udp://" + first.addr + " down"}) {
		t.Errorf("states %q", got)
	}
	first.set(zone(t, goodAnswer))
	o.clock.advance(maxBackoff)
	o.mustAnswerFrom(other)
	eventually(t, "it is well", func() bool { return !h.sick.Load() })
	o.mustAnswerFrom(first)
	if got := o.seen.changes(); len(got) != 2 || got[1] != "udp://"+first.addr+" up" {
		t.Errorf("states %q", got)
	}
}

func TestAllSickAreAskedNevertheless(t *testing.T) {
	up := newPlain(t, silent)
	o := open(t, func(c *Config) { c.Try, c.Total = 200*time.Millisecond, 400*time.Millisecond }, up.addr)
	if _, err := o.ask("a.example"); err == nil {
		t.Fatal("no error")
	}
	up.set(zone(t, goodAnswer))
	o.mustRecover()
}

func TestBackoff(t *testing.T) {
	now := time.Date(2020, 4, 3, 9, 0, 0, 0, time.UTC)
	var h health
	if h.due(now) || h.answered() {
		t.Error("a new resolver is sick")
	}
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30} {
		news := h.failed(now)
		if news != (i == downAfter-1) {
			t.Errorf("failure %d is news: %v", i+1, news)
		}
		if end := now.Add(want * time.Second); h.due(end.Add(-1)) || !h.due(end) || h.due(end) {
			t.Errorf("after %d failures: not due once after %v s", i+1, int(want))
		}
	}
	if !h.answered() || h.answered() || h.sick.Load() {
		t.Error("recovery is news once")
	}
	if h.failed(now); h.answered() {
		t.Error("recovery of what was never called down is news")
	}
}

func TestTimesAreSmoothed(t *testing.T) {
	var h health
	h.took(100 * time.Millisecond)
	if got := time.Duration(h.rtt.Load()); got != 100*time.Millisecond {
		t.Errorf("first time %v", got)
	}
	for range 100 {
		h.took(10 * time.Millisecond)
	}
	if got := time.Duration(h.rtt.Load()); got > 11*time.Millisecond || h.patience() > 15*time.Millisecond {
		t.Errorf("time %v, patience %v after a hundred of 10 ms", got, h.patience())
	}
	h.tookLonger(5 * time.Millisecond)
	if got := time.Duration(h.rtt.Load()); got > 11*time.Millisecond || got < 10*time.Millisecond {
		t.Errorf("time %v: not having come in 5 ms says nothing", got)
	}
	for range 50 {
		h.tookLonger(300 * time.Millisecond)
	}
	if got := time.Duration(h.rtt.Load()); got < 200*time.Millisecond {
		t.Errorf("time %v of one that loses every race", got)
	}
}

// stub is a transport in synthetic time.
type stub struct {
	takes time.Duration
	err   error
	asked atomic.Int64
	given atomic.Int64 // up
}

func (s *stub) exchange(ctx context.Context, _ Query, deadline time.Time) (*dns.Msg, error) {
	s.asked.Add(1)
	late := time.NewTimer(min(s.takes, time.Until(deadline)))
	defer late.Stop()
	select {
	case <-ctx.Done():
		s.given.Add(1)
		return nil, timedOut(why(ctx))
	case <-late.C:
	}
	if !time.Now().Before(deadline) {
		return nil, timedOut(nil)
	}
	if s.err != nil {
		return nil, s.err
	}
	return new(dns.Msg), nil
}

func (s *stub) hangUp()  {}
func (s *stub) cleanUp() {}

// stubbed is a Pool whose servers are stubs named a, b, c.
func stubbed(t *testing.T, s Strategy, stubs ...*stub) *Pool {
	servers := make([]string, len(stubs))
	for i := range stubs {
		servers[i] = string(rune('a'+i)) + ".example"
	}
	p, err := New(Config{Servers: servers, Strategy: s, Bootstrap: []string{"192.0.2.53"}}, Dependencies{})
	if err != nil {
		t.Fatal(err)
	}
	for i, stub := range stubs {
		p.byName["udp://"+servers[i]+":53"].transport = stub
	}
	return p
}

func which(t *testing.T, p *Pool) (upstream string, took time.Duration) {
	t.Helper()
	defer synctest.Wait() // losers are gone
	start := time.Now()
	answer, err := p.Ask(context.Background(), Query{Name: "\x01a\x00", Type: 1})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(answer.Upstream, "udp://"), ".example:53"), time.Since(start)
}

func TestFastest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, quick := &stub{takes: 80 * time.Millisecond}, &stub{takes: 20 * time.Millisecond}
		p := stubbed(t, Fastest, slow, quick)
		defer p.Close()
		which(t, p) // slow first: nothing is known
		which(t, p)
		for range 50 {
			if got, took := which(t, p); got != "b" || took != 20*time.Millisecond {
				t.Fatalf("asked %s, which took %v", got, took)
			}
		}
		// The slow one is tried now and then, and found out when it improves.
		slow.takes = 5 * time.Millisecond
		for range 64 * exploreEvery {
			which(t, p)
		}
		if got, took := which(t, p); got != "a" || took != 5*time.Millisecond {
			t.Errorf("asked %s, which took %v: nobody looked", got, took)
		}
	})
}

func TestParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := &stub{takes: 20 * time.Millisecond}, &stub{takes: 30 * time.Millisecond}
		p := stubbed(t, Parallel, one, two)
		defer p.Close()
		for range 100 {
			if got, _ := which(t, p); got != "a" {
				t.Fatalf("asked %s", got)
			}
		}
		two.asked.Store(0)
		for range exploreEvery - 1 {
			which(t, p)
		}
		if n := two.asked.Load(); n > 1 {
			t.Errorf("the second was asked %d times while the first was as quick as ever", n)
		}
		// The first is slow for once: the second makes up for it.
		one.takes = time.Second
		one.given.Store(0)
		got, took := which(t, p)
		if got != "b" || took > 100*time.Millisecond {
			t.Errorf("asked %s, which took %v", got, took)
		}
		if one.given.Load() != 1 {
			t.Error("the loser's query is not given up")
		}
		// It stays slow: soon it is not the first any more.
		for range 50 {
			which(t, p)
		}
		if got, took := which(t, p); got != "b" || took != 30*time.Millisecond {
			t.Errorf("asked %s, which took %v: the loser is still asked first", got, took)
		}
	})
}

func TestParallelDoesNotWaitForFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := &stub{takes: time.Second}, &stub{takes: 2 * time.Second}
		p := stubbed(t, Parallel, one, two)
		defer p.Close()
		which(t, p)
		one.takes, one.err = time.Millisecond, &Error{Kind: Refused, Text: "no"}
		two.takes = 5 * time.Millisecond
		if got, took := which(t, p); got != "b" || took != 6*time.Millisecond {
			t.Errorf("asked %s, which took %v", got, took)
		}
		two.err = garbled("rubbish", nil)
		_, err := p.Ask(context.Background(), Query{Name: "\x00", Type: 1})
		var failure *Error
		if !errors.As(err, &failure) || failure.Kind != Refused {
			t.Errorf("error %#v: want the more telling one", err)
		}
	})
}

func TestTotalBoundsEverything(t *testing.T) {
	for _, s := range []Strategy{Failover, Fastest, Parallel} {
		synctest.Test(t, func(t *testing.T) {
			p := stubbed(t, s, &stub{takes: time.Hour}, &stub{takes: time.Hour}, &stub{takes: time.Hour})
			defer p.Close()
			start := time.Now()
			_, err := p.Ask(context.Background(), Query{Name: "\x00", Type: 1})
			if took := time.Since(start); err == nil || took != defaultTotal {
				t.Errorf("%v: %v after %v", s, err, took)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			start = time.Now()
			_, err = p.Ask(ctx, Query{Name: "\x00", Type: 1})
			if took := time.Since(start); err == nil || took != 50*time.Millisecond {
				t.Errorf("%v: %v after %v with a client that waits 50 ms", s, err, took)
			}
		})
	}
}

func TestUpstreamExplainsItself(t *testing.T) {
	up := newPlain(t, func(q *dns.Msg, _ string) reply {
		m := new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeDNSBogus, ExtraText: "no\nRRSIG" + strings.Repeat("é", 200)})
		return one(pack(t, m))
	})
	o := open(t, nil, up.addr)
	_, err := o.ask("a.example")
	var failure *Error
	if !errors.As(err, &failure) || failure.Said == nil || failure.Said.Code != dns.ExtendedErrorCodeDNSBogus {
		t.Fatalf("error %#v", err)
	}
	if s := failure.Said.Text; !strings.HasPrefix(s, "no RRSIG") || len(s) > 200 || strings.ContainsRune(s, '\uFFFD') {
		t.Errorf("text %q", s)
	}
}

func TestZones(t *testing.T) {
	servers := map[string]*fake{}
	for name, records := range map[string][]string{
		"root":    {"www.example. 60 IN A 192.0.2.1", "notcorp.example. 60 IN A 192.0.2.1", "1.0.0.11.in-addr.arpa. 60 IN A 192.0.2.1"},
		"corp":    {"corp.example. 60 IN A 192.0.2.2", "www.corp.example. 60 IN A 192.0.2.2"},
		"lab":     {"x.lab.corp.example. 60 IN A 192.0.2.3"},
		"reverse": {"1.0.0.10.in-addr.arpa. 60 IN A 192.0.2.4"},
	} {
		servers[name] = newPlain(t, zone(t, records...))
	}
	o := open(t, func(c *Config) {
		c.Forward = []Zone{
			{Name: "Corp.Example.", Servers: []string{servers["corp"].addr}},
			{Name: "lab.corp.example", Servers: []string{servers["lab"].addr}},
			{Name: "10.in-addr.arpa", Servers: []string{servers["reverse"].addr}},
		}
	}, servers["root"].addr)
	for name, want := range map[string]string{
		"www.example": "root", "example": "root", "notcorp.example": "root", ".": "root", "1.0.0.11.in-addr.arpa": "root", "corp.example.com": "root",
		"corp.example": "corp", "www.corp.example": "corp", "notlab.corp.example": "corp", "lab.corp.example": "lab", "x.lab.corp.example": "lab",
		"1.0.0.10.in-addr.arpa": "reverse",
	} {
		answer, err := o.Ask(context.Background(), question(t, name, dns.TypeA))
		if err != nil || answer.Upstream != "udp://"+servers[want].addr {
			t.Errorf("%s: %q, %v; want %s", name, answer.Upstream, err, want)
		}
	}
	// Its own servers only, even when they do not answer.
	before := servers["root"].total()
	servers["corp"].set(silent)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := o.Ask(ctx, question(t, "www.corp.example", dns.TypeA)); err == nil || servers["root"].total() != before {
		t.Errorf("%v: a name of the zone went elsewhere", err)
	}
}

func TestTrusted(t *testing.T) {
	p, err := New(Config{
		Servers:   []string{"192.0.2.1", "192.0.2.2", "127.0.0.1", "tls://192.0.2.1", "https://192.0.2.1", "quic://192.0.2.1", "tcp://dns.example", "tcp://[::1]:5353"},
		Bootstrap: []string{"192.0.2.9"},
		Forward:   []Zone{{Name: "corp.example", Servers: []string{"192.0.2.2", "192.0.2.3"}}},
		TrustAD:   []string{"udp://192.0.2.2:53", "192.0.2.3"},
	}, Dependencies{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	want := []string{
		"udp://192.0.2.9:53 false", "udp://192.0.2.1:53 false", "udp://192.0.2.2:53 true", "udp://127.0.0.1:53 true", "tls://192.0.2.1:853 true",
		"https://192.0.2.1:443/dns-query true", "quic://192.0.2.1:853 true", "tcp://dns.example:53 false", "tcp://[::1]:5353 true", "udp://192.0.2.3:53 true",
	}
	var got []string
	for i, r := range p.resolvers {
		got = append(got, p.Names()[i]+" "+map[bool]string{true: "true", false: "false"}[r.trusted])
	}
	if !slices.Equal(got, want) {
		t.Errorf("trusted:\n%q, want\n%q", got, want)
	}
}
