package ingress

import (
	"container/heap"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// crowd counts the connections of every transport and keeps them within their
// bounds. When there is no room for one more, the one that has had nothing to
// say for longest goes: those who open connections and keep silent shut out
// nobody but each other.
type crowd struct {
	limits crowdLimits
	known  func(netip.Addr) bool // may the client ask at all?
	shed   func(reason string, n int)
	start  time.Time

	mu        sync.Mutex
	quiet     memberHeap // all members, by when they were last seen busy
	clients   map[netip.Addr]int
	strangers int
	open      [TransportCount]int
	stopped   bool
}

// crowdLimits are numbers of connections.
type crowdLimits struct {
	conns int // open at a time
	each  int // of those, by one client
}

// strangers is how many connections clients that may not ask hold together: a
// few, so that they can be told, and never those of everybody else.
func (l crowdLimits) strangers() int { return max(l.conns/16, 1) }

func newCrowd(limits crowdLimits, known func(netip.Addr) bool, shed func(string, int)) *crowd {
	return &crowd{
		limits: limits, known: known, shed: shed, start: time.Now(),
		clients: make(map[netip.Addr]int),
	}
}

// gone is the number of queries under way of a member that has been sent away.
const gone = -1

// member is one connection of a crowd.
type member struct {
	transport Transport
	interrupt func() // ends its reading: the crowd has stopped
	cut       func() // closes it; may be called again, and from anywhere

	underWay atomic.Int32 // queries, or gone
	seen     atomic.Int64 // since the crowd's start, when the last query was done with

	// The rest is the crowd's, under its lock.
	key      int64 // what seen was when the heap last looked
	index    int   // in the heap; -1 once out of it
	client   netip.Addr
	claimed  bool
	stranger bool
}

// begin marks a query as under way. It reports false when the connection has
// been sent away meanwhile: nothing of it is to be answered.
func (m *member) begin() bool {
	for {
		n := m.underWay.Load()
		if n == gone {
			return false
		}
		if m.underWay.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// end marks a query as done with at now, by the crowd's clock.
func (m *member) end(now int64) {
	m.seen.Store(now)
	m.underWay.Add(-1)
}

// busy reports whether anything is under way.
func (m *member) busy() bool { return m.underWay.Load() > 0 }

// now is the crowd's clock.
func (c *crowd) now() int64 { return int64(time.Since(c.start)) }

// admit counts a connection in, and makes room where there is none. Whose it
// is must be told by claim before its first query; leave must follow.
func (c *crowd) admit(m *member) bool {
	admitted, leaving := c.enter(m)
	if leaving != nil {
		leaving.cut()
	}
	return admitted
}

func (c *crowd) enter(m *member) (admitted bool, leaving *member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m.index = -1
	if c.stopped {
		return false, nil
	}
	if len(c.quiet) >= c.limits.conns {
		c.shed(ShedConnections, 1)
		if leaving = c.makeRoom(); leaving == nil {
			return false, nil
		}
	}
	now := c.now()
	m.seen.Store(now)
	m.key = now
	heap.Push(&c.quiet, m)
	c.open[m.transport]++
	return true, leaving
}

// claim counts an admitted connection for its client. It reports false where
// the client has as many as it may.
func (c *crowd) claim(m *member, client netip.Addr) bool {
	stranger := !c.known(client)
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.index < 0 {
		return false // sent away meanwhile
	}
	key := clientKey(client)
	switch {
	case stranger && c.strangers >= c.limits.strangers():
		c.shed(ShedConnections, 1)
		return false
	case c.clients[key] >= c.limits.each:
		c.shed(ShedClientConnections, 1)
		return false
	}
	m.client, m.claimed, m.stranger = key, true, stranger
	c.clients[key]++
	if stranger {
		c.strangers++
	}
	return true
}

// clientKey is whom a connection is counted for: the address, and of IPv6 the
// network of 64 bits, in which a machine has as many addresses as it likes.
func clientKey(addr netip.Addr) netip.Addr {
	if addr.Is4() {
		return addr
	}
	network, err := addr.Prefix(64)
	if err != nil {
		return addr
	}
	return network.Addr()
}

// leave counts a connection out. It may be called again.
func (c *crowd) leave(m *member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(m)
}

func (c *crowd) remove(m *member) {
	if m.index < 0 {
		return
	}
	heap.Remove(&c.quiet, m.index)
	c.open[m.transport]--
	if !m.claimed {
		return
	}
	if c.clients[m.client]--; c.clients[m.client] <= 0 {
		delete(c.clients, m.client)
	}
	if m.stranger {
		c.strangers--
	}
}

// relieve closes the connection that has been idle longest: the process is out
// of descriptors.
func (c *crowd) relieve() {
	c.mu.Lock()
	leaving := c.makeRoom()
	c.mu.Unlock()
	c.shed(ShedConnections, 1)
	if leaving != nil {
		leaving.cut()
	}
}

// makeRoom counts out the connection that has been idle longest, of those with
// nothing under way, for the caller to cut. The heap knows when each was last seen as of some time
// ago, which can only be too early: so the first is looked at afresh, and put
// back where it belongs, until the first is what it seems.
func (c *crowd) makeRoom() (leaving *member) {
	now := c.now()
	for len(c.quiet) > 0 {
		m := c.quiet[0]
		if m.key >= now {
			return nil // every one of them is busy
		}
		switch seen := m.seen.Load(); {
		case m.busy():
			c.quiet.rekey(m, now)
		case seen > m.key:
			c.quiet.rekey(m, seen)
		case m.underWay.CompareAndSwap(0, gone):
			c.remove(m)
			return m
		}
	}
	return nil
}

// stop admits nobody else and ends the reading of those who are inside.
func (c *crowd) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	for _, m := range c.quiet {
		m.interrupt()
	}
}

// close closes every connection.
func (c *crowd) close() {
	c.stop()
	c.mu.Lock()
	members := slices.Clone(c.quiet)
	c.mu.Unlock()
	for _, m := range members {
		m.cut()
	}
}

// count is the number of connections of a transport that are open.
func (c *crowd) count(t Transport) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open[t]
}

// memberHeap has the member with the smallest key first (container/heap).
type memberHeap []*member

func (h memberHeap) Len() int           { return len(h) }
func (h memberHeap) Less(i, j int) bool { return h[i].key < h[j].key }

func (h memberHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *memberHeap) Push(x any) {
	m := x.(*member)
	m.index = len(*h)
	*h = append(*h, m)
}

func (h *memberHeap) Pop() any {
	last := len(*h) - 1
	m := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	m.index = -1
	return m
}

func (h *memberHeap) rekey(m *member, key int64) {
	m.key = key
	heap.Fix(h, m.index)
}
