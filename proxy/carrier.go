package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// carrier runs an open CONNECT tunnel: one goroutine a direction. Until the
// client has sent its first bytes, and these have been judged, nothing goes up;
// what the origin says meanwhile goes down at once, so that protocols in which
// the server speaks first do not wait.
type carrier struct {
	tunnel   *tunnel
	exchange *exchange
	client   *net.TCPConn
	upstream *net.TCPConn
}

// run carries the client's bytes up, and waits for the other direction.
func (c *carrier) run(early []byte) {
	var other sync.WaitGroup
	other.Go(c.carryDown)
	c.carryUp(early)
	other.Wait()
	c.record()
	c.tunnel.finish()
}

func (c *carrier) carryDown() {
	how := c.tunnel.server.relay.carry(c.client, c.upstream, c.tunnel.movedDown)
	c.settle(how, c.client, closedByUpstream, closedByClient)
}

func (c *carrier) carryUp(early []byte) {
	first, ok := c.greet(early)
	if !ok {
		return
	}
	if len(first) > 0 {
		if _, err := c.upstream.Write(first); err != nil {
			c.settle(outcomeWriteFailed, c.upstream, closedByClient, closedByUpstream)
			return
		}
		c.tunnel.movedUp(int64(len(first)))
	}
	how := c.tunnel.server.relay.carry(c.upstream, c.client, c.tunnel.movedUp)
	c.settle(how, c.upstream, closedByClient, closedByUpstream)
}

// settle passes the end of one direction on. A side that has merely nothing
// more to send leaves the other direction open (half-close); a source that is
// gone ends both.
func (c *carrier) settle(how outcome, dst *net.TCPConn, source, destination string) {
	switch how {
	case outcomeEOF:
		c.tunnel.reached(source)
		_ = dst.CloseWrite() // where it fails, the other direction notices
	case outcomeReadFailed:
		c.tunnel.end(source, "")
	case outcomeWriteFailed:
		// What the destination said before it left is still on its way in the
		// other direction, which then ends by itself.
		c.tunnel.reached(destination)
	}
}

// greet reads the client's first bytes, and judges the server name if they are
// a ClientHello. It returns the bytes, which have not been sent up yet, and
// false where the tunnel is over.
func (c *carrier) greet(early []byte) ([]byte, bool) {
	var hello helloReader
	state := hello.feed(early)
	buffer := make([]byte, 4<<10)
	limit := c.tunnel.server.config.Timeouts.FirstByte
	_ = c.client.SetReadDeadline(time.Now().Add(limit))
	for state == helloPartial {
		started := len(hello.raw) > 0
		n, err := c.client.Read(buffer)
		if n > 0 {
			if !started {
				_ = c.client.SetReadDeadline(time.Now().Add(limit))
			}
			state = hello.feed(buffer[:n])
			continue
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && !started:
			// The server speaks first, or nobody is in a hurry. The hello is
			// judged whenever it comes: waiting is no way past it.
			c.record()
			_ = c.client.SetReadDeadline(time.Time{})
		case errors.Is(err, os.ErrDeadlineExceeded):
			state = hello.late()
		case errors.Is(err, io.EOF) && !started:
			state = helloForeign // nothing at all will come
		case errors.Is(err, io.EOF) && hello.clear != nil:
			state = helloComplete // what there is has been read
		default:
			c.tunnel.end(closedByClient, "")
			return nil, false
		}
	}
	_ = c.client.SetReadDeadline(time.Time{})
	arrived := time.Now()
	if refusal, refused := c.judge(state, hello.names); refused {
		c.turnAway(refusal, arrived)
		return nil, false
	}
	c.record()
	return hello.raw, true
}

// judge asks the policy about the names in a hello.
func (c *carrier) judge(state helloState, names []string) (policy.Verdict, bool) {
	allowed := c.exchange.verdict
	if state == helloBroken {
		return unreadableHello(allowed, c.exchange.request.Host), true
	}
	var claimed []policy.Host
	for _, name := range names {
		host, err := policy.ParseHost(name)
		if err != nil {
			return unreadableHello(allowed, c.exchange.request.Host), true
		}
		if host != c.exchange.request.Host {
			claimed = append(claimed, host)
		}
	}
	if len(claimed) == 0 {
		return policy.Verdict{}, false
	}
	c.exchange.request.Claimed = claimed
	verdict := c.tunnel.server.claim(c.tunnel, claimed)
	c.exchange.verdict = verdict
	return verdict, verdict.Action.Refuses()
}

// alertAccessDenied is a fatal TLS alert (RFC 8446 §6): the client learns that
// somebody said no, rather than that the network is broken.
var alertAccessDenied = [...]byte{21, 3, 3, 0, 2, 2, 49}

// turnAway refuses an open tunnel because of what is in its hello,
// which was there at arrived.
func (c *carrier) turnAway(refusal policy.Verdict, arrived time.Time) {
	c.exchange.verdict = refusal
	if c.exchange.recorded {
		// The tunnel was recorded as allowed when its first bytes did not come
		// in time. The refusal must be found in the log and in the counters,
		// too. The closing entry keeps to the tunnel's own decision.
		c.exchange.recordAgain(time.Since(arrived))
	}
	c.record()
	if !c.tunnel.condemn(closedByPolicy, refusal.RuleName()) {
		return
	}
	_ = c.upstream.Close()
	if c.tunnel.down.Load() == 0 {
		_ = c.client.SetWriteDeadline(time.Now().Add(lingerTime))
		_, _ = c.client.Write(alertAccessDenied[:]) // a courtesy: nothing hangs on it
	}
	c.tunnel.server.linger(c.client)
}

// record hands over the tunnel's decision as it stands now. The closing entry
// refers to it.
func (c *carrier) record() {
	if !c.exchange.recorded {
		c.tunnel.decide(c.exchange.record())
	}
}
