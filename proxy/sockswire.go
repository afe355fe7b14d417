package proxy

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/sallyport/sallyport/policy"
)

// What SOCKS 5 says in bytes (RFC 1928, RFC 1929).
const (
	socksVersion         = 5
	socksOldVersion      = 4
	socksPasswordVersion = 1

	socksNoAuthentication = 0x00
	socksPassword         = 0x02
	socksNoMethod         = 0xff

	socksConnect = 0x01

	socksIPv4 = 0x01
	socksName = 0x03
	socksIPv6 = 0x04
)

// socksReply is the second byte of a reply (RFC 1928 §6).
type socksReply byte

const (
	socksSucceeded          socksReply = 0x00
	socksFailed             socksReply = 0x01
	socksNotAllowed         socksReply = 0x02
	socksNetworkUnreachable socksReply = 0x03
	socksHostUnreachable    socksReply = 0x04
	socksRefused            socksReply = 0x05
	socksTooLate            socksReply = 0x06 // "TTL expired"
	socksNoCommand          socksReply = 0x07
	socksNoAddressType      socksReply = 0x08
)

// bytes is the reply as it goes over the wire. The address that it is to hold
// is ours towards the destination, which is nobody's business.
func (r socksReply) bytes() []byte {
	return []byte{socksVersion, byte(r), 0, socksIPv4, 0, 0, 0, 0, 0, 0}
}

// socksOldRefusal is all that SOCKS 4 is told: no.
var socksOldRefusal = [...]byte{0, 91, 0, 0, 0, 0, 0, 0}

var (
	errSocksMore = errors.New("the message is not whole yet")
	errSocksOld  = errors.New("SOCKS 4 is not spoken here: it cannot say who asks; use SOCKS 5")
	errNotSocks  = errors.New("not SOCKS")
)

// socksError is a request that cannot be served, and the reply that says so.
type socksError struct {
	reply socksReply
	text  string
}

// Error says what is wrong.
func (e *socksError) Error() string { return e.text }

// socksGreeting is what a client offers to prove who it is.
type socksGreeting struct{ none, password bool }

// parseSocksGreeting reads a greeting (RFC 1928 §3) from the beginning of data,
// and says how long it is; errSocksMore where it is not all there.
func parseSocksGreeting(data []byte) (g socksGreeting, n int, err error) {
	switch {
	case len(data) == 0:
		return g, 0, errSocksMore
	case data[0] == socksOldVersion:
		return g, 0, errSocksOld
	case data[0] != socksVersion:
		return g, 0, errNotSocks
	case len(data) < 2:
		return g, 0, errSocksMore
	}
	n = 2 + int(data[1])
	if len(data) < n {
		return g, 0, errSocksMore
	}
	methods := data[2:n]
	g.none = slices.Contains(methods, socksNoAuthentication)
	g.password = slices.Contains(methods, socksPassword)
	return g, n, nil
}

// parseSocksPassword reads a user name and a password (RFC 1929 §2), and gives
// them as a browser would send them to an HTTP proxy: as Basic credentials (RFC
// 7617). A user name with a colon, which those cannot hold, is an error.
func parseSocksPassword(data []byte) (basic string, n int, err error) {
	switch {
	case len(data) == 0:
		return "", 0, errSocksMore
	case data[0] != socksPasswordVersion:
		return "", 0, errNotSocks
	case len(data) < 2 || len(data) < 3+int(data[1]):
		return "", 0, errSocksMore
	}
	user := data[2 : 2+int(data[1])]
	n = 3 + len(user) + int(data[2+len(user)])
	if len(data) < n {
		return "", 0, errSocksMore
	}
	if slices.Contains(user, ':') {
		return "", n, errors.New("the user name has a colon in it")
	}
	pair := slices.Concat(user, []byte(":"), data[3+len(user):n])
	return "Basic " + base64.StdEncoding.EncodeToString(pair), n, nil
}

// parseSocksRequest reads a request to connect (RFC 1928 §4), and gives its
// destination. What else a client may want is a *socksError.
func parseSocksRequest(data []byte) (host policy.Host, port uint16, n int, err error) {
	switch {
	case len(data) == 0:
		return host, 0, 0, errSocksMore
	case data[0] != socksVersion:
		return host, 0, 0, errNotSocks
	case len(data) < 5:
		return host, 0, 0, errSocksMore
	case data[1] != socksConnect:
		return host, 0, 0, &socksError{socksNoCommand, fmt.Sprintf("SOCKS command %#x is not served: CONNECT alone is", data[1])}
	}
	begin, size := 4, 0
	switch data[3] {
	case socksIPv4:
		size = 4
	case socksIPv6:
		size = 16
	case socksName:
		begin, size = 5, int(data[4])
	default:
		return host, 0, 0, &socksError{socksNoAddressType, fmt.Sprintf("SOCKS address type %#x is not known", data[3])}
	}
	n = begin + size + 2
	if len(data) < n {
		return host, 0, 0, errSocksMore
	}
	address := data[begin : begin+size]
	port = binary.BigEndian.Uint16(data[begin+size:])
	if data[3] == socksName {
		host, err = policy.ParseHost(string(address))
	} else {
		addr, _ := netip.AddrFromSlice(address) // of 4 or 16 bytes
		host = policy.HostFromAddr(addr)
	}
	switch {
	case err != nil:
		return policy.Host{}, 0, n, &socksError{socksFailed, fmt.Sprintf("SOCKS request for %q: %v", address, err)}
	case port == 0:
		return policy.Host{}, 0, n, &socksError{socksFailed, "SOCKS request for port 0"}
	}
	return host, port, n, nil
}
