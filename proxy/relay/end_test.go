package relay

import (
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// A flow may be ended in any state, by several at once, and ends once.
func TestEndAtAnyMoment(t *testing.T) {
	const tunnels = 400
	r := relayWith(t, Config{})
	data := noise(256 << 10)
	var things []func()
	for worker := range 4 {
		random := rand.New(rand.NewPCG(2, uint64(worker)))
		things = append(things, func() {
			for range tunnels / 4 {
				u := open(t, r, nil, "")
				var stop atomic.Bool
				pause := time.Duration(random.IntN(4_000)) * time.Microsecond
				kind := random.IntN(4)
				together(
					func() {
						switch kind {
						case 0: // nothing happens
						case 1:
							for !stop.Load() {
								if _, err := u.client.Write(data); err != nil {
									return
								}
							}
						case 2:
							_, _ = u.server.Write([]byte("x"))
							_ = u.server.CloseWrite()
						case 3:
							_ = u.client.SetLinger(0)
							_ = u.client.Close()
						}
					},
					func() { _, _ = io.Copy(io.Discard, u.server) },
					func() { time.Sleep(pause); u.flow.End(); stop.Store(true) },
					func() { time.Sleep(pause); runtime.Gosched(); u.flow.End() },
				)
				how := u.handler.how(t)
				if kind != 3 && how.Cause != CauseEnded || kind == 3 && how != (Outcome{CauseBroken, Client}) && how.Cause != CauseEnded {
					t.Errorf("kind %d ended %v", kind, how)
				}
				u.flow.End()
				if _, err := u.inClient.Write([]byte("x")); err == nil {
					t.Error("the client is open after the end")
				}
				if _, err := u.inServer.Write([]byte("x")); err == nil {
					t.Error("the upstream is open after the end")
				}
				_, _ = u.client.Close(), u.server.Close()
				if n := u.handler.endings.Load(); n != 1 {
					t.Errorf("ended %d times", n)
				}
			}
		})
	}
	together(things...)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.flows.flows) != 0 || len(r.watched.flows) != 0 {
		t.Errorf("%d flows are left, %d watched", len(r.flows.flows), len(r.watched.flows))
	}
}

// End may be called from inside of a handler, and under locks that it needs.
func TestEndFromTheHandler(t *testing.T) {
	r := relayWith(t, Config{})
	flow := make(chan *Flow, 1)
	h := newListener()
	h.greet = func([]byte, Occasion) Greeting {
		(<-flow).End()
		return Greeting{Then: Refuse}
	}
	u := open(t, r, h, "early")
	flow <- u.flow
	if how := h.how(t); how.Cause != CauseEnded {
		t.Errorf("ended %v", how)
	}
	if got := rest(t, u.client); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestCloseEndsWhatIsLeft(t *testing.T) {
	r, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	asleep, awake := open(t, r, nil, ""), open(t, r, nil, "")
	asleep.restIfThere()
	send(t, awake.client, "x")
	together(
		func() { _ = r.Close() },
		func() { _ = r.Close() },
	)
	for _, u := range []*tunnel{asleep, awake} {
		select {
		case <-u.handler.ended:
		default:
			t.Error("closed before a flow had ended")
		}
		if u.handler.outcome.Cause != CauseEnded {
			t.Errorf("ended %v", u.handler.outcome)
		}
	}
	client, _ := pair(t)
	server, _ := pair(t)
	if _, err := r.Start(Ends{Client: client, Upstream: server}, nil, newListener()); !errors.Is(err, ErrClosed) {
		t.Errorf("start after close: %v", err)
	}
	if _, err := client.Write([]byte("x")); err != nil {
		t.Errorf("a connection that was not taken is closed: %v", err)
	}
}

// Idle flows end, and no earlier than said.
func TestIdle(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			r := relayByHand(t, Config{Idle: time.Hour})
			u := openKind(t, r.Relay, newListener(), "", kind)
			for range 3 {
				for range 59 {
					r.pass(time.Minute)
				}
				send(t, u.server, "still there")
				expect(t, u.client, "still there")
				eventually(t, "noted", func() bool { return u.flow.ways[Upstream].moved.Load() == r.clock.Load() })
			}
			for range 60 {
				r.pass(time.Minute)
			}
			u.flow.mu.Lock()
			if u.flow.stopped {
				t.Error("ended early")
			}
			u.flow.mu.Unlock()
			r.pass(longestRound)
			if how := u.handler.how(t); how.Cause != CauseIdle {
				t.Errorf("ended %v", how)
			}
			if got := rest(t, u.client) + rest(t, u.server); got != "" {
				t.Errorf("got %q", got)
			}
		})
	}
}

// A relay's own clock ends idle flows, too.
func TestIdleByTheClock(t *testing.T) {
	r := relayWith(t, Config{Idle: 20 * time.Millisecond})
	if how := open(t, r, nil, "").handler.how(t); how.Cause != CauseIdle {
		t.Errorf("ended %v", how)
	}
}
