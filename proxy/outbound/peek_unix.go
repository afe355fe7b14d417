//go:build unix

package outbound

import (
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// peekBytes is how much of an answer is looked at at a time.
const peekBytes = 2 << 10

// readHead reads one head from a parent's connection, and not a byte more: what
// follows is the destination's, and must be found in the connection by whoever
// moves its bytes, perhaps without ever seeing them.
func readHead(conn net.Conn) ([]byte, error) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return readHeadBytewise(conn)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	p := &peeker{}
	for len(p.head) < maxAnswerHead {
		if err := raw.Read(p.step); err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
		if p.err != nil {
			return nil, fmt.Errorf("read the answer: %w", p.err)
		}
		if p.done {
			return p.head, nil
		}
	}
	return nil, errHeadTooLong
}

// peeker looks at what has come, and takes as much of it as belongs to the head.
type peeker struct {
	head []byte
	end  headEnd
	done bool
	err  error
}

// step is false where nothing has come yet.
func (p *peeker) step(fd uintptr) bool {
	var buffer [peekBytes]byte
	seen, err := receive(int(fd), buffer[:], unix.MSG_PEEK)
	if errors.Is(err, unix.EAGAIN) {
		return false
	}
	if p.err = err; p.err != nil {
		return true
	}
	n, done := p.end.find(buffer[:seen])
	// They are there: this neither waits nor brings fewer.
	if n, p.err = receive(int(fd), buffer[:n], 0); p.err != nil {
		return true
	}
	p.head, p.done = append(p.head, buffer[:n]...), done
	return true
}

// receive is recv(2); an end of the stream is an error.
func receive(fd int, into []byte, flags int) (int, error) {
	for {
		n, _, err := unix.Recvfrom(fd, into, flags|unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err == nil && n == 0:
			return 0, io.ErrUnexpectedEOF
		default:
			return n, err
		}
	}
}
