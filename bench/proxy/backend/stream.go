//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sallyport/sallyport/bench/proxy/plan"
)

// streams sends the stream to whoever sends a byte, for as long as they read. It
// comes out of memory by sendfile(2), which copies nothing.
type streams struct {
	listener net.Listener
	file     *os.File
}

func listenStreams(at netip.AddrPort) (*streams, error) {
	fd, err := unix.MemfdCreate("stream", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	file := os.NewFile(uintptr(fd), "stream")
	piece := make([]byte, 1<<20)
	for offset := int64(0); offset < plan.StreamSize; offset += int64(len(piece)) {
		plan.Fill(piece, offset)
		if _, err := file.Write(piece); err != nil {
			return nil, fmt.Errorf("fill the stream: %w", err)
		}
	}
	listener, err := net.Listen("tcp4", at.String())
	if err != nil {
		return nil, err
	}
	return &streams{listener: listener, file: file}, nil
}

func (s *streams) serve() error {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return err
		}
		go s.send(conn) // ends with its client
	}
}

func (s *streams) send(conn net.Conn) {
	defer conn.Close()
	// The client says when: what came right behind the answer to a CONNECT would
	// have to be read along with it.
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		return
	}
	// Each has a place of its own in the file.
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", s.file.Fd()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	file := os.NewFile(uintptr(fd), "stream")
	defer file.Close()
	for {
		if _, err := io.Copy(conn, io.LimitReader(file, plan.StreamSize)); err != nil {
			return
		}
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return
		}
	}
}
