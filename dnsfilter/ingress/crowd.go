package ingress

import (
	"container/heap"
	"net/netip"
	"sync"
	"time"
)

// crowd counts the connections of every transport and keeps them within their
// bounds. When there is no room for one more, the one that has had nothing to
// say for longest goes: those who open connections and keep silent shut out
// nobody but each other.
//
// Clients that may not ask have bounds of their own, and so have those that may
// yet prove who they are: a device on its way must get through its handshake
// however many others do nothing but begin one.
type crowd struct {
	limits crowdLimits
	known  func(netip.Addr) bool // may the client ask at all?
	shed   func(reason string, n int)
	start  time.Time

	mu      sync.Mutex
	quiet   [standings]memberHeap // all members, by when they were last seen busy
	inside  int                   // members
	clients map[netip.Addr]int
	open    [TransportCount]int
	stopped bool
}

// crowdLimits are numbers of connections.
type crowdLimits struct {
	conns int // open at a time
	each  int // of those, by one client
}

// of is how many connections there may be of one standing. Strangers hold a
// few, so that they can be told, and never those of everybody else.
func (l crowdLimits) of(s standing) int {
	if s == stranger || s == unproven {
		return max(l.conns/16, 1)
	}
	return l.conns
}

func newCrowd(limits crowdLimits, known func(netip.Addr) bool, shed func(string, int)) *crowd {
	return &crowd{
		limits: limits, known: known, shed: shed, start: time.Now(),
		clients: make(map[netip.Addr]int),
	}
}

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
	if c.inside >= c.limits.conns {
		c.shed(ShedConnections, 1)
		if leaving = c.makeRoom(newcomer, known, unproven, stranger); leaving == nil {
			return false, nil
		}
	}
	c.put(m, newcomer)
	c.inside++
	c.open[m.transport]++
	return true, leaving
}

// put puts a member that is in no heap into that of its standing.
func (c *crowd) put(m *member, s standing) {
	m.key = c.now()
	m.seen.Store(m.key)
	m.standing.Store(uint32(s))
	heap.Push(&c.quiet[s], m)
}

// claim counts an admitted connection for its client. One whose address may not
// ask gets the standing otherwise: stranger, unproven where settle will follow,
// or known where it has proven who it is. It reports false where the client has
// as many connections as it may.
func (c *crowd) claim(m *member, client netip.Addr, otherwise standing) bool {
	if c.known(client) {
		otherwise = known
	}
	claimed, leaving := c.take(m, clientKey(client), otherwise)
	if leaving != nil {
		leaving.cut()
	}
	return claimed
}

func (c *crowd) take(m *member, client netip.Addr, s standing) (counted bool, leaving *member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.index < 0 {
		return false, nil // sent away meanwhile
	}
	if c.clients[client] >= c.limits.each {
		c.shed(ShedClientConnections, 1)
		return false, nil
	}
	if leaving, counted = c.move(m, s); counted {
		m.client = client
		c.clients[client]++
	}
	return counted, leaving
}

// settle says whether a client has proven who it is, now that there is no more
// to come from it. It may be called again, for what is proven later. It reports
// false where there is no room for a connection of this standing, or no
// connection any more: then it must be closed.
func (c *crowd) settle(m *member, proven bool) bool {
	if m.is(known) || m.is(stranger) && !proven {
		return true
	}
	s := stranger
	if proven {
		s = known
	}
	settled, leaving := c.promote(m, s)
	if leaving != nil {
		leaving.cut()
	}
	return settled
}

func (c *crowd) promote(m *member, s standing) (settled bool, leaving *member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.index < 0 {
		return false, nil // sent away meanwhile
	}
	if m.is(known) || m.is(s) {
		return true, nil // by another request
	}
	leaving, settled = c.move(m, s)
	return settled, leaving
}

// move gives a member that is inside another standing, and makes room for it
// there. It reports false where all that are there are busy.
func (c *crowd) move(m *member, s standing) (leaving *member, moved bool) {
	if s != known && len(c.quiet[s]) >= c.limits.of(s) {
		c.shed(ShedConnections, 1)
		if leaving = c.makeRoom(s); leaving == nil {
			return nil, false
		}
	}
	heap.Remove(&c.quiet[m.standing.Load()], m.index)
	c.put(m, s)
	return leaving, true
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
	heap.Remove(&c.quiet[m.standing.Load()], m.index)
	c.inside--
	c.open[m.transport]--
	if m.is(newcomer) {
		return // counted for nobody
	}
	if c.clients[m.client]--; c.clients[m.client] <= 0 {
		delete(c.clients, m.client)
	}
}

// relieve closes the connection that has been idle longest: the process is out
// of descriptors.
func (c *crowd) relieve() {
	c.mu.Lock()
	leaving := c.makeRoom(newcomer, known, unproven, stranger)
	c.mu.Unlock()
	c.shed(ShedConnections, 1)
	if leaving != nil {
		leaving.cut()
	}
}

// makeRoom counts out the connection that has been idle longest, of those of
// these standings with nothing under way, for the caller to cut.
func (c *crowd) makeRoom(among ...standing) (leaving *member) {
	now := c.now()
	for {
		var m *member
		for _, s := range among {
			if q := c.quiet[s].quietest(now); q != nil && (m == nil || q.key < m.key) {
				m = q
			}
		}
		if m == nil {
			return nil
		}
		if m.underWay.CompareAndSwap(0, gone) { // else it has just begun a query
			c.remove(m)
			return m
		}
	}
}

// stop admits nobody else and ends the reading of those who are inside.
func (c *crowd) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	for _, members := range c.quiet {
		for _, m := range members {
			m.interrupt()
		}
	}
}

// close closes every connection.
func (c *crowd) close() {
	c.stop()
	c.mu.Lock()
	var all []*member
	for _, members := range c.quiet {
		all = append(all, members...)
	}
	c.mu.Unlock()
	for _, m := range all {
		m.cut()
	}
}

// count is the number of connections of a transport that are open.
func (c *crowd) count(t Transport) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open[t]
}
