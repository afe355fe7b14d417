package proxy

import (
	"net"
	"net/http"
	"time"

	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/proxy/relay"
)

// carrier is a tunnel as the relay sees it: it judges how the client begins,
// counts what moves, and ends the tunnel when the flow has ended.
type carrier struct {
	tunnel   *tunnel
	exchange *exchange // nil once nothing more is to be judged
	client   net.Conn
	account  *account // nil: nobody asks

	hello   helloReader
	retry   *retryReader // once the first hello has been judged; nil: nothing of the kind can come
	begun   time.Time    // when the client's first byte came
	refused bool
	refusal *policy.Decision
}

// Greet judges the server name if the client's first bytes are a ClientHello,
// or the host if they are a plain request. Until they are there, and have been
// judged, nothing goes up.
//
// It is called by goroutines of the relay, which carry all other tunnels: a
// panic would end the process. What could not be judged is refused.
func (c *carrier) Greet(piece []byte, occasion relay.Occasion) (greeting relay.Greeting) {
	defer func() {
		if mistake := recover(); mistake != nil {
			c.tunnel.server.mistaken("panic while judging how a tunnel begins", mistake)
			greeting = relay.Greeting{Then: relay.Refuse}
		}
	}()
	return c.listen(piece, occasion)
}

// listen is Greet.
func (c *carrier) listen(piece []byte, occasion relay.Occasion) relay.Greeting {
	if c.retry != nil {
		return c.listenOn(piece, occasion)
	}
	limit := c.tunnel.server.config.Timeouts.FirstByte
	if len(piece) > 0 && c.begun.IsZero() {
		c.begun = time.Now()
	}
	started := !c.begun.IsZero()
	state := c.hello.feed(piece)
	switch {
	case state != helloPartial:
	case occasion == relay.Late && !started:
		// The server speaks first, or nobody is in a hurry. The hello is
		// judged whenever it comes: waiting is no way past it.
		c.record()
		return relay.Greeting{}
	case occasion == relay.Late:
		state = c.hello.late()
	case occasion == relay.AtEnd && !started:
		state = helloForeign // nothing at all will come
	case occasion == relay.AtEnd && c.hello.clear != nil:
		state = helloComplete // what there is has been read
	case occasion == relay.AtEnd:
		return relay.Greeting{} // half a hello, and no more to come: over
	case !started:
		return relay.Greeting{Within: limit}
	default:
		return relay.Greeting{Within: max(limit-time.Since(c.begun), time.Millisecond)}
	}
	return c.greeted(state)
}

// greeted decides by a whole beginning.
func (c *carrier) greeted(state helloState) relay.Greeting {
	arrived := time.Now()
	if refusal, refused := c.judge(state, c.hello.names); refused {
		c.turnAway(refusal, arrived)
		return relay.Greeting{Then: relay.Refuse}
	}
	c.record()
	first := c.hello.raw
	if state != helloComplete || c.hello.clear != nil {
		c.forget()
		return relay.Greeting{Then: relay.Carry, Forward: first}
	}
	c.retry = &retryReader{names: c.hello.names, early: c.hello.early}
	behind, end := first[c.hello.next:], len(first)
	c.hello = helloReader{}
	if len(behind) == 0 {
		return relay.Greeting{Then: relay.Pass, Forward: first}
	}
	next := c.listenOn(behind, relay.Arrived)
	next.Forward = append(first[:end-len(behind):end-len(behind)], next.Forward...)
	return next
}

// listenOn judges what follows a ClientHello, while it may be a second one.
func (c *carrier) listenOn(piece []byte, occasion relay.Occasion) relay.Greeting {
	if occasion == relay.AtEnd {
		rest := c.retry.held // half of something, and no more to come
		c.forget()
		return relay.Greeting{Then: relay.Carry, Forward: rest}
	}
	arrived := time.Now()
	forward, state := c.retry.feed(piece)
	switch state {
	case retryOpen:
		return relay.Greeting{Then: relay.Pass, Forward: forward}
	case retryRefused:
		c.turnAway(unreadableHello(c.exchange.verdict, c.exchange.request.Host), arrived)
		return relay.Greeting{Then: relay.Refuse}
	default:
		c.forget()
		return relay.Greeting{Then: relay.Carry, Forward: forward}
	}
}

// forget drops what is not needed once all goes on: a tunnel lives long.
func (c *carrier) forget() { c.exchange, c.hello, c.retry = nil, helloReader{}, nil }

