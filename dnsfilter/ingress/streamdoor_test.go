package ingress

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// testDoor is a Door whose answers are asked for by the first label of the
// name: "now" is answered by a Desk, "silent" not at all, "held" when the test
// lets it, and all others by Respond.
type testDoor struct {
	hold chan struct{} // "held" is answered when it is closed
	held atomic.Int32  // queries that wait for it

	begun, ended, desks atomic.Int32

	forgetful bool // asked stays empty

	mu    sync.Mutex
	asked []Query
	reply func(q *Query) []byte // nil: an empty answer
}

func newTestDoor() *testDoor { return &testDoor{hold: make(chan struct{})} }

func (d *testDoor) Desk() Desk {
	d.desks.Add(1)
	return testDesk{d}
}

func (d *testDoor) Respond(ctx context.Context, q *Query, dst []byte) []byte {
	d.record(q)
	switch firstLabel(q.Wire) {
	case "silent":
		return nil
	case "held":
		d.held.Add(1)
		select {
		case <-d.hold:
		case <-ctx.Done():
			return nil
		}
	}
	return d.answer(q, dst)
}

func (d *testDoor) answer(q *Query, dst []byte) []byte {
	d.mu.Lock()
	reply := d.reply
	d.mu.Unlock()
	if reply != nil {
		return append(dst[:0], reply(q)...)
	}
	dst = append(dst[:0], q.Wire...)
	dst[2] |= 0x80 // QR
	return dst
}

// answerWith has other answers given.
func (d *testDoor) answerWith(reply func(*Query) []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reply = reply
}

func (d *testDoor) record(q *Query) {
	if d.forgetful {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	copied := *q
	copied.Wire = append([]byte(nil), q.Wire...)
	d.asked = append(d.asked, copied)
}

// last is the last query that came in.
func (d *testDoor) last(t testing.TB) Query {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.asked) == 0 {
		t.Fatal("nothing was asked")
	}
	return d.asked[len(d.asked)-1]
}

type testDesk struct{ door *testDoor }

func (d testDesk) Begin() { d.door.begun.Add(1) }
func (d testDesk) End()   { d.door.ended.Add(1) }

func (d testDesk) Try(q *Query, dst []byte) ([]byte, bool) {
	if firstLabel(q.Wire) != "now" {
		return nil, false
	}
	d.door.record(q)
	return d.door.answer(q, dst), true
}

// firstLabel is the first label of the name that a query asks for.
func firstLabel(wire []byte) string {
	if len(wire) < 14 || len(wire) < 13+int(wire[12]) {
		return ""
	}
	return string(wire[13 : 13+wire[12]])
}

// packQuestion is a packed query.
func packQuestion(t testing.TB, id uint16, name string) []byte {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), dns.TypeA)
	m.Id = id
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// framesOf joins queries as they are sent over a stream.
func framesOf(queries ...[]byte) []byte {
	var b []byte
	for _, q := range queries {
		b = append(b, byte(len(q)>>8), byte(len(q)))
		b = append(b, q...)
	}
	return b
}

// shedTally counts what was shed, by reason.
type shedTally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (s *shedTally) add(reason string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil {
		s.counts = make(map[string]int)
	}
	s.counts[reason] += n
}

func (s *shedTally) of(reason string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[reason]
}

func everybody(netip.Addr) bool { return true }

// nobodyFrom is a Known that does not know addresses that begin so.
func nobodyFrom(begin string) func(netip.Addr) bool {
	return func(a netip.Addr) bool { return !strings.HasPrefix(a.String(), begin) }
}

// standing is how many are inside of one standing.
func (c *crowd) standing(s standing) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.quiet[s])
}
