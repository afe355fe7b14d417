//go:build !unix

package handover

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// errNoHandover is what there is on systems that pass no sockets on.
var errNoHandover = errors.New("this system cannot pass sockets to another process: restart instead")

// kind is what the kernel says of a socket.
type kind struct {
	stream, datagram bool
	listening        bool
	only6            bool
}

func closeOnExec(int) {}

func socketKind(int) (kind, error) { return kind{}, errNoHandover }

func duplicate(syscall.RawConn, string) (*os.File, error) { return nil, errNoHandover }

func socketPair() (ours *net.UnixConn, theirs *os.File, err error) { return nil, nil, errNoHandover }
