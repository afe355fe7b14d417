package dnswire

import (
	"encoding/binary"
	"net/netip"
)

// EDNS is what a query's OPT record says (RFC 6891 §6.1). The zero EDNS is a
// query without one.
type EDNS struct {
	Present   bool
	Payload   uint16 // the largest UDP reply that the client can take
	Version   uint8
	DO        bool         // DNSSEC records wanted
	Padding   bool         // the client pads, and so should the reply be (RFC 8467 §4.1)
	Keepalive bool         // the client wants to know the idle timeout (RFC 7828)
	HasCookie bool         // RFC 7873
	Cookie    [8]byte      // the client's cookie
	Server    []byte       // the server cookie that it returns: 8 to 32 bytes, or none
	HasSubnet bool         // RFC 7871
	Subnet    netip.Prefix // the client's; invalid where there is none, or one of no family
}

const flagDO = 1 << 15

// read reads an OPT record: class, TTL and length, and its options. It reports
// false where an option that has a form does not have it (RFC 7873 §5.2.2, RFC
// 7871 §7.1.2); unknown options are skipped (RFC 6891 §6.1.2). Options of a
// version that nobody knows are not read at all.
func (e *EDNS) read(fixed, options []byte) bool {
	ttl := binary.BigEndian.Uint32(fixed[2:])
	e.Present = true
	e.Payload = binary.BigEndian.Uint16(fixed)
	e.Version = uint8(ttl >> 16)
	e.DO = ttl&flagDO != 0
	if e.Version != 0 {
		return true
	}
	for len(options) > 0 {
		if len(options) < 4 {
			return false
		}
		code := binary.BigEndian.Uint16(options)
		end := 4 + int(binary.BigEndian.Uint16(options[2:]))
		if end > len(options) || !e.readOption(code, options[4:end]) {
			return false
		}
		options = options[end:]
	}
	return true
}

func (e *EDNS) readOption(code uint16, data []byte) bool {
	switch code {
	case OptionCookie:
		if e.HasCookie {
			return true // RFC 7873 §5.2: all but the first are ignored
		}
		if len(data) != 8 && (len(data) < 16 || len(data) > 40) {
			return false
		}
		e.HasCookie = true
		copy(e.Cookie[:], data)
		e.Server = data[8:]
	case OptionPadding:
		e.Padding = true
	case OptionKeepalive:
		e.Keepalive = true
	case OptionSubnet:
		// With two, a client behind a trusted forwarder could speak for another.
		again := e.HasSubnet
		e.HasSubnet = true
		return !again && e.readSubnet(data)
	}
	return true
}

// readSubnet reads family, source prefix length, scope and as many bytes of
// the address as the prefix needs (RFC 7871 §6).
func (e *EDNS) readSubnet(data []byte) bool {
	if len(data) < 4 || data[3] != 0 {
		return false
	}
	bits := int(data[2])
	address := data[4:]
	if len(address) != (bits+7)/8 {
		return false
	}
	var addr netip.Addr
	switch family := binary.BigEndian.Uint16(data); {
	case family == 0 && bits == 0:
		return true // no address at all
	case family == 1 && bits <= 32:
		var four [4]byte
		copy(four[:], address)
		addr = netip.AddrFrom4(four)
	case family == 2 && bits <= 128:
		var sixteen [16]byte
		copy(sixteen[:], address)
		addr = netip.AddrFrom16(sixteen)
	default:
		return false
	}
	prefix := netip.PrefixFrom(addr, bits)
	if prefix.Masked() != prefix {
		return false // RFC 7871 §6: bits beyond the prefix must be zero
	}
	e.Subnet = prefix
	return true
}
