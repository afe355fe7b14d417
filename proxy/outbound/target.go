package outbound

import (
	"net"
	"net/netip"
)

// Target is where a connection is to go.
type Target struct {
	// Host is the canonical name, or the text of an address.
	Host string

	// Port is the TCP port.
	Port uint16

	// Addrs are the addresses of Host, in the resolver's order, all of which
	// the caller has checked. No other address is dialled. They may be missing
	// where Dialer.NeedsAddrs says so.
	Addrs []netip.Addr

	// Via is the Via field (RFC 9110 §7.6.3) that an HTTP parent is sent, so
	// that requests that go round in circles are noticed. Empty: none.
	Via string
}

// Direct is the Via of a connection that goes straight to the destination.
const Direct = "direct"

// Conn is a connection that was made for a Target: what is read from it comes
// from the destination, from its first byte on. Whoever has it closes it. The
// zero Conn is none.
type Conn struct {
	// Conn is a bare *net.TCPConn where nothing is between that changes bytes.
	net.Conn

	// Via is how the destination is reached: Direct, or a parent's name.
	Via string

	// Remote is who is at the other end: the destination, or the parent.
	Remote netip.AddrPort
}

// TCP is the bare TCP connection, between which and another one the kernel can
// move bytes by itself; nil where there is something between.
func (c Conn) TCP() *net.TCPConn {
	tcp, _ := c.Conn.(*net.TCPConn)
	return tcp
}
