package relay

import (
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestParksAndWakes(t *testing.T) {
	r := relayWith(t, Config{Quiet: 4 * time.Millisecond})
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
	r := relayWith(t, Config{Quiet: time.Millisecond})
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

func (u *tunnel) sleeping() bool {
	u.flow.mu.Lock()
	defer u.flow.mu.Unlock()
	return u.flow.resting
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

// A parked tunnel holds its two connections and nothing else: no goroutine, no
// pipe and no buffer, even after it has moved a lot.
func TestParkedTunnelsHoldNothing(t *testing.T) {
	const tunnels = 50
	r := relayByHand(t, Config{})
	goroutines, pipes, sockets := runtime.NumGoroutine(), descriptors(t, "pipe:"), descriptors(t, "socket:")
	var all []*tunnel
	bulk := noise(1 << 20)
	for range tunnels {
		u := open(t, r.Relay, nil, "")
		got := make([]byte, len(bulk))
		together(
			func() { _, _ = u.client.Write(bulk) },
			func() { _, _ = io.ReadFull(u.server, got) },
		)
		all = append(all, u)
	}
	if descriptors(t, "pipe:") == pipes {
		t.Error("no pipe was used to move a lot")
	}
	for _, u := range all {
		u.parkWith(r)
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
}

// One direction sleeps while the other works.
func TestDirectionsSleepApart(t *testing.T) {
	r := relayByHand(t, Config{})
	u := open(t, r.Relay, nil, "")
	eventually(t, "asleep upwards alone", func() bool {
		r.pass(r.config.Quiet)
		send(t, u.server, "x")
		expect(t, u.client, "x")
		u.flow.mu.Lock()
		defer u.flow.mu.Unlock()
		return u.flow.ways[Client].state == wayParked && u.flow.ways[Upstream].state == wayMoving
	})
	send(t, u.client, "still here")
	expect(t, u.server, "still here")
}

// A destination that does not read costs no pipe and no goroutine either.
func TestStalledTunnelsSleep(t *testing.T) {
	r := relayByHand(t, Config{})
	goroutines, pipes := runtime.NumGoroutine(), descriptors(t, "pipe:")
	u := open(t, r.Relay, nil, "")
	_ = u.client.SetWriteDeadline(time.Now().Add(patience))
	data := noise(64 << 20) // more than fits into the sockets on the way
	done := make(chan error, 1)
	go func() { _, err := u.client.Write(data); done <- err }()
	eventually(t, "stalled", u.flow.ways[Client].stalled.Load)
	u.parkWith(r)
	u.flow.mu.Lock()
	if kept := len(u.flow.ways[Client].rest); kept == 0 || kept > pipeBytes {
		t.Errorf("%d bytes are kept", kept)
	}
	u.flow.mu.Unlock()
	r.pass(trimEvery)
	r.pass(trimEvery)
	if got := descriptors(t, "pipe:"); got != pipes {
		t.Errorf("%d descriptors of pipes are left", got-pipes)
	}
	eventually(t, "without goroutines", func() bool { return runtime.NumGoroutine() <= goroutines+1 }) // the writer
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
}

// An event that comes too late finds nobody, or somebody else whom it does not
// concern.
func TestLateEvents(t *testing.T) {
	r := relayByHand(t, Config{})
	first := open(t, r.Relay, nil, "")
	first.parkWith(r)
	old := first.flow.ticket
	first.flow.End()
	first.handler.how(t)
	second := open(t, r.Relay, nil, "")
	second.parkWith(r)
	if second.flow.ticket.slot != old.slot || second.flow.ticket == old {
		t.Fatalf("tickets %v and %v: the place is not used again", old, second.flow.ticket)
	}
	for _, f := range []*Flow{first.flow, second.flow} {
		f.wake(old, Client, readable)
	}
	if !second.sleeping() {
		t.Error("woken by another's event")
	}
	send(t, second.client, "ping")
	expect(t, second.server, "ping")
}

// Where the epoll set takes no more, tunnels go on with their goroutines.
func TestParkingThatFails(t *testing.T) {
	r := relayByHand(t, Config{})
	u := open(t, r.Relay, nil, "")
	fd := r.parking.fd
	r.parking.fd = -1
	eventually(t, "turned away", func() bool {
		r.pass(r.config.Quiet)
		return !u.flow.ways[Client].parks.Load() && !u.flow.ways[Upstream].parks.Load()
	})
	r.parking.fd = fd
	send(t, u.client, "ping")
	expect(t, u.server, "ping")
	send(t, u.server, "pong")
	expect(t, u.client, "pong")
}
