package pace

import (
	"net/netip"
	"sync"
)

// Group shares out one rate among clients, and each client's part among its
// tunnels. Make it with New; its methods are safe for concurrent use.
type Group struct {
	lanes [2]lane // down, up

	mu      sync.Mutex
	clients map[netip.Addr]*client
}

// client is somebody who shares, in both directions.
type client struct {
	addr   netip.Addr
	shares int      // guarded by the group's lock
	queues [2]queue // guarded by the lanes' locks
}

// New makes a Group in which rate bytes a second move up, and as many down. A
// rate that is not positive is taken for 1.
func New(rate int64) *Group {
	g := &Group{clients: make(map[netip.Addr]*client)}
	for i := range g.lanes {
		g.lanes[i].open(max(rate, 1))
	}
	return g
}

// Join gives a tunnel of a client its share. Leave must follow.
func (g *Group) Join(addr netip.Addr) *Share {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.clients[addr]
	if c == nil {
		c = &client{addr: addr}
		for i := range c.queues {
			c.queues[i].place = nowhere
		}
		g.clients[addr] = c
	}
	c.shares++
	return &Share{group: g, client: c}
}

// Share is what one tunnel gets. Take may be called by one goroutine a
// direction.
type Share struct {
	group  *Group
	client *client
	waits  [2]waiter // down, up
}

// Take waits until some of n bytes, 1 at least, may be moved up, or down, and
// returns how many: they count as moved. Once over is closed it returns at
// once, with 0 or with what had been granted.
func (s *Share) Take(up bool, n int, over <-chan struct{}) int {
	way := 0
	if up {
		way = 1
	}
	return s.group.lanes[way].take(&s.client.queues[way], &s.waits[way], n, over)
}

// Leave ends the share. It is to be called once. A Take that is under way goes
// on.
func (s *Share) Leave() {
	g := s.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.client.shares--; s.client.shares == 0 {
		delete(g.clients, s.client.addr)
	}
}
