package proxy

import (
	"net"
	"net/netip"
	"slices"
	"sync"
)

// rememberedDials is how many connections of our own are known by their two
// ends. One that comes back does so at once.
const rememberedDials = 1024

// ownDials knows the latest connections that we have made for redirected
// clients: where the system redirects those as well, they come back to us, and
// would for ever. Nothing in them says so, unlike in a plain request. It is safe
// for concurrent use.
type ownDials struct {
	mu     sync.Mutex
	recent [rememberedDials]dialEnds
	next   int
}

// dialEnds are where a connection comes from and where it goes to. Another
// client on this machine may come from the same address and port, for the
// system gives a port out again where the destination is another one.
type dialEnds struct{ from, to netip.AddrPort }

func (o *ownDials) add(conn net.Conn) {
	ends := dialEnds{from: addressOf(conn.LocalAddr()), to: addressOf(conn.RemoteAddr())}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.recent[o.next] = ends
	o.next = (o.next + 1) % rememberedDials
}

// made reports whether a client's connection, which was redirected on its way
// to original, is one of ours.
func (o *ownDials) made(conn net.Conn, original netip.AddrPort) bool {
	ends := dialEnds{from: addressOf(conn.RemoteAddr()), to: original}
	if !ends.from.IsValid() {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Contains(o.recent[:], ends)
}

func addressOf(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	at := tcp.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
}
