//go:build linux

package events

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrAgain says that nothing more can be done with a socket before its next
// event.
var ErrAgain = errors.New("not ready")

const backlog = 4096

// Dial begins to connect to an IPv4 address. Writing says when it is done, by
// not being ErrAgain.
func Dial(to netip.AddrPort) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("make a socket: %w", err)
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("connect to %s: %w", to, err)
	}
	return fd, nil
}

// Listen waits for connections to an IPv4 address.
func Listen(at netip.AddrPort) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("make a socket: %w", err)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()})
	}
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("listen on %s: %w", at, err)
	}
	return fd, nil
}

// Accept takes a connection, which sends what it is given at once.
func Accept(listener int) (fd int, err error) {
	fd, _, err = unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		return -1, again(err)
	}
	return fd, unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
}

// Read reads some bytes. The end is io.EOF.
func Read(fd int, into []byte) (int, error) {
	n, errno := transfer(unix.SYS_READ, fd, into)
	if errno != 0 {
		return 0, again(errno)
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Write writes all of a few bytes or none. More than fits into a socket's
// buffer is an error.
func Write(fd int, from []byte) error {
	n, errno := transfer(unix.SYS_WRITE, fd, from)
	if errno != 0 {
		return again(errno)
	}
	if n != len(from) {
		return io.ErrShortWrite
	}
	return nil
}

// transfer is a read or a write that does not tell the scheduler: the sockets do
// not block, and telling costs a tenth of all that an event costs.
func transfer(call uintptr, fd int, data []byte) (int, unix.Errno) {
	if len(data) == 0 {
		return 0, unix.EINVAL
	}
	n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)))
	return int(n), errno
}

func again(err error) error {
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOTCONN) {
		return ErrAgain
	}
	return err
}

// Close closes a socket in peace.
func Close(fd int) { _ = unix.Close(fd) }

// Reset closes a socket so that neither side has to remember its ports.
func Reset(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	_ = unix.Close(fd)
}
