package ingress

import (
	"encoding/binary"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
)

const recordFixedBytes = 10 // type, class, TTL and length of a record

// freshness is for how many seconds a reply may be kept by an HTTP cache (RFC
// 8484 §5.1): the smallest TTL of all its records, and of a negative answer no
// longer than its SOA allows (RFC 2308 §5). A reply without records, that is an
// error, or that cannot be read is fresh for none.
func freshness(reply []byte) uint32 {
	if len(reply) < dnswire.HeaderBytes {
		return 0
	}
	rcode := int(reply[3] & dnswire.MaskRcode)
	if rcode != dnswire.RcodeNoError && rcode != dnswire.RcodeNXDomain {
		return 0
	}
	off := dnswire.HeaderBytes
	for range binary.BigEndian.Uint16(reply[4:]) {
		next, ok := dnswire.SkipName(reply, off)
		if !ok || next+4 > len(reply) {
			return 0
		}
		off = next + 4
	}
	records := 0
	for section := 6; section <= 10; section += 2 {
		records += int(binary.BigEndian.Uint16(reply[section:]))
	}
	return smallestTTL(reply, off, records)
}

func smallestTTL(reply []byte, off, records int) uint32 {
	least, found := ^uint32(0), false
	for range records {
		fixed, ok := dnswire.SkipName(reply, off)
		if !ok || fixed+recordFixedBytes > len(reply) {
			return 0
		}
		data := fixed + recordFixedBytes
		off = data + int(binary.BigEndian.Uint16(reply[fixed+8:]))
		if off > len(reply) {
			return 0
		}
		switch binary.BigEndian.Uint16(reply[fixed:]) {
		case dnswire.TypeOPT:
			continue // its TTL is flags
		case dnswire.TypeSOA:
			if off-data >= 4 {
				least = min(least, binary.BigEndian.Uint32(reply[off-4:])) // MINIMUM
			}
		}
		least = min(least, binary.BigEndian.Uint32(reply[fixed+4:]))
		found = true
	}
	if !found || least > 1<<31-1 {
		return 0 // RFC 2181 §8
	}
	return least
}
