package dnsfilter

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
	"github.com/sallyport/sallyport/policy"
)

// dyingZone is an upstream that answers until it is told to be silent.
func dyingZone(t *testing.T, records ...string) (*fakeUpstream, *atomic.Bool) {
	var dead atomic.Bool
	alive := zoneScript(t, records...)
	return newUpstream(t, func(q *dns.Msg, tcp bool) [][]byte {
		if dead.Load() {
			return nil
		}
		return alive(q, tcp)
	}), &dead
}

func TestStaleAnswersWhileUpstreamIsDown(t *testing.T) {
	up, dead := dyingZone(t, "a.example. 60 IN A 192.0.2.1")
	o := openDoor(t, deciderFunc(allowAll), func(c *Config) { impatient(c); c.ServeStale = time.Hour }, up)
	o.ask(query("a.example", dns.TypeA))
	o.ask(query("gone.example", dns.TypeA))
	dead.Store(true)
	o.clock.Advance(61 * time.Second)

	reply := o.ask(withEDNS(query("a.example", dns.TypeA), 1232, false))
	if len(reply.Answer) != 1 || reply.Answer[0].Header().Ttl != staleTTL || ede(reply) == nil || ede(reply).InfoCode != dnswire.EDEStale {
		t.Fatalf("reply %v", reply)
	}
	// For a while nobody waits for the dead upstream again.
	asked := up.udp.Load()
	if reply = o.ask(query("a.example", dns.TypeA)); len(reply.Answer) != 1 || up.udp.Load() != asked {
		t.Errorf("reply %v, %d more queries upstream", reply, up.udp.Load()-asked)
	}
	if n := o.settled(2, "sallyport_dns_stale_answers_total"); n != 2 {
		t.Errorf("%v stale answers counted", n)
	}
	// A name that does not exist stays away too.
	o.clock.Advance(5 * time.Minute)
	if reply = o.ask(withEDNS(query("gone.example", dns.TypeA), 1232, false)); reply.Rcode != dns.RcodeNameError || ede(reply).InfoCode != dnswire.EDEStaleNXDomain {
		t.Errorf("reply %v", reply)
	}
	// When it is back, so is the truth.
	dead.Store(false)
	o.clock.Advance(staleRecheck + time.Minute)
	if reply = o.ask(query("a.example", dns.TypeA)); len(reply.Answer) != 1 || reply.Answer[0].Header().Ttl != 60 {
		t.Errorf("reply %v", reply)
	}
	// And too old is too old.
	dead.Store(true)
	o.clock.Advance(2 * time.Hour)
	if reply = o.ask(query("a.example", dns.TypeA)); reply.Rcode != dns.RcodeServerFailure {
		t.Errorf("reply %v", reply)
	}
}

// A stale answer is judged by the policy of now.
func TestStaleAnswersAreJudged(t *testing.T) {
	up, dead := dyingZone(t, "vanity.example. 60 IN CNAME us04web.zoom.us.", "us04web.zoom.us. 60 IN A 192.0.2.1")
	var banned atomic.Bool
	ban := memo(policy.Rule{})
	o := openDoor(t, deciderFunc(func(r *policy.Request) policy.Verdict {
		if banned.Load() {
			return ban(r)
		}
		return allowAll(r)
	}), func(c *Config) { impatient(c); c.ServeStale = time.Hour }, up)
	o.ask(query("vanity.example", dns.TypeA))
	dead.Store(true)
	banned.Store(true)
	o.clock.Advance(2 * time.Minute)
	if reply := o.ask(query("vanity.example", dns.TypeA)); reply.Answer[0].(*dns.A).A.String() != "0.0.0.0" {
		t.Errorf("reply %v", reply)
	}
}

func TestWithoutServeStaleNothingIs(t *testing.T) {
	up, dead := dyingZone(t, "a.example. 60 IN A 192.0.2.1")
	o := openDoor(t, deciderFunc(allowAll), impatient, up)
	o.ask(query("a.example", dns.TypeA))
	dead.Store(true)
	o.clock.Advance(61 * time.Second)
	if reply := o.ask(query("a.example", dns.TypeA)); reply.Rcode != dns.RcodeServerFailure {
		t.Errorf("reply %v", reply)
	}
}

