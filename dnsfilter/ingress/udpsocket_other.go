//go:build !linux

package ingress

import (
	"context"
	"net"
)

// bind opens the listener's socket: one, whatever was asked, since systems
// differ in what sockets that share an address get.
func (l *UDPListener) bind(ctx context.Context, address string) error {
	conn, err := listenPacket(ctx, &net.ListenConfig{}, address)
	if err != nil {
		return err
	}
	_ = conn.SetReadBuffer(l.config.ReceiveBuffer) // as much as there is
	_ = conn.SetWriteBuffer(l.config.ReceiveBuffer)
	l.local = conn.LocalAddr().(*net.UDPAddr).AddrPort()
	l.sockets = []udpSocket{newPlainSocket(l, conn, silentDrops{})}
	return nil
}

// silentDrops is a kernel that does not tell what it drops.
type silentDrops struct{}

func (silentDrops) count() uint64 { return 0 }