// judge asks the policy about the names in a hello.
func (c *carrier) judge(state helloState, names []string) (policy.Verdict, bool) {
	allowed := c.exchange.verdict
	if state == helloBroken {
		return unreadableHello(allowed, c.exchange.request.Host), true
	}
	var named, claimed []policy.Host
	for _, name := range names {
		host, err := policy.ParseHost(name)
		if err != nil {
			return unreadableHello(allowed, c.exchange.request.Host), true
		}
		named = append(named, host)
		if host != c.exchange.request.Host {
			claimed = append(claimed, host)
		}
	}
	before := c.exchange.request.Claimed
	if len(claimed) > 0 {
		c.exchange.request.Claimed = claimed
		verdict := c.tunnel.server.claim(c.tunnel, claimed)
		c.exchange.verdict = verdict
		if verdict.Action.Refuses() {
			return verdict, true
		}
	}
	return c.contradicted(named, before)
}

// turnAway refuses an open tunnel because of what is in its hello, which was
// there at arrived.
func (c *carrier) turnAway(refusal policy.Verdict, arrived time.Time) {
	c.exchange.verdict = refusal
	if c.exchange.recorded {
		// The tunnel was recorded as allowed when its first bytes did not come
		// in time. The refusal must be found in the log and in the counters,
		// too. The closing entry keeps to the tunnel's own decision.
		c.refusal = c.exchange.recordAgain(time.Since(arrived))
	} else {
		c.refusal = c.exchange.record()
		c.tunnel.decide(c.refusal)
	}
	c.refused = c.tunnel.condemn(closedByPolicy, refusal.RuleName())
}

// Moved counts bytes.
func (c *carrier) Moved(up bool, n int64) {
	if up {
		c.tunnel.movedUp(n)
		return
	}
	c.tunnel.movedDown(n)
}

// Ended closes what is left, and writes the closing entry.
func (c *carrier) Ended(how relay.Outcome) {
	defer c.rescue()
	switch how.Cause {
	case relay.CauseIdle:
		c.tunnel.conclude(closedByIdle)
	case relay.CauseClosed, relay.CauseBroken:
		c.tunnel.conclude(sides[how.Side])
	}
	c.record()
	c.tunnel.finish()
	c.account.tunnelled(c.tunnel, c.refused)
	if how.Cause == relay.CauseRefused {
		c.dismiss()
	}
}

// sides names the ends of a flow in logs and metrics.
var sides = [...]string{relay.Client: closedByClient, relay.Upstream: closedByUpstream}

// alertAccessDenied is a fatal TLS alert (RFC 8446 §6): the client learns that
// somebody said no, rather than that the network is broken.
var alertAccessDenied = [...]byte{21, 3, 3, 0, 2, 2, 49}

// dismiss tells a client that was refused in an open tunnel, if it can still
// be told. It counts as a connection meanwhile.
func (c *carrier) dismiss() {
	crowd := c.tunnel.server.crowd
	crowd.stay(c.exchange.client)
	defer crowd.leave(c.exchange.client)
	if !c.refused {
		_ = c.client.Close() // something else had ended the tunnel before
		return
	}
	untold := c.tunnel.down.Load() == 0
	if untold && c.retry == nil && c.page() {
		return
	}
	if untold {
		_ = c.client.SetWriteDeadline(time.Now().Add(lingerTime))
		_, _ = c.client.Write(alertAccessDenied[:]) // a courtesy: nothing hangs on it
	}
	c.tunnel.server.linger(c.client)
}

// page shows a client that was refused for its server name why, over TLS in
// that name, and reports whether it did. A name that is not what was refused is
// not ours to answer for.
func (c *carrier) page() bool {
	refused := c.refusal.Verdict.Fact
	if c.hello.clear != nil || !namesOnly(c.hello.names, refused) {
		return false
	}
	return c.tunnel.server.showPage(c.exchange, c.client, c.hello.raw, refused, answer{status: http.StatusForbidden, decision: c.refusal})
}

// record hands over the tunnel's decision as it stands now. The closing entry
// refers to it.
func (c *carrier) record() {
	if c.exchange != nil && !c.exchange.recorded {
		c.tunnel.decide(c.exchange.record())
	}
}

// rescue keeps a mistake of ours in one tunnel from ending all others, and the
// tunnel from being waited for by a stop.
func (c *carrier) rescue() {
	if mistake := recover(); mistake != nil {
		_ = c.client.Close()
		c.tunnel.finish()
		c.tunnel.server.mistaken("panic while ending a tunnel", mistake)
	}
}
