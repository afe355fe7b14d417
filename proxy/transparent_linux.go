package proxy

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// soOriginalDst is SO_ORIGINAL_DST of linux/netfilter_ipv4.h, and has the same
// number as IP6T_SO_ORIGINAL_DST of linux/netfilter_ipv6/ip6_tables.h.
const soOriginalDst = 80

// redirectedTo is where a connection was going before the system redirected it
// (the REDIRECT target of nftables).
func redirectedTo(conn *net.TCPConn) (netip.AddrPort, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("find the original destination: %w", err)
	}
	local, ok := conn.LocalAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("find the original destination: %v is no TCP address", conn.LocalAddr())
	}
	var found netip.AddrPort
	var failed error
	if err := raw.Control(func(fd uintptr) {
		if local.AddrPort().Addr().Unmap().Is4() {
			found, failed = originalDestination4(int(fd))
			return
		}
		found, failed = originalDestination6(int(fd))
	}); err != nil {
		return netip.AddrPort{}, fmt.Errorf("find the original destination: %w", err)
	}
	if failed != nil {
		return netip.AddrPort{}, fmt.Errorf("find the original destination: %w", failed)
	}
	return found, nil
}

// originalDestination4 asks for a struct sockaddr_in. The option of x/sys that
// fills in as many bytes, and looks at none of them, is the one used here.
func originalDestination4(fd int) (netip.AddrPort, error) {
	answer, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, soOriginalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	b := answer.Multiaddr
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:4])), nil
}

// originalDestination6 asks for a struct sockaddr_in6.
func originalDestination6(fd int) (netip.AddrPort, error) {
	answer, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, soOriginalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	var port [2]byte
	binary.NativeEndian.PutUint16(port[:], answer.Addr.Port)
	return netip.AddrPortFrom(netip.AddrFrom16(answer.Addr.Addr), binary.BigEndian.Uint16(port[:])), nil
}

// acceptForeign lets a listener accept connections to addresses that are not
// this machine's (the TPROXY target of nftables). It needs CAP_NET_ADMIN.
func acceptForeign(network, _ string, raw syscall.RawConn) error {
	level, option := unix.SOL_IP, unix.IP_TRANSPARENT
	if network == "tcp6" {
		level, option = unix.SOL_IPV6, unix.IPV6_TRANSPARENT
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), level, option, 1) }); err != nil {
		return err
	}
	if failed != nil {
		return fmt.Errorf("accept connections to other addresses: %w: that needs CAP_NET_ADMIN", failed)
	}
	return nil
}
