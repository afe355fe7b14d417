package outbound

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// connectNow begins to connect a socket that does not block, and reports
// whether it is connected already. On the same machine it is: the kernel does
// the whole handshake inside the first connect(2), and the second one tells.
func connectNow(fd int, to netip.AddrPort) (bool, error) {
	var err error
	switch address := to.Addr(); {
	case address.Is4():
		err = connectTwice(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: address.As4()})
	case address.Zone() == "":
		err = connectTwice(fd, &unix.SockaddrInet6{Port: int(to.Port()), Addr: address.As16()})
	default:
		return false, nil // net knows zones
	}
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EINPROGRESS), errors.Is(err, unix.EALREADY), errors.Is(err, unix.EINTR):
		return false, nil
	default:
		return false, err
	}
}

func connectTwice(fd int, to unix.Sockaddr) error {
	err := unix.Connect(fd, to)
	if errors.Is(err, unix.EINPROGRESS) {
		err = unix.Connect(fd, to)
	}
	return err
}
