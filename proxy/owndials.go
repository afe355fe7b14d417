package proxy

import (
	"net"
	"net/netip"
	"sync"
)

// rememberedDials is how many connections of our own are known by where they
// come from. One that comes back does so at once.
const rememberedDials = 1024

// ownDials knows the latest connections that we have made for redirected
// clients: where the system redirects those as well, they come back to us, and
// would for ever. Nothing in them says so, unlike in a plain request. It is safe
// for concurrent use.
type ownDials struct {
	mu     sync.Mutex
	recent [rememberedDials]netip.AddrPort
	next   int
}

func (o *ownDials) add(conn net.Conn) {
	from := addressOf(conn.LocalAddr())
	o.mu.Lock()
	defer o.mu.Unlock()
	o.recent[o.next] = from
	o.next = (o.next + 1) % rememberedDials
}

// made reports whether a client's connection is one of ours.
func (o *ownDials) made(conn net.Conn) bool {
	from := addressOf(conn.RemoteAddr())
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, known := range o.recent {
		if known == from && from.IsValid() {
			return true
		}
	}
	return false
}

func addressOf(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	at := tcp.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
}
