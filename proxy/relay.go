//go:build unix

package proxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// blockBytes is how much a relay reads at a time, and from how much waiting
// data on it leaves the copying to the kernel.
const blockBytes = 32 << 10

type block [blockBytes]byte

// relay carries bytes between TCP connections. While a connection is quiet the
// relay holds neither a buffer nor a pipe for it: a buffer is taken when there
// is something to read, and given back when it has been written. Where a lot
// is waiting, exactly that much is moved by splice(2), which therefore never
// waits with a pipe in its hands.
type relay struct {
	blocks sync.Pool // of *block
}

func newRelay() *relay {
	return &relay{blocks: sync.Pool{New: func() any { return new(block) }}}
}

// outcome says how one direction of a relay ended.
type outcome uint8

const (
	outcomeEOF         outcome = iota // the source has nothing more to send
	outcomeReadFailed                 // the source is gone
	outcomeWriteFailed                // the destination is gone
)

// carry moves bytes from src to dst until src ends or something fails, and
// calls moved after every piece.
func (y *relay) carry(dst, src *net.TCPConn, moved func(int64)) outcome {
	raw, err := src.SyscallConn()
	if err != nil {
		return outcomeReadFailed
	}
	reader := newBurstReader(&y.blocks, raw)
	for {
		piece, n, err := reader.read()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return outcomeEOF
			}
			return outcomeReadFailed
		}
		_, err = dst.Write(piece[:n])
		y.blocks.Put(piece)
		if err != nil {
			return outcomeWriteFailed
		}
		moved(int64(n))
		if n < blockBytes {
			continue
		}
		if err := splice(dst, src, moved); err != nil {
			return outcomeWriteFailed
		}
	}
}

// splice moves what is waiting, as long as it is a lot.
func splice(dst, src *net.TCPConn, moved func(int64)) error {
	for {
		n := waiting(src)
		if n < blockBytes {
			return nil
		}
		done, err := dst.ReadFrom(&io.LimitedReader{R: src, N: int64(n)})
		moved(done)
		if err != nil || done == 0 {
			return err
		}
	}
}

// burstReader waits for bytes without a buffer and reads them into one.
type burstReader struct {
	blocks *sync.Pool
	raw    syscall.RawConn
	step   func(fd uintptr) bool // try, bound once

	piece *block
	n     int
	err   error
}

func newBurstReader(blocks *sync.Pool, raw syscall.RawConn) *burstReader {
	r := &burstReader{blocks: blocks, raw: raw}
	r.step = r.try
	return r
}

// read returns a block of the pool and how much of it is filled. The caller
// gives the block back. The error is io.EOF at the end of the stream.
func (r *burstReader) read() (*block, int, error) {
	r.piece, r.n, r.err = nil, 0, nil
	if err := r.raw.Read(r.step); err != nil {
		return nil, 0, err
	}
	return r.piece, r.n, r.err
}

// try reads once; false means that there is nothing yet, and that the runtime
// is to wait until there is.
func (r *burstReader) try(fd uintptr) bool {
	piece := r.blocks.Get().(*block)
	n, err := unix.Read(int(fd), piece[:])
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Read(int(fd), piece[:])
	}
	switch {
	case errors.Is(err, unix.EAGAIN):
		r.blocks.Put(piece)
		return false
	case err != nil:
		r.blocks.Put(piece)
		r.err = err
	case n == 0:
		r.blocks.Put(piece)
		r.err = io.EOF
	default:
		r.piece, r.n = piece, n
	}
	return true
}
