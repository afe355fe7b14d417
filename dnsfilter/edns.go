package dnsfilter

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// edns is what a query's OPT record says (RFC 6891 §6.1). The zero edns is a
// query without one.
type edns struct {
	present bool
	payload uint16 // the largest UDP reply that the client can take
	version uint8
	do      bool // DNSSEC records wanted
}

// extendedError is an Extended DNS Error (RFC 8914 §2): why an answer is what
// it is. The zero value is none.
type extendedError struct {
	set  bool
	code uint16
	text string // EXTRA-TEXT, at most maxExtraText bytes are sent
}

// The extended errors that this door gives (RFC 8914 §4).
const (
	edeOther                uint16 = 0
	edeBlocked              uint16 = 15
	edeProhibited           uint16 = 18
	edeNoReachableAuthority uint16 = 22
	edeNetworkError         uint16 = 23
)

const (
	udpPayload    = 1232 // fits every path without fragments
	minUDPPayload = 512  // RFC 1035 §4.2.1
	maxExtraText  = 200  // a reason is one line; it must not eat the reply

	typeOPT       = 41
	optFixedBytes = 11 // owner, type, class, TTL and length of an OPT record
	optionEDE     = 15
	flagDO        = 1 << 15
)

// parseOPT reads an OPT record's fixed fields. Options are not read: this door
// acts on none of them.
func parseOPT(class uint16, ttl uint32) edns {
	return edns{present: true, payload: class, version: uint8(ttl >> 16), do: ttl&flagDO != 0}
}

// appendOPT appends an OPT record with the upper bits of rcode, and with e
// where it is set.
func appendOPT(msg []byte, q edns, rcode int, e extendedError) []byte {
	msg = append(msg, 0) // owner: the root
	msg = binary.BigEndian.AppendUint16(msg, typeOPT)
	msg = binary.BigEndian.AppendUint16(msg, udpPayload)
	ttl := uint32(rcode>>4) << 24
	if q.do {
		ttl |= flagDO
	}
	msg = binary.BigEndian.AppendUint32(msg, ttl)
	if !e.set {
		return binary.BigEndian.AppendUint16(msg, 0)
	}
	msg = binary.BigEndian.AppendUint16(msg, uint16(6+len(e.text)))
	msg = binary.BigEndian.AppendUint16(msg, optionEDE)
	msg = binary.BigEndian.AppendUint16(msg, uint16(2+len(e.text)))
	msg = binary.BigEndian.AppendUint16(msg, e.code)
	return append(msg, e.text...)
}

// extended makes an extendedError whose text is one line of valid UTF-8 (RFC
// 8914 §2), cut between characters.
func extended(code uint16, text string) extendedError {
	text = strings.ToValidUTF8(text, "\uFFFD")
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F {
			return ' '
		}
		return r
	}, text)
	if len(text) > maxExtraText {
		cut := maxExtraText
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut]
	}
	return extendedError{set: true, code: code, text: text}
}
