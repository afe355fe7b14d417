//go:build linux

package events

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const batch = 256 // events taken from the kernel at a time

// Loop watches sockets. It belongs to one goroutine.
type Loop struct {
	fd     int
	events [batch]unix.EpollEvent
	ready  [batch]int32
}

// NewLoop makes a Loop that watches nothing. It lives as long as its process.
func NewLoop() (*Loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an epoll: %w", err)
	}
	return &Loop{fd: fd}, nil
}

// Watch has Wait give the token whenever fd may be read or written again, until
// fd is closed.
func (l *Loop) Watch(fd int, token int32) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: token}
	if err := unix.EpollCtl(l.fd, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("watch a socket: %w", err)
	}
	return nil
}

// Wait gives the tokens of sockets at which something has changed; none after a
// while without. The slice is good until the next call.
func (l *Loop) Wait(atMost time.Duration) ([]int32, error) {
	n, err := unix.EpollWait(l.fd, l.events[:], int(atMost.Milliseconds()))
	if errors.Is(err, unix.EINTR) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("wait for events: %w", err)
	}
	for i := range n {
		l.ready[i] = l.events[i].Fd
	}
	return l.ready[:n], nil
}
