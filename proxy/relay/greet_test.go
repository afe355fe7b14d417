package relay

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// script is a Greet that notes what it is called with, and answers by it.
type script struct {
	heard   chan string
	answers map[string]Greeting
}

// scripted makes a handler that answers each call by its text: "piece" and
// the occasion, such as "hello arrived", " late" and " end".
func scripted(answers map[string]Greeting) (*listener, *script) {
	s := &script{heard: make(chan string, 100), answers: answers}
	l := newListener()
	l.greet = s.greet
	return l, s
}

func (s *script) greet(piece []byte, occasion Occasion) Greeting {
	call := string(piece) + [...]string{" arrived", " late", " end"}[occasion]
	s.heard <- call
	return s.answers[call]
}

// hears waits for the next call.
func (s *script) hears(t testing.TB, want string) {
	t.Helper()
	select {
	case got := <-s.heard:
		if got != want {
			t.Fatalf("greeted with %q, want %q", got, want)
		}
	case <-time.After(atMost):
		t.Fatalf("not greeted with %q", want)
	}
}

// Pieces are judged as they come, and go up only once that has been allowed.
func TestGreetingInPieces(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			r := relayWith(t, Config{})
			h, s := scripted(map[string]Greeting{
				"lo arrived": {Then: Carry, Forward: []byte("hel" + "lo")},
			})
			u := openKind(t, r, h, "h", kind)
			s.hears(t, "h arrived")
			send(t, u.client, "el")
			s.hears(t, "el arrived")
			if kind.parks {
				u.restIfThere()
			}
			send(t, u.client, "lo")
			s.hears(t, "lo arrived")
			expect(t, u.server, "hello")
			send(t, u.client, "more")
			expect(t, u.server, "more")
			eventually(t, "counted", func() bool { return h.up.Load() == 9 })
		})
	}
}

// A greeting has the time that it was given, and is told when that is over.
func TestGreetingTakesTooLong(t *testing.T) {
	r := relayByHand(t, Config{})
	h, s := scripted(map[string]Greeting{
		" arrived":   {Within: 5 * time.Second},
		" late":      {},
		"he arrived": {Within: 2 * time.Second},
		"l arrived":  {Then: Carry, Forward: []byte("hel")},
	})
	u := open(t, r.Relay, h, "")
	s.hears(t, " arrived")
	eventually(t, "due", u.due)
	u.restIfThere()
	for range 4 {
		r.pass(time.Second)
	}
	if len(s.heard) != 0 {
		t.Error("late before its time")
	}
	r.pass(time.Second)
	s.hears(t, " late")
	u.restIfThere() // there is no hurry any more
	send(t, u.client, "he")
	s.hears(t, "he arrived")
	eventually(t, "due", u.due)
	u.restIfThere()
	r.pass(time.Second)
	send(t, u.client, "l")
	s.hears(t, "l arrived")
	expect(t, u.server, "hel")
	r.pass(time.Minute)
	if len(s.heard) != 0 {
		t.Error("greeted again")
	}
}

// due reports whether a greeting will be reminded.
func (u *tunnel) due() bool {
	u.flow.mu.Lock()
	defer u.flow.mu.Unlock()
	return u.flow.ways[Client].due != 0
}

// What is late may be let go on, with what there is of it.
func TestLateGreetingGoesOn(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			r := relayWith(t, Config{})
			h, s := scripted(map[string]Greeting{
				" arrived":  {Within: time.Millisecond},
				"X arrived": {Within: time.Millisecond},
			})
			calls := 0
			answer := h.greet
			h.greet = func(piece []byte, occasion Occasion) Greeting {
				g := answer(piece, occasion)
				if calls++; occasion == Late && calls > 2 {
					g = Greeting{Then: Carry, Forward: []byte("X")}
				}
				return g
			}
			u := openKind(t, r, h, "", kind)
			s.hears(t, " arrived")
			s.hears(t, " late")
			send(t, u.client, "X")
			s.hears(t, "X arrived")
			s.hears(t, " late")
			expect(t, u.server, "X")
			send(t, u.client, "YZ")
			expect(t, u.server, "YZ")
			send(t, u.server, "back")
			expect(t, u.client, "back")
		})
	}
}

