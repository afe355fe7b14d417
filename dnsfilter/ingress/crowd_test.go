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
			if !c.admit(&g.member) || !c.claim(&g.member, netip.MustParseAddr("192.0.2.1"), stranger) {
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
		return g, c.admit(&g.member) && c.claim(&g.member, netip.MustParseAddr(address), stranger)
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
	if c.count(TLS) != 0 || len(c.clients) != 0 || c.inside != 0 || len(c.quiet[known]) != 0 {
		t.Errorf("who stays: %v, %d", c.clients, c.inside)
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

// Those who may yet prove who they are go for each other, and for nobody else;
// so do strangers. Who has proven it is one of those who may ask.
func TestCrowdStandings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shed := &shedTally{}
		c := newCrowd(crowdLimits{conns: 32, each: 32}, nobodyFrom("192.0.2."), shed.add)
		enter := func(address string, otherwise standing) (*guest, bool) {
			time.Sleep(time.Second)
			g := newGuest(TLS)
			return g, c.admit(&g.member) && c.claim(&g.member, netip.MustParseAddr(address), otherwise)
		}
		check := func(what string, g *guest, cuts int, is standing) {
			t.Helper()
			if g.cuts != cuts || cuts == 0 && !g.is(is) {
				t.Errorf("%s: cut %d times, standing %d; want %d, %d", what, g.cuts, g.standing.Load(), cuts, is)
			}
		}
		may, _ := enter("198.51.100.1", unproven)
		device, _ := enter("192.0.2.1", unproven)
		outside, _ := enter("192.0.2.2", stranger)
		silent, _ := enter("192.0.2.3", unproven)
		check("who may ask", may, 0, known)
		check("a device", device, 0, unproven)
		check("a stranger", outside, 0, stranger)

		later, _ := enter("192.0.2.4", unproven)
		check("the first of those that could yet prove it", device, 1, 0)
		if c.settle(&device.member, true) {
			t.Error("who is gone has proven who he is")
		}
		check("a stranger", outside, 0, stranger)

		// One proves it, another does not: two of each make room for none.
		if !c.settle(&silent.member, true) || !c.settle(&later.member, false) {
			t.Fatal("gone")
		}
		check("who has proven it", silent, 0, known)
		check("who has not", later, 0, stranger)
		if !c.settle(&may.member, false) || !c.settle(&silent.member, false) {
			t.Error("who may ask has to prove it")
		}
		check("who has proven it once", silent, 0, known)
		for range 8 {
			if _, ok := enter("192.0.2.5", unproven); !ok {
				t.Fatal("refused")
			}
		}
		check("who may ask", may, 0, known)
		check("who has proven it", silent, 0, known)
		check("a stranger", outside, 0, stranger)

		// A stranger comes to prove it; those who are busy do not go.
		if !later.begin() || !c.settle(&later.member, true) {
			t.Fatal("gone")
		}
		check("who proves it later", later, 0, known)
		second, _ := enter("192.0.2.6", stranger)
		if !outside.begin() || !second.begin() {
			t.Fatal("gone")
		}
		time.Sleep(time.Second)
		if _, ok := enter("192.0.2.7", stranger); ok {
			t.Error("a stranger is admitted in place of a busy one")
		}
		if n := c.standing(unproven); n != 2 {
			t.Errorf("%d could yet prove who they are", n)
		}
		if n := shed.of(ShedConnections); n != 1+6+1 { // went for others, at first and then; was refused
			t.Errorf("%d counted", n)
		}
	})
}
