package proxy

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/proxy/relay"
)

// tunnel is a connection that outlives its request: a CONNECT tunnel or a
// WebSocket. It knows what it was allowed for, so that it can be judged again,
// and what to close when it is not allowed any more.
type tunnel struct {
	server *Server
	client netip.Addr
	pacer  *pacer     // nil: its group has no limit
	watch  *idleWatch // of a WebSocket; nil: the relay watches
	over   sync.Once  // guards wind

	up, down atomic.Int64 // bytes carried: client to origin, origin to client

	mu          sync.Mutex
	request     policy.Request
	ends        []io.Closer // what end closes
	reason      string      // why it was ended; empty: both sides came to their end
	rule        string      // that ended it, where reason is policy
	firstEnd    string      // the side that came to its end first
	ended       bool
	established bool
	opened      time.Time
	decision    *policy.Decision
}

// newTunnel registers a tunnel for an exchange. It is nil where there is no
// room. finish must follow.
func (s *Server) newTunnel(x *exchange) *tunnel {
	t := &tunnel{server: s, client: x.client, request: x.request, pacer: s.bandwidth.join(x.client, &x.verdict)}
	if shed, ok := s.tunnels.add(t); !ok {
		s.metrics.shed.WithLabelValues(shed).Inc()
		t.pacer.leave()
		return nil
	}
	return t
}

// watched ends the tunnel when nothing has moved for too long.
func (t *tunnel) watched() {
	t.watch = newIdleWatch(t.server.config.Timeouts.Idle, func() { t.end(closedByIdle, "") })
}

// flow leaves the tunnel to the relay, and what belongs to it: from now on, the
// tunnel closes the flow and not its ends. Where that fails, the ends are
// closed.
func (t *tunnel) flow(ends relay.Ends, early []byte, c *carrier) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pacer != nil {
		ends.Pace = t.pacer
	}
	err := net.ErrClosed
	if !t.ended {
		var f *relay.Flow
		if f, err = t.server.relay.Start(ends, early, c); err == nil {
			t.ends = []io.Closer{closeFunc(func() error { f.End(); return nil })}
			return nil
		}
	}
	_ = ends.Client.Close()
	_ = ends.Upstream.Close()
	return err
}

// conclude gives the reason of a tunnel that has come to its end by itself.
func (t *tunnel) conclude(reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended {
		t.ended, t.reason = true, reason
	}
}

// snapshot is the request that the tunnel stands for.
func (t *tunnel) snapshot() policy.Request {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.request
}

// addClaimed adds names to the request, and returns it.
func (t *tunnel) addClaimed(names []policy.Host) policy.Request {
	t.mu.Lock()
	defer t.mu.Unlock()
	claimed := t.request.Claimed
	t.request.Claimed = append(claimed[:len(claimed):len(claimed)], names...)
	return t.request
}

// attach hands the tunnel something to close when it ends; at once, where it
// has ended already.
func (t *tunnel) attach(c io.Closer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		_ = c.Close()
		return
	}
	t.ends = append(t.ends, c)
}

// end closes the tunnel, and reports whether it was this call that did. The
// first reason holds.
func (t *tunnel) end(reason, rule string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return false
	}
	t.ended, t.reason, t.rule = true, reason, rule
	for _, c := range t.ends {
		_ = c.Close()
	}
	return true
}

// condemn takes the decision to end the tunnel, as end does, and leaves the
// closing to the caller.
func (t *tunnel) condemn(reason, rule string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return false
	}
	t.ended, t.reason, t.rule = true, reason, rule
	return true
}

// reached notes that one side has nothing more to send. The other may go on.
func (t *tunnel) reached(side string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.firstEnd == "" {
		t.firstEnd = side
	}
}

// establish says that the client has been told that the tunnel is open. From
// now on it counts, and a closing entry will follow.
func (t *tunnel) establish() {
	t.server.metrics.tunnels.Inc()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.established, t.opened = true, time.Now()
}

// decide keeps the decision that was recorded, for the closing entry.
func (t *tunnel) decide(d *policy.Decision) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.decision = d
}

func (t *tunnel) touch() {
	if t.watch != nil {
		t.watch.touch()
	}
}

// movedUp counts bytes from the client to the origin.
func (t *tunnel) movedUp(n int64) {
	t.touch()
	t.up.Add(n)
	t.server.metrics.up.Add(float64(n))
}

// movedDown counts bytes from the origin to the client.
func (t *tunnel) movedDown(n int64) {
	t.touch()
	t.down.Add(n)
	t.server.metrics.down.Add(float64(n))
}

// finish closes what is left of the tunnel, takes it off the register and
// writes its closing entry, once. Nothing may use the tunnel afterwards.
func (t *tunnel) finish() { t.over.Do(t.wind) }

// wind is the work of finish.
func (t *tunnel) wind() {
	if t.watch != nil {
		t.watch.stop()
	}
	t.end("", "")
	defer t.server.tunnels.remove(t)
	t.mu.Lock()
	established, opened, decision := t.established, t.opened, t.decision
	reason, rule := t.reason, t.rule
	if reason == "" {
		reason = t.firstEnd
	}
	t.mu.Unlock()
	if !established {
		return
	}
	if reason == "" {
		reason = closedByClient
	}
	t.server.metrics.tunnels.Dec()
	t.server.metrics.closed.WithLabelValues(reason).Inc()
	if decision == nil {
		return // a panic kept it from being recorded: there is no entry to close
	}
	t.server.dependencies.RecordEnd(&policy.TunnelEnd{
		Decision:  decision,
		Time:      t.server.dependencies.Now(),
		BytesUp:   t.up.Load(),
		BytesDown: t.down.Load(),
		Seconds:   time.Since(opened).Seconds(),
		ClosedBy:  reason,
		Rule:      rule,
	})
}