// A failure is remembered for a moment (RFC 9520), so that a broken name is not
// asked for at the rate at which clients try again.
func TestFailuresAreRemembered(t *testing.T) {
	up := newUpstream(t, func(q *dns.Msg, _ bool) [][]byte {
		wire, err := new(dns.Msg).SetRcode(q, dns.RcodeServerFailure).Pack()
		if err != nil {
			t.Error(err)
		}
		return [][]byte{wire}
	})
	o := openDoor(t, deciderFunc(allowAll), nil, up)
	for range 5 {
		if reply := o.ask(query("broken.example", dns.TypeA)); reply.Rcode != dns.RcodeServerFailure {
			t.Fatalf("reply %v", reply)
		}
	}
	if n := up.udp.Load(); n != 1 {
		t.Errorf("%d queries upstream, want 1", n)
	}
	o.clock.Advance(failureTTL)
	o.ask(query("broken.example", dns.TypeA))
	if n := up.udp.Load(); n != 2 {
		t.Errorf("%d queries upstream, want 2", n)
	}

	// The upstream answers: that is another thing than no answer.
	if n := o.settled(6, "sallyport_dns_query_duration_seconds", "outcome", "failed"); n != 6 {
		t.Errorf("%v queries counted as failed, want 6", n)
	}
	if _, err := o.Resolve(t.Context(), "broken.example"); !IsNamesFault(err) {
		t.Errorf("%v is not the name's fault", err)
	}
	up.set(func(*dns.Msg, bool) [][]byte { return [][]byte{{}} })
	o.ask(query("unheard.example", dns.TypeA))
	if n := o.settled(1, "sallyport_dns_query_duration_seconds", "outcome", "error"); n != 1 {
		t.Errorf("%v queries counted as errors, want 1", n)
	}
	if _, err := o.Resolve(t.Context(), "unheard.example"); err == nil || IsNamesFault(err) {
		t.Errorf("%v is the name's fault", err)
	}
}

func TestNamesInUseAreRenewed(t *testing.T) {
	up := newZone(t, "a.example. 100 IN A 192.0.2.1")
	o := openDoor(t, deciderFunc(allowAll), func(c *Config) { c.Prefetch = true }, up)
	o.ask(query("a.example", dns.TypeA))
	o.clock.Advance(89 * time.Second)
	o.ask(query("a.example", dns.TypeA))
	if n := up.udp.Load(); n != 1 {
		t.Errorf("%d queries upstream: renewed too early", n)
	}
	o.clock.Advance(2 * time.Second)
	for range 3 {
		if reply := o.ask(query("a.example", dns.TypeA)); len(reply.Answer) != 1 {
			t.Fatalf("reply %v", reply)
		}
	}
	eventually(t, "the answer to be renewed", func() bool { return up.udp.Load() == 2 })
	eventually(t, "its TTL to begin anew", func() bool { return o.ask(query("a.example", dns.TypeA)).Answer[0].Header().Ttl == 100 })
	if n := o.settled(1, "sallyport_dns_prefetches_total"); n != 1 {
		t.Errorf("%v prefetches counted", n)
	}
}

func TestSweepForgetsWhatIsTooOld(t *testing.T) {
	c, now := newCache(1<<20), newClock().Now()
	c.put(keyOf(1), cached(100, now, time.Minute))
	c.put(keyOf(2), cached(100, now, time.Hour))
	if gone := c.sweep(now.Add(30*time.Minute), 10*time.Minute); gone != 1 || c.get([]byte(keyOf(2))) == nil {
		t.Errorf("%d gone", gone)
	}
	c.put(keyOf(3), failure(errBusy, now))
	if gone := c.sweep(now.Add(2*time.Second), time.Hour); gone != 1 {
		t.Error("a failure is kept as long as an answer")
	}
	before := c.epoch.Load()
	c.clear()
	c.putSince(before, keyOf(4), cached(100, now, time.Minute))
	if entries, bytes := c.size(); entries != 0 || bytes != 0 {
		t.Errorf("%d entries, %d bytes after clear", entries, bytes)
	}
}
