package upstream

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/quic-go/quic-go"
)

// lineQUIC is the socket of one QUIC connection and what reads it. It is ours,
// and not the connection's own, so that the end of a Pool can wait for its end.
type lineQUIC struct {
	socket    *net.UDPConn
	transport *quic.Transport
}

// openLine opens a socket from which target can be reached. Whoever calls it
// closes the line.
func openLine(target netip.AddrPort) (*lineQUIC, error) {
	network := "udp6"
	if target.Addr().Is4() {
		network = "udp4"
	}
	socket, err := net.ListenUDP(network, nil)
	if err != nil {
		return nil, fmt.Errorf("open a socket for QUIC: %w", err)
	}
	return &lineQUIC{socket: socket, transport: &quic.Transport{Conn: socket}}, nil
}

// close returns when nobody reads the socket any more. A connection that is
// there must have ended, or its server is told nothing.
func (l *lineQUIC) close() {
	_ = l.transport.Close()
	_ = l.socket.Close()
}
