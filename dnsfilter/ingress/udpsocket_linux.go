package ingress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bind opens the listener's sockets. The first is bound without SO_REUSEPORT
// and thereby fails where any other process has the address; after that it
// lets the others join it. Sockets that are inherited are as many as whoever
// opened them wanted.
func (l *UDPListener) bind(ctx context.Context, address string) error {
	var first *net.UDPConn
	inherited, err := l.open(ctx, &net.ListenConfig{Control: l.prepare(false)}, address, func(conn *net.UDPConn) error {
		first = conn
		return l.add(conn)
	})
	if err != nil || inherited || l.config.Sockets == 1 {
		return err
	}
	if err := shareAddress(first); err != nil {
		return err
	}
	sharing := &net.ListenConfig{Control: l.prepare(true)}
	for range l.config.Sockets - 1 {
		if _, err := l.open(ctx, sharing, samePort(address, l.local), l.add); err != nil {
			return err
		}
	}
	return nil
}

// add takes a bound socket on; closing the listener closes it.
func (l *UDPListener) add(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	works := false
	err = raw.Control(func(fd uintptr) { works = !l.config.plain && batchesWork(fd) })
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	drops := newKernelDrops(raw)
	if !works {
		l.sockets = append(l.sockets, newPlainSocket(l, conn, drops))
		return nil
	}
	l.sockets = append(l.sockets, newBatchSocket(l, conn, raw, drops))
	return nil
}

// prepare sets what must be set before packets come.
func (l *UDPListener) prepare(share bool) func(string, string, syscall.RawConn) error {
	return func(_, address string, raw syscall.RawConn) error {
		var err error
		controlErr := raw.Control(func(fd uintptr) { err = l.setOptions(int(fd), address, share) })
		return errors.Join(controlErr, err)
	}
}

func (l *UDPListener) setOptions(fd int, address string, share bool) error {
	if !isBound(fd) { // what is was given its room by whoever bound it, with more privilege perhaps
		setBuffers(fd, l.config.ReceiveBuffer)
	}
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return os.NewSyscallError("getsockopt SO_DOMAIN", err)
	}
	leavePathsAlone(fd, family)
	if share {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return os.NewSyscallError("setsockopt SO_REUSEPORT", err)
		}
	}
	if !wildcard(address) {
		return nil
	}
	// On a wildcard address a reply must leave from the address that was
	// asked, or clients drop it; so the kernel has to tell which it was.
	if family == unix.AF_INET6 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		return os.NewSyscallError("setsockopt IPV6_RECVPKTINFO", err)
	}
	err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
	return os.NewSyscallError("setsockopt IP_PKTINFO", err)
}

// isBound reports whether a socket has an address already: it is inherited.
func isBound(fd int) bool {
	address, err := unix.Getsockname(fd)
	if err != nil {
		return false
	}
	switch a := address.(type) {
	case *unix.SockaddrInet4:
		return a.Port != 0
	case *unix.SockaddrInet6:
		return a.Port != 0
	}
	return false
}

// wildcard reports whether an address that is being bound, as package net
// writes it, stands for all of the machine's.
func wildcard(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return err == nil
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsUnspecified()
}

// setBuffers asks for room for what arrives while a reader is busy: beyond the
// system's limit where we are privileged, else as much of it as there is.
func setBuffers(fd, bytes int) {
	for _, o := range [...]struct{ force, ask int }{
		{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF},
	} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, o.force, bytes) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, o.ask, bytes)
		}
	}
}

// leavePathsAlone keeps forged ICMP "fragmentation needed" from making us send
// replies in fragments, into which others can mix their own (RFC 9715):
// what routers say of the path is ignored. Kernels before 3.15 lack it.
func leavePathsAlone(fd, family int) {
	if unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_OMIT) != nil {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
	}
	if family == unix.AF_INET6 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_OMIT)
	}
}

// shareAddress lets sockets of the same user join one that is bound.
func shareAddress(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	controlErr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
	return errors.Join(controlErr, os.NewSyscallError("setsockopt SO_REUSEPORT", err))
}

// kernelDrops counts the packets of one socket that the kernel dropped. Safe
// for concurrent use.
type kernelDrops struct {
	raw syscall.RawConn

	mu    sync.Mutex
	seen  uint32 // the kernel's count, which wraps
	total uint64
}

// newKernelDrops begins to count. What an inherited socket has dropped before
// was counted by who had it.
func newKernelDrops(raw syscall.RawConn) *kernelDrops {
	k := &kernelDrops{raw: raw}
	_ = raw.Control(func(fd uintptr) { k.seen, _ = socketDrops(fd) })
	return k
}

func (k *kernelDrops) count() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	// Of a closed socket the last count stands.
	_ = k.raw.Control(func(fd uintptr) {
		if drops, ok := socketDrops(fd); ok {
			k.total += uint64(drops - k.seen)
			k.seen = drops
		}
	})
	return k.total
}

// socketDrops asks for SO_MEMINFO, which has the drops in its last word. The
// count costs nothing until somebody asks, unlike SO_RXQ_OVFL.
func socketDrops(fd uintptr) (uint32, bool) {
	var info [unix.SK_MEMINFO_VARS]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	return info[unix.SK_MEMINFO_DROPS], errno == 0 && size == uint32(unsafe.Sizeof(info))
}
