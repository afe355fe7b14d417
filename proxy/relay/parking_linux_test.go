package relay

import (
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestParksAndWakes(t *testing.T) {
	r := relayWith(t, Config{})
	u := open(t, r, nil, "")
	for range 20 {
		u.atRest()
		send(t, u.client, "ping")
		expect(t, u.server, "ping")
		u.atRest()
		send(t, u.server, "pong")
		expect(t, u.client, "pong")
	}
}

// Many tunnels that go to sleep and wake up all the time lose nothing.
func TestNothingIsLostInSleep(t *testing.T) {
	const tunnels, rounds = 16, 150
	r := relayWith(t, Config{})
	data := noise(1 << 20)
	var wakes [tunnels]int
	var things []func()
	for i := range tunnels {
		u := open(t, r, nil, "")
		random := rand.New(rand.NewPCG(1, uint64(i)))
		things = append(things, func() {
			for range rounds {
				size := 1 + random.IntN(100)
				if random.IntN(10) == 0 {
					size = 1 + random.IntN(300<<10)
				}
				if random.IntN(2) == 0 {
					// As long as it takes to be sent to sleep, more or less.
					time.Sleep(time.Duration(random.IntN(3_000)) * time.Microsecond)
				}
				if u.sleeping() {
					wakes[i]++
				}
				from, to := io.ReadWriter(u.client), io.ReadWriter(u.server)
				if random.IntN(2) == 0 {
					from, to = to, from
				}
				piece := data[random.IntN(len(data)-size):][:size]
				got := make([]byte, size)
				together(
					func() { _, _ = from.Write(piece) },
					func() { _, _ = io.ReadFull(to, got) },
				)
				if sha256.Sum256(got) != sha256.Sum256(piece) {
					t.Errorf("tunnel %d: %d bytes were changed", i, size)
					return
				}
			}
		})
	}
	together(things...)
	total := 0
	for _, n := range wakes {
		total += n
	}
	if total < tunnels {
		t.Errorf("only %d of %d rounds found their tunnel asleep", total, tunnels*rounds)
	}
}

// descriptors counts those of this process that lead to something whose name
// begins with kind.
func descriptors(t testing.TB, kind string) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	count := 0
	for _, entry := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil && strings.HasPrefix(target, kind) {
			count++
		}
	}
	return count
}

// A tunnel at rest holds its two connections and nothing else: no goroutine, no
// pipe and no buffer, even after it has moved a lot.
func TestTunnelsAtRestHoldNothing(t *testing.T) {
	const tunnels = 50
	r := relayByHand(t, Config{})
	goroutines, pipes, sockets := runtime.NumGoroutine(), descriptors(t, "pipe:"), descriptors(t, "socket:")
	bulk := noise(1 << 20)
	for range tunnels {
		u := open(t, r.Relay, nil, "")
		got := make([]byte, len(bulk))
		together(
			func() { _, _ = u.client.Write(bulk) },
			func() { _, _ = io.ReadFull(u.server, got) },
		)
		u.atRest()
		for i := range u.flow.ways {
			if w := &u.flow.ways[i]; w.load != nil || len(w.rest) > 0 {
				t.Error("something is left to be written")
			}
		}
	}
	if descriptors(t, "pipe:") == pipes {
		t.Error("no pipe was used to move a lot")
	}
	eventually(t, "without goroutines", func() bool { return runtime.NumGoroutine() <= goroutines })
	if got := descriptors(t, "socket:") - sockets; got != 4*tunnels { // two are the test's
		t.Errorf("%d sockets for %d tunnels", got, tunnels)
	}
	r.pass(trimEvery)
	r.pass(trimEvery)
	if got := descriptors(t, "pipe:"); got != pipes {
		t.Errorf("%d descriptors of pipes are left", got-pipes)
	}
	if len(r.watched.flows) != 0 {
		t.Errorf("%d tunnels are watched, without need", len(r.watched.flows))
	}
}

