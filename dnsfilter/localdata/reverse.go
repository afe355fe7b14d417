package localdata

import (
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// The suffixes of reverse names, in lower-case wire form (RFC 1035 §3.5, RFC
// 3596 §2.5).
const (
	reverse4 = "\x07in-addr\x04arpa\x00"
	reverse6 = "\x03ip6\x04arpa\x00"
)

// reverseName is the name under which an address has its PTR record.
func reverseName(a netip.Addr) string {
	name, err := dns.ReverseAddr(a.String())
	if err != nil {
		panic(err) // every address has one
	}
	return name
}

// readReverse reads a reverse name, whole or only its upper labels, as the
// addresses that it covers. IPv4 addresses are in mapped form, so that both
// kinds compare as 16 bytes.
func readReverse(name string) (base [16]byte, bits int, ok bool) {
	switch {
	case strings.HasSuffix(name, reverse4):
		return readReverse4(name[:len(name)-len(reverse4)])
	case strings.HasSuffix(name, reverse6):
		return readReverse6(name[:len(name)-len(reverse6)])
	default:
		return base, 0, false
	}
}

func readReverse4(labels string) (base [16]byte, bits int, ok bool) {
	var bytes [4]byte
	count := 0
	for at := 0; at < len(labels); count++ {
		end := at + 1 + int(labels[at])
		if count == len(bytes) || end > len(labels) {
			return base, 0, false
		}
		if bytes[count], ok = readByte(labels[at+1 : end]); !ok {
			return base, 0, false
		}
		at = end
	}
	base[10], base[11] = 0xFF, 0xFF
	for i := range count {
		base[12+i] = bytes[count-1-i]
	}
	return base, 96 + 8*count, true
}

// readByte reads a decimal number as people write it in reverse names.
func readByte(s string) (byte, bool) {
	if s == "" || len(s) > 3 || len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	value := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		value = value*10 + int(c-'0')
	}
	return byte(value), value <= 255
}

func readReverse6(labels string) (base [16]byte, bits int, ok bool) {
	count := len(labels) / 2 // each a length byte and a digit
	if len(labels)%2 != 0 || count > 32 {
		return base, 0, false
	}
	for i := range count {
		if labels[2*i] != 1 {
			return base, 0, false
		}
		digit := strings.IndexByte("0123456789abcdef", labels[2*i+1])
		if digit < 0 {
			return base, 0, false
		}
		nibble := count - 1 - i // from the left
		base[nibble/2] |= byte(digit) << (4 * (1 - nibble%2))
	}
	return base, 4 * count, true
}

// covers reports whether a lies in the block of addresses at base.
func covers(base [16]byte, bits int, a [16]byte) bool {
	return netip.PrefixFrom(netip.AddrFrom16(base), bits).Contains(netip.AddrFrom16(a))
}
