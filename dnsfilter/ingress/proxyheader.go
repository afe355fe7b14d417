package ingress

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// proxySignature begins a PROXY protocol header, version 2 (§2.2 of the
// HAProxy specification). No DNS query begins so: read as one, its opcode is
// 1, which RFC 3425 withdrew.
const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

// Sizes of a version 2 header.
const (
	proxyPrefixBytes = 16   // signature, command, family, length of the rest
	maxProxyHeader   = 1024 // addresses and every TLV but a whole certificate
)

// proxyVersion is the high half of the thirteenth byte; the commands are the
// low half.
const (
	proxyVersion = 0x20
	commandLocal = 0x0
	commandProxy = 0x1
)

// Families and protocols, the fourteenth byte, of clients that have an
// address. Whether the client spoke TCP or UDP to the proxy does not matter
// here: proxies that fall over from one to the other pass on the first.
const (
	familyTCP4 = 0x11
	familyUDP4 = 0x12
	familyTCP6 = 0x21
	familyUDP6 = 0x22

	addresses4Bytes = 12 // source, destination, and the port of each
	addresses6Bytes = 36
)

// What is wrong with a header's length. Of the first kind there may be more to
// come in a stream; in a datagram there is not.
var (
	errProxyShort     = errors.New("read the PROXY header: it ends early")
	errProxyAddresses = errors.New("read the PROXY header: its length leaves no room for its addresses")
)

// proxyHeader reads a PROXY protocol header, version 2, from the beginning of
// b: whom it names as client, and how many bytes of b it takes, its TLVs
// included (they are not read). A LOCAL header, with which a proxy asks in its
// own name, gives no client (the zero AddrPort).
//
// A PROXY header that names no IP address is an error: the rules of a client
// that is not known must not be those of the proxy. So is one of over 1024
// bytes. It does not allocate where b is in order.
func proxyHeader(b []byte) (client netip.AddrPort, n int, err error) {
	n, err = proxyHeaderBytes(b)
	if err != nil {
		return netip.AddrPort{}, 0, err
	}
	if len(b) < n {
		return netip.AddrPort{}, 0, errProxyShort
	}
	if b[12] == proxyVersion|commandLocal {
		return netip.AddrPort{}, n, nil
	}
	client, err = proxyClient(b[13], b[proxyPrefixBytes:n])
	if err != nil {
		return netip.AddrPort{}, 0, err
	}
	return client, n, nil
}

// proxyHeaderBytes is how long a header is, from its first proxyPrefixBytes
// bytes: what a reader of a stream needs in order to read no more than that.
func proxyHeaderBytes(b []byte) (int, error) {
	if signed := min(len(b), len(proxySignature)); string(b[:signed]) != proxySignature[:signed] {
		return 0, fmt.Errorf("read the PROXY header: %q is not how one of version 2 begins", b[:signed])
	}
	if len(b) < proxyPrefixBytes {
		return 0, errProxyShort
	}
	if b[12] != proxyVersion|commandLocal && b[12] != proxyVersion|commandProxy {
		return 0, fmt.Errorf("read the PROXY header: version and command are 0x%02x, not 0x20 or 0x21", b[12])
	}
	n := proxyPrefixBytes + int(binary.BigEndian.Uint16(b[14:16]))
	if n > maxProxyHeader {
		return 0, fmt.Errorf("read the PROXY header: it says that it has %d bytes, the most is %d", n, maxProxyHeader)
	}
	return n, nil
}

// proxyClient is the source in the addresses of a header.
func proxyClient(family byte, b []byte) (netip.AddrPort, error) {
	switch family {
	case familyTCP4, familyUDP4:
		if len(b) < addresses4Bytes {
			return netip.AddrPort{}, errProxyAddresses
		}
		source := netip.AddrFrom4([4]byte(b[:4]))
		return netip.AddrPortFrom(source, binary.BigEndian.Uint16(b[8:10])), nil
	case familyTCP6, familyUDP6:
		if len(b) < addresses6Bytes {
			return netip.AddrPort{}, errProxyAddresses
		}
		source := netip.AddrFrom16([16]byte(b[:16])).Unmap()
		return netip.AddrPortFrom(source, binary.BigEndian.Uint16(b[32:34])), nil
	default:
		return netip.AddrPort{}, fmt.Errorf("read the PROXY header: family and protocol are 0x%02x, which have no IP address", family)
	}
}