// A destination that does not read costs no goroutine, and after a while no
// pipe either.
func TestStalledTunnelsHoldNoPipe(t *testing.T) {
	for name, config := range map[string]Config{
		"splice": {},
		"copy":   {Pipes: -1},
	} {
		t.Run(name, func(t *testing.T) {
			r := relayByHand(t, config)
			goroutines, pipes := runtime.NumGoroutine(), descriptors(t, "pipe:")
			u := open(t, r.Relay, nil, "")
			data := noise(64 << 20) // more than fits into the sockets on the way
			done := make(chan error, 1)
			go func() { _, err := u.client.Write(data); done <- err }()
			held := func() (load, rest int) {
				u.flow.mu.Lock()
				defer u.flow.mu.Unlock()
				w := &u.flow.ways[Client]
				if w.state != wayParked {
					return 0, 0
				}
				if w.load != nil {
					load = w.load.held + len(w.load.piece)
				}
				return load, len(w.rest)
			}
			eventually(t, "stalled", func() bool { load, _ := held(); return load > 0 })
			eventually(t, "without goroutines", func() bool { return runtime.NumGoroutine() <= goroutines+1 }) // the writer
			load, _ := held()
			if r.pass(patience / 2); len(r.watched.flows) != 1 {
				t.Errorf("%d tunnels are watched", len(r.watched.flows))
			}
			r.pass(patience)
			if now, rest := held(); now != 0 || rest != load {
				t.Errorf("of %d bytes in a pipe, %d are there still and %d in memory", load, now, rest)
			}
			if len(r.watched.flows) != 0 {
				t.Errorf("%d tunnels are watched, without need", len(r.watched.flows))
			}
			r.pass(trimEvery)
			r.pass(trimEvery)
			if got := descriptors(t, "pipe:"); got != pipes {
				t.Errorf("%d descriptors of pipes are left", got-pipes)
			}
			// The other direction is not held up.
			send(t, u.server, "I am busy")
			expect(t, u.client, "I am busy")
			got := make([]byte, len(data))
			if _, err := io.ReadFull(u.server, got); err != nil || sha256.Sum256(got) != sha256.Sum256(data) {
				t.Errorf("the bytes were changed: %v", err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// A stalled tunnel that ends gives back what it held.
func TestStalledTunnelsEnd(t *testing.T) {
	r := relayByHand(t, Config{})
	before := descriptors(t, "pipe:")
	u := open(t, r.Relay, nil, "")
	go func() { _, _ = u.client.Write(make([]byte, 64<<20)) }()
	eventually(t, "stalled", func() bool {
		u.flow.mu.Lock()
		defer u.flow.mu.Unlock()
		w := &u.flow.ways[Client]
		return w.state == wayParked && w.load != nil && w.load.held > 0
	})
	u.flow.End()
	u.handler.how(t)
	if got := descriptors(t, "pipe:"); got != before {
		t.Errorf("%d descriptors are left", got-before)
	}
	if r.pipes.open != 0 {
		t.Errorf("%d pipes are counted as open", r.pipes.open)
	}
}

// stall writes from one side to the other, which reads nothing, until the way is
// stalled and what it holds is in memory. It returns what was written.
func (u *tunnel) stall(r *handRelay, side Side, from *net.TCPConn) []byte {
	u.t.Helper()
	data, sent := noise(64<<20), 0
	w := &u.flow.ways[side]
	state := func() (stalled, light bool) {
		u.flow.mu.Lock()
		defer u.flow.mu.Unlock()
		return w.state == wayParked && w.load != nil, w.state == wayParked && len(w.rest) > 0
	}
	_ = from.SetWriteDeadline(time.Now().Add(atMost))
	for stalled := false; !stalled; stalled, _ = state() {
		n, err := from.Write(data[sent:][:16<<10])
		if sent += n; err != nil {
			u.t.Fatalf("%v after %d bytes", err, sent)
		}
	}
	eventually(u.t, "put into memory", func() bool {
		r.pass(patience)
		_, light := state()
		return light
	})
	return data[:sent]
}

// A client that resets its connection while the upstream takes nothing is
// noticed. One that has come to its end is not cut short, nor does it miss what
// an upstream has said that is gone.
func TestGoneWhileStalled(t *testing.T) {
	reset := func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() }
	halfClose := func(c *net.TCPConn) { _ = c.CloseWrite() }
	for name, test := range map[string]struct {
		from  Side
		leave func(*net.TCPConn)
		how   Outcome
	}{
		"client resets":   {Client, reset, Outcome{CauseBroken, Client}},
		"client ends":     {Client, halfClose, Outcome{CauseClosed, Upstream}},
		"upstream resets": {Upstream, reset, Outcome{CauseBroken, Upstream}},
		"upstream ends":   {Upstream, halfClose, Outcome{CauseClosed, Client}},
	} {
		t.Run(name, func(t *testing.T) {
			r := relayByHand(t, Config{})
			u := open(t, r.Relay, nil, "")
			from, to := u.client, u.server
			if test.from == Upstream {
				from, to = to, from
			}
			sent := u.stall(r, test.from, from)
			if test.how.Cause == CauseClosed {
				_ = to.CloseWrite() // now that side is closed altogether
				if got := rest(t, from); got != "" {
					t.Errorf("got %q", got)
				}
			}
			test.leave(from)
			if name == "client resets" {
				u.handler.how(t) // although nobody reads
			}
			got := rest(t, to)
			if complete := len(got) == len(sent); complete != (test.how.Cause == CauseClosed) && name != "upstream resets" {
				t.Errorf("%d bytes of %d", len(got), len(sent))
			}
			if len(got) == 0 || got != string(sent[:len(got)]) {
				t.Errorf("%d bytes, of which some were changed", len(got))
			}
			if how := u.handler.how(t); how != test.how {
				t.Errorf("ended %v", how)
			}
		})
	}
}

// An event that comes too late finds nobody, or somebody else whom it does not
// concern.
func TestLateEvents(t *testing.T) {
	r := relayByHand(t, Config{})
	first := open(t, r.Relay, nil, "")
	first.atRest()
	old := first.flow.ticket
	first.flow.End()
	first.handler.how(t)
	shared := false
	for range r.parkings { // one of them is that of the first
		u := open(t, r.Relay, nil, "")
		u.atRest()
		if u.flow.parking != first.flow.parking {
			continue
		}
		shared = u.flow.ticket.slot == old.slot && u.flow.ticket != old
		for _, f := range []*Flow{first.flow, u.flow} {
			if f.woken(old, Client, readable) != [2]*mover{} || !u.sleeping() {
				t.Error("woken by another's event")
			}
		}
		send(t, u.client, "ping")
		expect(t, u.server, "ping")
	}
	if !shared {
		t.Error("the place of a flow is not used again")
	}
}

// An event at one end wakes the way that it concerns, and the other one goes on
// waiting there.
func TestTwoWaitAtOneEnd(t *testing.T) {
	r := relayByHand(t, Config{})
	u := open(t, r.Relay, nil, "")
	data := noise(64 << 20)
	go func() { _, _ = u.client.Write(data) }()
	eventually(t, "stalled", func() bool {
		u.flow.mu.Lock()
		defer u.flow.mu.Unlock()
		return u.flow.ways[Client].load != nil && u.flow.ways[Client].state == wayParked &&
			u.flow.ends[Upstream].wants == readable|writable
	})
	for range 5 {
		send(t, u.server, "tick")
		expect(t, u.client, "tick")
	}
	got := make([]byte, len(data))
	if _, err := io.ReadFull(u.server, got); err != nil || sha256.Sum256(got) != sha256.Sum256(data) {
		t.Errorf("the bytes were changed: %v", err)
	}
}

// Where the system lets nothing more be waited for, the flow ends.
func TestParkingThatFails(t *testing.T) {
	r := relayByHand(t, Config{})
	u := open(t, r.Relay, nil, "")
	u.atRest()
	u.flow.mu.Lock()
	u.flow.parking.fd = -1 // the waker uses its file
	u.flow.mu.Unlock()
	send(t, u.client, "ping")
	expect(t, u.server, "ping")
	if how := u.handler.how(t); how.Cause != CauseBroken {
		t.Errorf("ended %v", how)
	}
}
