package ingress

import (
	"context"
	"net"
)

// Sockets are where listeners get their sockets from. Each func does what
// net.ListenConfig does, or gives what it has already for that address and
// listener, such as the sockets of a process that ran before. What is nil opens
// sockets anew. They must be safe for concurrent use.
type Sockets struct {
	TCP func(ctx context.Context, config *net.ListenConfig, name, address string) (net.Listener, error)

	// UDP gives one socket, or as many as there were, which inherited says: all
	// of those are read, since each may hold queries.
	UDP func(ctx context.Context, config *net.ListenConfig, name, network, address string) (sockets []net.PacketConn, inherited bool, err error)

	// QUIC gives a socket that no other process reads, or that waits until none
	// does.
	QUIC func(ctx context.Context, config *net.ListenConfig, name, address string) (net.PacketConn, error)

	// ResetKey is what connections by QUIC are given up with that are not known
	// (RFC 9000 §10.3): with the key of the process that had them, clients learn
	// at once. Zero: they are not told.
	ResetKey [32]byte
}

// listenTCP gives a listener its socket.
func (s Sockets) listenTCP(ctx context.Context, config *net.ListenConfig, t Transport, address string) (net.Listener, error) {
	if s.TCP == nil {
		return config.Listen(ctx, "tcp", address)
	}
	return s.TCP(ctx, config, listenerName(t), address)
}

// listenUDP gives a UDP listener one socket, or all that it had.
func (s Sockets) listenUDP(ctx context.Context, config *net.ListenConfig, network, address string) (sockets []net.PacketConn, inherited bool, err error) {
	if s.UDP != nil {
		return s.UDP(ctx, config, listenerName(UDP), network, address)
	}
	socket, err := config.ListenPacket(ctx, network, address)
	if err != nil {
		return nil, false, err
	}
	return []net.PacketConn{socket}, false, nil
}

// listenQUIC gives a QUIC listener its socket.
func (s Sockets) listenQUIC(ctx context.Context, config *net.ListenConfig, t Transport, address string) (net.PacketConn, error) {
	if s.QUIC == nil {
		return config.ListenPacket(ctx, "udp", address)
	}
	return s.QUIC(ctx, config, listenerName(t), address)
}

// listenerName is what the listener of a transport is called, as in an Address.
func listenerName(t Transport) string { return "dns " + t.String() }
