//go:build !linux

package ingress

import (
	"context"
	"net"
)

// bind opens the listener's socket: one, whatever was asked, since systems
// differ in what sockets that share an address get.
func (l *UDPListener) bind(ctx context.Context, address string) error {
	_, err := l.open(ctx, &net.ListenConfig{}, address, func(conn *net.UDPConn) error {
		_ = conn.SetReadBuffer(l.config.ReceiveBuffer) // as much as there is
		_ = conn.SetWriteBuffer(l.config.ReceiveBuffer)
		l.sockets = append(l.sockets, newPlainSocket(l, conn, silentDrops{}))
		return nil
	})
	return err
}

// silentDrops is a kernel that does not tell what it drops.
type silentDrops struct{}

func (silentDrops) count() uint64 { return 0 }
