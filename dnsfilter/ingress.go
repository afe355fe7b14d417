package dnsfilter

import (
	"context"
	"math"
	"net/netip"
)

// packet is one query as it came in. The bytes are the ingress's: a responder
// must not keep them.
type packet struct {
	wire      []byte
	client    netip.AddrPort
	transport transport
}

// responder turns a packet into a reply, written into dst's memory where it
// fits; nil means to say nothing. It is the seam between sockets and the door:
// an ingress knows nothing of DNS beyond framing, and the door nothing of
// sockets. Safe for concurrent use; returns when ctx ends, if not before.
type responder func(ctx context.Context, p packet, dst []byte) []byte

// ingress is one listening socket.
type ingress interface {
	// address is where it listens.
	address() Address
	// serve reads queries until stop or close, and returns when the last
	// reply has gone out and the socket is closed.
	serve(ctx context.Context, respond responder)
	// stop ends reading; queries under way are still answered.
	stop()
	// close ends everything at once.
	close()
}

// Address is a bound listener.
type Address struct {
	Name string // "dns udp" or "dns tcp"
	Addr string // host:port
}

// transport is the protocol that a query came in by.
type transport uint8

const (
	transportUDP transport = iota
	transportTCP
	transportCount
)

// String is the transport's name in decisions and metric labels.
func (t transport) String() string {
	if t == transportTCP {
		return "tcp"
	}
	return "udp"
}

// maxReply is the largest reply that a client can be sent: over UDP what its
// OPT record offers, within what is sure not to be fragmented (RFC 6891 §6.2.3
// to 6.2.5), and 512 bytes without one.
func (t transport) maxReply(client edns) int {
	switch {
	case t == transportTCP:
		return math.MaxUint16
	case !client.present:
		return minUDPPayload
	default:
		return min(max(int(client.payload), minUDPPayload), udpPayload)
	}
}

// slots bounds how many queries are under way at a time, over all listeners.
type slots chan struct{}

func (s slots) tryTake() bool {
	select {
	case s <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s slots) take(ctx context.Context) bool {
	select {
	case s <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s slots) give() { <-s }
