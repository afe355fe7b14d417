package handover

import (
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
)

// alone is a UDP socket that one process at a time reads. It has the methods
// that quic-go looks for, so that it is as fast as a *net.UDPConn.
type alone struct {
	conn    *net.UDPConn
	batches *ipv4.PacketConn
	turn    <-chan struct{} // closed when it is ours to read; nil: it is
	closed  func()          // called once

	hurried  chan struct{} // closed when reading must not wait any longer
	hurrying sync.Once
	closing  sync.Once
}

func newAlone(conn *net.UDPConn, turn <-chan struct{}, closed func()) *alone {
	return &alone{conn: conn, batches: ipv4.NewPacketConn(conn), turn: turn, closed: closed, hurried: make(chan struct{})}
}

// wait returns when it is our turn to read, or when reading is to end.
func (a *alone) wait() {
	if a.turn == nil {
		return
	}
	select {
	case <-a.turn:
	case <-a.hurried:
	}
}

func (a *alone) hurry() { a.hurrying.Do(func() { close(a.hurried) }) }

// ReadBatch reads as ipv4.PacketConn does.
func (a *alone) ReadBatch(messages []ipv4.Message, flags int) (int, error) {
	a.wait()
	return a.batches.ReadBatch(messages, flags)
}

// ReadFrom reads as net.UDPConn does, and so do and are all that follow.
func (a *alone) ReadFrom(p []byte) (int, net.Addr, error) {
	a.wait()
	return a.conn.ReadFrom(p)
}

// ReadMsgUDP is net.UDPConn's.
func (a *alone) ReadMsgUDP(b, oob []byte) (n, oobn, flags int, from *net.UDPAddr, err error) {
	a.wait()
	return a.conn.ReadMsgUDP(b, oob)
}

// WriteTo is net.UDPConn's.
func (a *alone) WriteTo(p []byte, to net.Addr) (int, error) { return a.conn.WriteTo(p, to) }

// WriteMsgUDP is net.UDPConn's.
func (a *alone) WriteMsgUDP(b, oob []byte, to *net.UDPAddr) (n, oobn int, err error) {
	return a.conn.WriteMsgUDP(b, oob, to)
}

// LocalAddr is net.UDPConn's.
func (a *alone) LocalAddr() net.Addr { return a.conn.LocalAddr() }

// SyscallConn is net.UDPConn's.
func (a *alone) SyscallConn() (syscall.RawConn, error) { return a.conn.SyscallConn() }

// SetReadBuffer is net.UDPConn's.
func (a *alone) SetReadBuffer(bytes int) error { return a.conn.SetReadBuffer(bytes) }

// SetWriteBuffer is net.UDPConn's.
func (a *alone) SetWriteBuffer(bytes int) error { return a.conn.SetWriteBuffer(bytes) }

// SetDeadline is net.UDPConn's.
func (a *alone) SetDeadline(t time.Time) error {
	a.deadline(t)
	return a.conn.SetDeadline(t)
}

// SetReadDeadline is net.UDPConn's. One that has passed ends the wait for our
// turn, as it would end a read.
func (a *alone) SetReadDeadline(t time.Time) error {
	a.deadline(t)
	return a.conn.SetReadDeadline(t)
}

func (a *alone) deadline(t time.Time) {
	if !t.IsZero() && !t.After(time.Now()) {
		a.hurry()
	}
}

// SetWriteDeadline is net.UDPConn's.
func (a *alone) SetWriteDeadline(t time.Time) error { return a.conn.SetWriteDeadline(t) }

// Close is net.UDPConn's, and lets the next process read.
func (a *alone) Close() error {
	err := a.conn.Close()
	a.hurry()
	a.closing.Do(a.closed)
	return err
}
