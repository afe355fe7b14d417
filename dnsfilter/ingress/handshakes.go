package ingress

import (
	"net/netip"
	"sync"
)

// Bounds of QUIC handshakes under way, of clients that may ask by their address
// and as many of others: nobody from outside keeps those out. Of the others
// each has its share, for a handshake cannot be pushed out by a later one.
const (
	maxHandshakes     = 512
	maxEachHandshakes = 32

	// From proveFrom on, clients must first show that they receive what is sent
	// to their address (RFC 9000 §8.1.2): a flood of forged ones gets nowhere.
	// Those that may not ask by their address always must.
	proveFrom = 32
)

// handshakes counts the handshakes under way at one socket. Safe for concurrent
// use.
type handshakes struct {
	mu      sync.Mutex
	known   int
	others  int
	clients map[netip.Addr]int // of the others
}

// begin counts a handshake in; if it reports true, end must follow.
func (h *handshakes) begin(client netip.Addr, known bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known {
		if h.known >= maxHandshakes {
			return false
		}
		h.known++
		return true
	}
	key := clientKey(client)
	if h.others >= maxHandshakes || h.clients[key] >= maxEachHandshakes {
		return false
	}
	if h.clients == nil {
		h.clients = make(map[netip.Addr]int)
	}
	h.others++
	h.clients[key]++
	return true
}

// end counts a handshake out that begin has counted in.
func (h *handshakes) end(client netip.Addr, known bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known {
		h.known--
		return
	}
	h.others--
	key := clientKey(client)
	if h.clients[key]--; h.clients[key] <= 0 {
		delete(h.clients, key)
	}
}

// many reports whether there are so many that clients must prove their address.
func (h *handshakes) many() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.known >= proveFrom
}
