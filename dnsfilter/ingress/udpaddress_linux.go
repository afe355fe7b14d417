package ingress

import (
	"net"
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sourceControl turns the control message that came with a packet on a
// wildcard address, and tells which address was asked, into that of the reply,
// in place: from this address, by whatever way the routing table says. It
// returns its length; 0 where the kernel must choose the address. It is false
// for a packet to a multicast or broadcast address: such a query has a reply
// from every server and each of its sockets, which serves attackers only.
func sourceControl(control []byte) (n int, unicast bool) {
	if len(control) < unix.SizeofCmsghdr {
		return 0, true
	}
	header := (*unix.Cmsghdr)(unsafe.Pointer(unsafe.SliceData(control)))
	if int(header.Len) > len(control) || int(header.Len) < unix.CmsgLen(0) {
		return 0, true
	}
	info := control[unix.CmsgLen(0):header.Len]
	switch {
	case header.Level == unix.IPPROTO_IP && header.Type == unix.IP_PKTINFO && len(info) == unix.SizeofInet4Pktinfo:
		clear(info[:4]) // the interface
		ours, asked := info[4:8], info[8:12]
		return int(header.Len), string(ours) == string(asked)
	case header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_PKTINFO && len(info) == unix.SizeofInet6Pktinfo:
		asked := netip.AddrFrom16([16]byte(info[:16]))
		if !asked.IsLinkLocalUnicast() { // those mean nothing without an interface
			clear(info[16:20])
		}
		return int(header.Len), !asked.Unmap().IsMulticast()
	default:
		return 0, true
	}
}

// zones remembers the names of interfaces by number. One goroutine uses it.
type zones struct {
	names map[uint32]string
}

// maxZones bounds the names: where containers come and go, so do interfaces.
const maxZones = 256

// name is the zone of a link-local address, as package net would write it.
func (z *zones) name(index uint32) string {
	if name, ok := z.names[index]; ok {
		return name
	}
	name := strconv.FormatUint(uint64(index), 10)
	if in, err := net.InterfaceByIndex(int(index)); err == nil {
		name = in.Name
	}
	if z.names == nil {
		z.names = make(map[uint32]string)
	}
	if len(z.names) >= maxZones {
		clear(z.names)
	}
	z.names[index] = name
	return name
}