// A client that has nothing more to say before it was let in may go on as one
// that has half-closed, or not.
func TestGreetingThatEnds(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			r := relayWith(t, Config{})
			h, s := scripted(map[string]Greeting{"GET end": {}, " end": {Then: Carry, Forward: []byte("GET")}})
			u := openKind(t, r, h, "GET", kind)
			s.hears(t, "GET arrived")
			_ = u.client.CloseWrite()
			s.hears(t, " end")
			if got := rest(t, u.server); got != "GET" {
				t.Errorf("got %q", got)
			}
			send(t, u.server, "answer")
			_ = u.server.CloseWrite()
			if got := rest(t, u.client); got != "answer" {
				t.Errorf("got %q", got)
			}
			if how := h.how(t); how != (Outcome{CauseClosed, Client}) {
				t.Errorf("ended %v", how)
			}

			h, s = scripted(nil)
			u = openKind(t, r, h, "half a hel", kind)
			s.hears(t, "half a hel arrived")
			_ = u.client.CloseWrite()
			s.hears(t, " end")
			if how := h.how(t); how != (Outcome{CauseClosed, Client}) {
				t.Errorf("ended %v", how)
			}
			if got := rest(t, u.server) + rest(t, u.client); got != "" {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestResetWhileGreeting(t *testing.T) {
	r := relayWith(t, Config{})
	h, s := scripted(nil)
	u := open(t, r, h, "x")
	s.hears(t, "x arrived")
	_ = u.client.SetLinger(0)
	_ = u.client.Close()
	if how := h.how(t); how != (Outcome{CauseBroken, Client}) {
		t.Errorf("ended %v", how)
	}
	if len(s.heard) != 0 {
		t.Errorf("greeted with %q", <-s.heard)
	}
}

// refusals are ways to refuse a client: what the relay is doing meanwhile.
var refusals = map[string]func(t *testing.T, u *tunnel, s *script){
	"at once": func(*testing.T, *tunnel, *script) {},
	"after the server has spoken": func(t *testing.T, u *tunnel, _ *script) {
		send(t, u.server, "220")
		expect(t, u.client, "220")
		eventually(t, "counted", func() bool { return u.handler.down.Load() == 3 })
	},
	"while the server speaks": func(t *testing.T, u *tunnel, _ *script) {
		go func() { _, _ = u.server.Write(noise(8 << 20)) }()
		eventually(t, "some arrived", func() bool { return u.handler.down.Load() > 0 })
	},
	"when the server has left": func(t *testing.T, u *tunnel, _ *script) {
		_ = u.server.CloseWrite()
		if got := rest(t, u.client); got != "" {
			t.Errorf("got %q", got)
		}
	},
	"from sleep": func(t *testing.T, u *tunnel, _ *script) {
		eventually(t, "some sleep", func() bool {
			u.flow.mu.Lock()
			defer u.flow.mu.Unlock()
			for i := range u.flow.ways {
				if u.flow.ends[i].bare() && u.flow.ways[i].state != wayParked {
					return false
				}
			}
			return true
		})
	},
}

// A client that is refused is given back, and nothing that it says is lost.
func TestRefuse(t *testing.T) {
	for name, kind := range kinds {
		for when, before := range refusals {
			t.Run(name+" "+when, func(t *testing.T) {
				r := relayWith(t, Config{})
				h, s := scripted(map[string]Greeting{"hello arrived": {Then: Refuse}})
				u := openKind(t, r, h, "", kind)
				s.hears(t, " arrived")
				before(t, u, s)
				send(t, u.client, "hello")
				s.hears(t, "hello arrived")
				if how := h.how(t); how.Cause != CauseRefused {
					t.Errorf("ended %v", how)
				}
				if _, err := u.ends.Upstream.Write([]byte("x")); err == nil {
					t.Error("the upstream is open")
				}
				if !kind.deadlines && when == "while the server speaks" {
					return // it is closed, if it was being written to
				}
				send(t, u.client, "and more")
				buffer := make([]byte, 8)
				if _, err := io.ReadFull(u.ends.Client, buffer); err != nil || string(buffer) != "and more" {
					t.Errorf("the client, given back, said %q: %v", buffer, err)
				}
				if !strings.HasPrefix(when, "while") && !strings.HasPrefix(when, "when") {
					send(t, u.ends.Client, "no")
					expect(t, u.client, "no")
				}
				_ = u.ends.Client.Close()
			})
		}
	}
}

// One that is late may be refused, although a Read of it waits.
func TestRefuseLate(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			r := relayWith(t, Config{})
			h, s := scripted(map[string]Greeting{
				"x arrived": {Within: 5 * time.Millisecond},
				" late":     {Then: Refuse},
			})
			u := openKind(t, r, h, "x", kind)
			s.hears(t, "x arrived")
			s.hears(t, " late")
			if how := h.how(t); how.Cause != CauseRefused {
				t.Errorf("ended %v", how)
			}
			if !kind.deadlines {
				if _, err := u.ends.Client.Write([]byte("no")); err == nil {
					t.Error("a client that could not be freed is open")
				}
				return
			}
			send(t, u.client, "hello?")
			buffer := make([]byte, 6)
			if _, err := io.ReadFull(u.ends.Client, buffer); err != nil || string(buffer) != "hello?" {
				t.Errorf("the client, given back, said %q: %v", buffer, err)
			}
			_ = u.ends.Client.Close()
		})
	}
}

