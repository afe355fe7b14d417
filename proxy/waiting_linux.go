package proxy

import (
	"net"

	"golang.org/x/sys/unix"
)

// waiting is the number of bytes that have arrived on the connection and have
// not been read, 0 where that cannot be known.
func waiting(conn *net.TCPConn) int {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	count := 0
	if err := raw.Control(func(fd uintptr) {
		if n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ); err == nil {
			count = n
		}
	}); err != nil {
		return 0
	}
	return count
}
