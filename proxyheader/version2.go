package proxyheader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// signature begins a header of version 2 (§2.2 of the HAProxy specification). No
// DNS query begins so: read as one, its opcode is 1, which RFC 3425 withdrew.
const signature = "\r\n\r\n\x00\r\nQUIT\n"

// Sizes of a version 2 header.
const (
	prefixBytes = 16   // signature, command, family, length of the rest
	maxBytes    = 1024 // addresses and every TLV but a whole certificate
)

// version2 is the high half of the thirteenth byte; the commands are the low
// half.
const (
	version2     = 0x20
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
	errShort     = errors.New("read the PROXY header: it ends early")
	errAddresses = errors.New("read the PROXY header: its length leaves no room for its addresses")
)

// Parse reads a header of version 2 from the beginning of a datagram, or of
// anything else that is there whole (a datagram has no version 1): whom it names
// as client, and how many bytes of b it takes, its TLVs included (they are not
// read). A LOCAL header, with which a proxy asks in its own name, gives no client
// (the zero AddrPort).
//
// A PROXY header that names no IP address is an error: the rules of a client
// that is not known must not be those of the proxy. So is one of over 1024
// bytes. It does not allocate where b is in order.
func Parse(b []byte) (client netip.AddrPort, n int, err error) {
	n, err = headerBytes(b)
	if err != nil {
		return netip.AddrPort{}, 0, err
	}
	if len(b) < n {
		return netip.AddrPort{}, 0, errShort
	}
	if b[12] == version2|commandLocal {
		return netip.AddrPort{}, n, nil
	}
	client, err = sourceIn(b[13], b[prefixBytes:n])
	if err != nil {
		return netip.AddrPort{}, 0, err
	}
	return client, n, nil
}

// headerBytes is how long a header is, from its first prefixBytes
// bytes: what a reader of a stream needs in order to read no more than that.
func headerBytes(b []byte) (int, error) {
	if signed := min(len(b), len(signature)); string(b[:signed]) != signature[:signed] {
		return 0, fmt.Errorf("read the PROXY header: %q is not how one of version 2 begins", b[:signed])
	}
	if len(b) < prefixBytes {
		return 0, errShort
	}
	if b[12] != version2|commandLocal && b[12] != version2|commandProxy {
		return 0, fmt.Errorf("read the PROXY header: version and command are 0x%02x, not 0x20 or 0x21", b[12])
	}
	n := prefixBytes + int(binary.BigEndian.Uint16(b[14:16]))
	if n > maxBytes {
		return 0, fmt.Errorf("read the PROXY header: it says that it has %d bytes, the most is %d", n, maxBytes)
	}
	return n, nil
}

// sourceIn is the source in the addresses of a header.
func sourceIn(family byte, b []byte) (netip.AddrPort, error) {
	switch family {
	case familyTCP4, familyUDP4:
		if len(b) < addresses4Bytes {
			return netip.AddrPort{}, errAddresses
		}
		source := netip.AddrFrom4([4]byte(b[:4]))
		return netip.AddrPortFrom(source, binary.BigEndian.Uint16(b[8:10])), nil
	case familyTCP6, familyUDP6:
		if len(b) < addresses6Bytes {
			return netip.AddrPort{}, errAddresses
		}
		source := netip.AddrFrom16([16]byte(b[:16])).Unmap()
		return netip.AddrPortFrom(source, binary.BigEndian.Uint16(b[32:34])), nil
	default:
		return netip.AddrPort{}, fmt.Errorf("read the PROXY header: family and protocol are 0x%02x, which have no IP address", family)
	}
}