// kind is what the two ends of a flow are.
type kind struct {
	client, upstream func(*net.TCPConn) Stream
	deadlines        bool // the client knows deadlines
	parks            bool // both ways may sleep
	pace             Pacer
}

func bareEnd(c *net.TCPConn) Stream { return c }

// wrapped hides that it is a TCP connection.
type wrapped struct{ net.Conn }

func (w wrapped) CloseWrite() error { return w.Conn.(*net.TCPConn).CloseWrite() }

func wrappedEnd(c *net.TCPConn) Stream { return wrapped{c} }

// bareBones knows no deadlines.
type bareBones struct{ inner *net.TCPConn }

func (b bareBones) Read(p []byte) (int, error)  { return b.inner.Read(p) }
func (b bareBones) Write(p []byte) (int, error) { return b.inner.Write(p) }
func (b bareBones) Close() error                { return b.inner.Close() }
func (b bareBones) CloseWrite() error           { return b.inner.CloseWrite() }

func bareBonesEnd(c *net.TCPConn) Stream { return bareBones{c} }

var kinds = map[string]kind{
	"tcp":                 {bareEnd, bareEnd, true, true, nil},
	"stream to tcp":       {wrappedEnd, bareEnd, true, false, nil},
	"tcp to stream":       {bareEnd, wrappedEnd, true, false, nil},
	"streams":             {wrappedEnd, wrappedEnd, true, false, nil},
	"plain stream to tcp": {bareBonesEnd, bareEnd, false, false, nil},
	"plain streams":       {bareBonesEnd, bareBonesEnd, false, false, nil},
}

func openKind(t testing.TB, r *Relay, h *listener, early string, k kind) *tunnel {
	t.Helper()
	u := &tunnel{t: t, handler: h}
	u.client, u.inClient = pair(t)
	u.inServer, u.server = pair(t)
	u.ends = Ends{Client: k.client(u.inClient), Upstream: k.upstream(u.inServer), Pace: k.pace}
	var err error
	if u.flow, err = r.Start(u.ends, bytes.Clone([]byte(early)), h); err != nil {
		t.Fatal(err)
	}
	return u
}

// TestGreetingGoesOn has a greeting let some of it pass, and go on asking.
func TestGreetingGoesOn(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			r := relayWith(t, Config{})
			h, s := scripted(map[string]Greeting{
				"a arrived": {Then: Pass, Forward: []byte("a")},
				"b arrived": {Then: Pass}, // held
				"c arrived": {Then: Pass, Forward: []byte("bc")},
				"d arrived": {Then: Carry, Forward: []byte("d")},
			})
			u := openKind(t, r, h, "a", kind)
			s.hears(t, "a arrived")
			expect(t, u.server, "a")
			send(t, u.client, "b")
			s.hears(t, "b arrived")
			send(t, u.server, "meanwhile")
			expect(t, u.client, "meanwhile")
			send(t, u.client, "c")
			s.hears(t, "c arrived")
			expect(t, u.server, "bc")
			send(t, u.client, "d")
			s.hears(t, "d arrived")
			send(t, u.client, "ef")
			expect(t, u.server, "def")
		})
	}
}
