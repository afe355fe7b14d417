package ingress

import (
	"net"
	"net/netip"

	"github.com/sallyport/sallyport/proxyheader"
)

// clientOf is who is at the other end of a connection: its address, or behind
// a listed proxy whom the PROXY header names, which must come first and is
// read to its last byte and no further. The connection's deadline bounds it.
func (s *shared) clientOf(conn *net.TCPConn) (netip.AddrPort, error) {
	peer := peerAddress(conn.RemoteAddr())
	if !s.behindProxy(peer.Addr()) {
		return peer, nil
	}
	client, err := proxyheader.Read(conn)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if !client.IsValid() {
		return peer, nil // the proxy asks in its own name
	}
	return client, nil
}

// peerAddress is a socket's address as policies and limits know it.
func peerAddress(addr net.Addr) netip.AddrPort {
	var bare netip.AddrPort
	switch addr := addr.(type) {
	case *net.TCPAddr:
		bare = addr.AddrPort()
	case *net.UDPAddr:
		bare = addr.AddrPort()
	}
	return netip.AddrPortFrom(bare.Addr().Unmap().WithZone(""), bare.Port())
}
