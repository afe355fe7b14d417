package relay

import (
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// purse is a Pacer that grants what the test puts into it, and counts what has
// been granted.
type purse struct {
	mu      sync.Mutex
	more    chan struct{} // closed when there is more
	left    int
	granted [2]int // down, up
	waits   atomic.Int32
}

func newPurse() *purse { return &purse{more: make(chan struct{})} }

func (p *purse) put(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left += n
	close(p.more)
	p.more = make(chan struct{})
}

func (p *purse) Take(up bool, n int, over <-chan struct{}) int {
	p.waits.Add(1)
	defer p.waits.Add(-1)
	for {
		p.mu.Lock()
		granted, more := min(n, p.left), p.more
		if p.left -= granted; granted > 0 {
			if up {
				p.granted[1] += granted
			} else {
				p.granted[0] += granted
			}
			p.mu.Unlock()
			return granted
		}
		p.mu.Unlock()
		select {
		case <-more:
		case <-over:
			return 0
		}
	}
}

func (p *purse) total() (down, up int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.granted[0], p.granted[1]
}

// Nothing moves that was not granted, and all that was granted moves.
func TestPace(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			r := relayWith(t, Config{})
			p, h := newPurse(), newListener()
			kind.pace = p
			u := openKind(t, r, h, "early", kind)
			data := noise(600 << 10)
			var up, down []byte
			together(
				func() { _, _ = u.client.Write(data); _ = u.client.CloseWrite() },
				func() { _, _ = u.server.Write(data); _ = u.server.CloseWrite() },
				func() { up, _ = io.ReadAll(u.server) },
				func() { down, _ = io.ReadAll(u.client) },
				func() {
					for granted, step := 0, 1; granted < 2*len(data)+5; step = step*3 + 1 {
						eventually(t, "held back", func() bool { return p.waits.Load() > 0 })
						eventually(t, "moved", func() bool { return int(h.up.Load()+h.down.Load()) <= granted })
						step = min(step, 2*len(data)+5-granted)
						granted += step
						p.put(step)
					}
				},
			)
			if string(up) != "early"+string(data) || string(down) != string(data) {
				t.Errorf("%d bytes up and %d down", len(up), len(down))
			}
			h.how(t)
			if down, up := p.total(); int64(up) != h.up.Load() || int64(down) != h.down.Load() {
				t.Errorf("granted %d up and %d down, moved %d and %d", up, down, h.up.Load(), h.down.Load())
			}
		})
	}
}

// A flow that is held back can be ended, and ends when it is idle.
func TestPacedFlowEnds(t *testing.T) {
	r := relayByHand(t, Config{Idle: time.Minute})
	for _, end := range []func(*Flow){
		(*Flow).End,
		func(*Flow) { r.pass(time.Minute + longestTick) },
	} {
		kind, h, p := kinds["tcp"], newListener(), newPurse()
		kind.pace = p
		u := openKind(t, r.Relay, h, "", kind)
		send(t, u.client, "hello")
		eventually(t, "held back", func() bool { return p.waits.Load() == 1 })
		end(u.flow)
		h.how(t)
		if p.waits.Load() != 0 {
			t.Error("still waiting")
		}
	}
}
