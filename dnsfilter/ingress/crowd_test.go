package ingress

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// guest is a member whose end can be seen.
type guest struct {
	member
	cuts, interrupts int
}

func newGuest(t Transport) *guest {
	g := &guest{}
	g.transport = t
	g.cut = func() { g.cuts++ }
	g.interrupt = func() { g.interrupts++ }
	return g
}

func TestCrowdSendsAwayTheLongestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shed := &shedTally{}
		c := newCrowd(crowdLimits{conns: 3, each: 10}, everybody, shed.add)
		enter := func() *guest {
			time.Sleep(time.Second)
			g := newGuest(TCP)
			if !c.admit(&g.member) || !c.claim(&g.member, netip.MustParseAddr("192.0.2.1")) {
				t.Fatal("not admitted")
			}
			return g
		}
		speak := func(g *guest) {
			time.Sleep(time.Second)
			if !g.begin() {
				t.Fatal("sent away")
			}
			g.end(c.now())
		}
		first, second, third := enter(), enter(), enter()
		speak(first) // so that second has been idle longest
		if !third.begin() {
			t.Fatal("third is gone")
		}

		fourth := enter()
		if first.cuts != 0 || second.cuts != 1 || third.cuts != 0 {
			t.Fatalf("cut: %d, %d, %d", first.cuts, second.cuts, third.cuts)
		}
		if second.begin() {
			t.Error("who is gone begins another query")
		}
		c.leave(&second.member) // its own goroutine's last act changes nothing
		if n := c.count(TCP); n != 3 {
			t.Errorf("%d are inside", n)
		}

		fifth := enter() // third is older than first, and busy
		if first.cuts != 1 || third.cuts != 0 || fourth.cuts != 0 {
			t.Fatalf("cut: %d, %d, %d", first.cuts, third.cuts, fourth.cuts)
		}

		// With all busy, nobody goes and nobody comes.
		if !fourth.begin() || !fifth.begin() {
			t.Fatal("gone")
		}
		time.Sleep(time.Second)
		if g := newGuest(TCP); c.admit(&g.member) {
			t.Error("admitted in place of a busy one")
		}
		if n := shed.of(ShedConnections); n != 3 {
			t.Errorf("%d counted", n)
		}
		fourth.end(c.now())
		enter()
		if fourth.cuts != 1 {
			t.Error("who is idle again did not go")
		}
	})
}

func TestCrowdCountsClients(t *testing.T) {
	shed := &shedTally{}
	c := newCrowd(crowdLimits{conns: 100, each: 2}, everybody, shed.add)
	claim := func(address string) (*guest, bool) {
		g := newGuest(TLS)
		return g, c.admit(&g.member) && c.claim(&g.member, netip.MustParseAddr(address))
	}
	tests := []struct {
		address string
		want    bool
	}{
		{"192.0.2.1", true}, {"192.0.2.1", true}, {"192.0.2.1", false}, {"192.0.2.2", true},
		{"2001:db8::1", true}, {"2001:db8::2", true}, {"2001:db8::3", false}, {"2001:db8:0:1::1", true},
	}
	var inside []*guest
	for _, test := range tests {
		g, ok := claim(test.address)
		if ok != test.want {
			t.Errorf("%s: %v", test.address, ok)
		}
		inside = append(inside, g)
	}
	if n := shed.of(ShedClientConnections); n != 2 {
		t.Errorf("%d counted", n)
	}
	for _, g := range inside {
		c.leave(&g.member)
		c.leave(&g.member)
	}
	if c.count(TLS) != 0 || len(c.clients) != 0 || len(c.quiet) != 0 {
		t.Errorf("who stays: %v, %d", c.clients, len(c.quiet))
	}
}

func TestCrowdStops(t *testing.T) {
	c := newCrowd(crowdLimits{conns: 4, each: 4}, everybody, func(string, int) {})
	inside := newGuest(TCP)
	if !c.admit(&inside.member) {
		t.Fatal("not admitted")
	}
	c.stop()
	late := newGuest(TCP)
	if c.admit(&late.member) {
		t.Error("admitted after the end")
	}
	c.leave(&late.member) // as whoever is refused does
	if inside.interrupts != 1 || inside.cuts != 0 {
		t.Errorf("interrupted %d times, cut %d times", inside.interrupts, inside.cuts)
	}
	c.close()
	if inside.cuts != 1 {
		t.Errorf("cut %d times", inside.cuts)
	}
}
