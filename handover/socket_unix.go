//go:build unix

package handover

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// kind is what the kernel says of a socket.
type kind struct {
	stream, datagram bool
	listening        bool
	only6            bool
}

func closeOnExec(fd int) { unix.CloseOnExec(fd) }

// socketKind asks what a descriptor is.
func socketKind(fd int) (kind, error) {
	var k kind
	socketType, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	switch {
	case errors.Is(err, unix.ENOTSOCK):
		return k, errors.New("not a socket")
	case errors.Is(err, unix.EBADF):
		return k, errors.New("not an open descriptor")
	case err != nil:
		return k, os.NewSyscallError("getsockopt SO_TYPE", err)
	}
	k.stream, k.datagram = socketType == unix.SOCK_STREAM, socketType == unix.SOCK_DGRAM
	if k.stream {
		listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		if err != nil {
			return k, os.NewSyscallError("getsockopt SO_ACCEPTCONN", err)
		}
		k.listening = listening != 0
	}
	only6, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
	k.only6 = err == nil && only6 != 0 // an error: it is no IPv6 socket
	return k, nil
}

// duplicate makes a file of a socket for another process. The way through
// net.TCPListener's File would let the socket block, for both processes.
func duplicate(raw syscall.RawConn, name string) (*os.File, error) {
	var fd int
	var err error
	if controlErr := raw.Control(func(original uintptr) {
		fd, err = unix.FcntlInt(original, unix.F_DUPFD_CLOEXEC, 0)
	}); controlErr != nil {
		return nil, controlErr
	}
	if err != nil {
		return nil, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// socketPair makes the two ends of a conversation: ours, and one to pass on.
func socketPair() (ours *net.UnixConn, theirs *os.File, err error) {
	syscall.ForkLock.RLock() // nobody else's child may get these
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(pair[0])
		unix.CloseOnExec(pair[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs = os.NewFile(uintptr(pair[1]), "handover")
	file := os.NewFile(uintptr(pair[0]), "handover")
	conn, err := net.FileConn(file)
	_ = file.Close() // conn has a duplicate
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	ours, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, nil, errors.Join(fmt.Errorf("a pair of local sockets is a %T", conn), conn.Close(), theirs.Close())
	}
	return ours, theirs, nil
}
