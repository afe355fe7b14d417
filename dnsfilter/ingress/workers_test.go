package ingress

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
)

// fakeSocket remembers what workers sent.
type fakeSocket struct {
	mu   sync.Mutex
	sent []string
}

func (s *fakeSocket) read(*shift)     {}
func (s *fakeSocket) stop()           {}
func (s *fakeSocket) close()          {}
func (s *fakeSocket) dropped() uint64 { return 0 }

func (s *fakeSocket) reply(reply, control []byte, to netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, string(reply)+string(control)+" to "+to.String())
}

func (s *fakeSocket) heard() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent := s.sent
	s.sent = nil
	return sent
}

// workshop is workers with what tasks need.
type workshop struct {
	workers *Workers
	shift   *shift
	socket  *fakeSocket
	release chan struct{} // one for each answer
}

func newWorkshop(limit int) *workshop {
	shop := &workshop{workers: NewWorkers(limit), socket: new(fakeSocket), release: make(chan struct{})}
	shop.shift = &shift{ctx: context.Background(), door: &fakeDoor{
		respond: func(_ context.Context, q *Query, dst []byte) []byte {
			<-shop.release
			return append(dst, q.Wire...)
		},
	}}
	return shop
}

// hand hands on one task for each word.
func (shop *workshop) hand(q *queue, words string) (shed int) {
	var tasks []*task
	for _, word := range strings.Fields(words) {
		wire := []byte(word)
		query := Query{Wire: wire, Transport: UDP}
		t := shop.workers.newTask(shop.shift, shop.socket, &query, netip.MustParseAddrPort("192.0.2.1:5353"), []byte("!"))
		clear(wire) // its memory is the reader's
		tasks = append(tasks, t)
	}
	return shop.workers.hand(q, tasks)
}

// let lets n queries be answered, one after the other, and returns their words.
func (shop *workshop) let(n int) string {
	var words []string
	for range n {
		shop.release <- struct{}{}
		synctest.Wait()
		for _, sent := range shop.socket.heard() {
			words = append(words, strings.TrimSuffix(sent, "! to 192.0.2.1:5353"))
		}
	}
	return strings.Join(words, " ")
}

func (shop *workshop) check(t *testing.T, busy, waiting int) {
	t.Helper()
	synctest.Wait()
	if b, w := shop.workers.Busy(), shop.workers.Waiting(); b != busy || w != waiting {
		t.Errorf("%d busy and %d waiting, want %d and %d", b, w, busy, waiting)
	}
}

func TestWorkersShedTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop, q := newWorkshop(1), newQueue(3)
		if shed := shop.hand(q, "a b c d"); shed != 0 {
			t.Errorf("%d shed", shed)
		}
		shop.check(t, 1, 3)
		if shed := shop.hand(q, "e f"); shed != 2 { // b and c
			t.Errorf("%d shed, want 2", shed)
		}
		shop.check(t, 1, 3)
		if got := shop.let(2); got != "a d" {
			t.Errorf("answered %q", got)
		}
		if shed := shop.hand(q, "g h i j k"); shed != 3 { // f, g, h: the ring comes around
			t.Errorf("%d shed, want 3", shed)
		}
		if got := shop.let(4); got != "e i j k" {
			t.Errorf("answered %q", got)
		}
		shop.check(t, 0, 0)
		shop.shift.underWay.Wait() // the shed have been counted off too
		shop.workers.Close()
	})
}

// TestWorkersTakeTurns has one listener's queue full and another's not.
func TestWorkersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := newWorkshop(1)
		flooded, quiet, third := newQueue(4), newQueue(4), newQueue(4)
		shop.hand(flooded, "f0 f1 f2 f3 f4 f5") // f1 is shed
		shop.hand(quiet, "q1")
		shop.hand(third, "t1 t2")
		if got := shop.let(4); got != "f0 f2 q1 t1" {
			t.Errorf("answered %q", got)
		}
		shop.hand(quiet, "q2")
		if got := shop.let(5); got != "f3 t2 f4 q2 f5" {
			t.Errorf("answered %q", got)
		}
		shop.check(t, 0, 0)
		shop.workers.Close()
	})
}

func TestWorkersDiscard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop, gone, stays := newWorkshop(1), newQueue(2), newQueue(2)
		shop.hand(gone, "a b c")
		shop.hand(stays, "d")
		shop.workers.discard(gone)
		shop.check(t, 1, 1)
		if got := shop.let(2); got != "a d" {
			t.Errorf("answered %q", got)
		}
		shop.shift.underWay.Wait()
		shop.workers.Close()
	})
}

// TestWorkersRest counts who stays when all have answered, and that they are
// the ones to take what comes next.
func TestWorkersRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop, q := newWorkshop(16), newQueue(1)
		words := strings.Repeat("x ", 10)
		for range 3 {
			shop.hand(q, words)
			shop.check(t, 10, 0)
			shop.let(10)
			shop.check(t, 0, 0)
			if n := len(shop.workers.idle); n != 2 { // an eighth of 16
				t.Fatalf("%d rest, want 2", n)
			}
		}
		rested := slices.Clone(shop.workers.idle)
		shop.hand(q, "x")
		if len(shop.workers.idle) != 1 || shop.workers.idle[0] != rested[0] {
			t.Error("the last to rest is not the first to work")
		}
		shop.let(1)
		shop.workers.Close()
		shop.workers.Close()
		shop.hand(q, "late") // nothing waits for it, but nothing breaks
		if got := shop.let(1); got != "late" {
			t.Errorf("answered %q", got)
		}
		shop.workers.Close()
	})
}

// TestWorkersUnderLoad has many listeners hand on at once, with the race
// detector if it is on; every task is either answered or shed.
func TestWorkersUnderLoad(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	const listeners, rounds = 4, 500
	workers := NewWorkers(3)
	socket := new(fakeSocket)
	s := &shift{ctx: t.Context(), door: &fakeDoor{}}
	var handing sync.WaitGroup
	shed := make([]int, listeners)
	for i := range listeners {
		handing.Go(func() {
			q := newQueue(5)
			for range rounds {
				var tasks []*task
				for range 4 {
					tasks = append(tasks, workers.newTask(s, socket, &Query{Wire: []byte("x")}, netip.AddrPort{}, nil))
				}
				shed[i] += workers.hand(q, tasks)
			}
		})
	}
	handing.Wait()
	s.underWay.Wait()
	workers.Close()
	total := len(socket.heard())
	for _, n := range shed {
		total += n
	}
	if total != listeners*rounds*4 {
		t.Errorf("%d answered or shed, want %d", total, listeners*rounds*4)
	}
}
