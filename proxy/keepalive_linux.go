package proxy

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// Idle clients are probed as net would: after so long, so often, so many times.
const (
	keepAliveAfter  = 15 * time.Second
	keepAliveEvery  = 15 * time.Second
	keepAliveProbes = 9
)

// inheritKeepAlive has every connection that a listener accepts begin with the
// probes of idle connections that net would set on each, at the cost of four
// system calls a client.
func inheritKeepAlive(l *net.TCPListener) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		for _, option := range [...]struct{ level, name, value int }{
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepAliveAfter.Seconds())},
			{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(keepAliveEvery.Seconds())},
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveProbes},
		} {
			if failed = unix.SetsockoptInt(int(fd), option.level, option.name, option.value); failed != nil {
				return
			}
		}
	}); err != nil {
		return err
	}
	return failed
}

// keepAlive is what net is to do about it: nothing.
const keepAlive = -1
