//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sallyport/sallyport/bench/proxy/plan"
)

const (
	settle    = 300 * time.Millisecond // before the figure is taken
	skipBytes = 16 << 20               // thrown away between two looks
	lookBytes = 64 << 10
	gulp      = 4 << 20 // bytes thrown away at a time
)

// bulk counts the bytes of the stream that come through some tunnels, in
// billions a second, while others are open and idle.
func bulk(s settings) (report, error) {
	var r report
	held, err := s.hold(&r)
	defer func() {
		for _, conn := range held {
			reset(conn)
		}
	}()
	if err != nil {
		return r, err
	}
	flows := make([]flow, s.workers)
	for i := range flows {
		if flows[i].conn, err = s.open(plan.Stream); err != nil {
			return r, err
		}
		_ = flows[i].conn.SetDeadline(time.Time{})
		if _, err = flows[i].conn.Write([]byte{1}); err != nil {
			return r, err
		}
	}
	var total atomic.Int64
	var drinking sync.WaitGroup
	for i := range flows {
		f := &flows[i]
		drinking.Go(func() { f.err = f.drink(&total) })
	}
	time.Sleep(settle)
	before, began := total.Load(), time.Now()
	time.Sleep(s.span)
	r.n = total.Load() - before
	r.rate = float64(r.n) / time.Since(began).Seconds() / 1e9
	for i := range flows {
		flows[i].ended.Store(true)
		_ = flows[i].conn.SetReadDeadline(time.Unix(1, 0))
	}
	drinking.Wait()
	for i := range flows {
		if flows[i].err != nil {
			r.note(flows[i].err)
		}
		reset(flows[i].conn)
	}
	return r, nil
}

// flow is one tunnel with the stream in it.
type flow struct {
	conn  *net.TCPConn
	ended atomic.Bool
	err   error
}

// drink reads the stream. Most of it the kernel throws away unseen, so that the
// reader is not what is measured; of each 16 MB a part is looked at.
func (f *flow) drink(total *atomic.Int64) error {
	piece := make([]byte, lookBytes)
	var offset int64
	for {
		n, err := io.ReadFull(f.conn, piece)
		total.Add(int64(n))
		if !plan.Check(piece[:n], offset) {
			return fmt.Errorf("%w: the stream is not itself at %d", errWrong, offset)
		}
		offset += int64(n)
		if err == nil {
			offset, err = f.skip(offset, offset+skipBytes, total)
		}
		switch {
		case err != nil && f.ended.Load():
			return nil
		case err != nil:
			return fmt.Errorf("the stream ended at %d: %w", offset, err)
		}
	}
}

// skip throws away what comes until an offset.
func (f *flow) skip(offset, until int64, total *atomic.Int64) (int64, error) {
	raw, err := f.conn.SyscallConn()
	if err != nil {
		return offset, err
	}
	for offset < until {
		var n uintptr
		var errno unix.Errno
		err := raw.Read(func(fd uintptr) bool {
			most := min(until-offset, gulp)
			n, _, errno = unix.Syscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(nil)), uintptr(most),
				unix.MSG_TRUNC|unix.MSG_DONTWAIT, 0, 0)
			return errno != unix.EAGAIN
		})
		switch {
		case err != nil:
			return offset, err
		case errno != 0:
			return offset, errno
		case n == 0:
			return offset, io.ErrUnexpectedEOF
		}
		offset += int64(n)
		total.Add(int64(n))
	}
	return offset, nil
}

var errIdle = errors.New("an idle tunnel")

// hold opens idle tunnels, each of which has carried a byte. The caller closes
// them.
func (s settings) hold(r *report) ([]*net.TCPConn, error) {
	var held []*net.TCPConn
	for i := range s.idle {
		conn, err := s.open(plan.EchoKeep)
		if err == nil {
			held = append(held, conn)
			err = echo(conn, token(i))
		}
		if err != nil {
			r.note(err)
			return held, fmt.Errorf("%w, number %d: %w", errIdle, i, err)
		}
		_ = conn.SetDeadline(time.Time{})
	}
	return held, nil
}
