package upstream

import (
	"encoding/binary"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
)

// Query is a question to ask upstream.
type Query struct {
	Name string // lower-case wire form, as dnswire.WireName and LowerName return it
	Type uint16
	DO   bool // DNSSEC records wanted (RFC 3225)
	CD   bool // the upstream shall not validate (RFC 4035 §3.2.2)
}

// extras is what a transport adds to a query's OPT record.
type extras struct {
	keepalive bool // ask how long a connection may idle (RFC 7828 §3.2.1)
	padded    bool // to whole blocks, where nobody else can read (RFC 8467 §4.1)
}

const (
	optBytes        = 11  // owner, type, class, TTL and length of an OPT record
	optionBytes     = 4   // code and length of an option
	paddingBlock    = 128 // RFC 8467 §4.1
	flagDO          = 1 << 15
	maxPackedQuery  = dnswire.HeaderBytes + dnswire.MaxNameBytes + 4 + optBytes + 2*optionBytes + paddingBlock
	lengthBytes     = 2 // in front of a message on a stream (RFC 1035 §4.2.2)
	maxMessageBytes = 1<<16 - 1
)

// appendQuery appends the packet that asks q. AD asks to be told of validation
// (RFC 6840 §5.7); nothing of the client's is passed on but DO and CD.
func appendQuery(packet []byte, q Query, id uint16, name []byte, x extras) []byte {
	start := len(packet)
	flags := uint16(dnswire.FlagRD | dnswire.FlagAD)
	if q.CD {
		flags |= dnswire.FlagCD
	}
	packet = binary.BigEndian.AppendUint16(packet, id)
	packet = binary.BigEndian.AppendUint16(packet, flags)
	packet = append(packet, 0, 1, 0, 0, 0, 0, 0, 1) // one question, one additional record
	packet = append(packet, name...)
	packet = binary.BigEndian.AppendUint16(packet, q.Type)
	packet = binary.BigEndian.AppendUint16(packet, dnswire.ClassIN)

	packet = append(packet, 0) // owner of OPT: the root
	packet = binary.BigEndian.AppendUint16(packet, dnswire.TypeOPT)
	packet = binary.BigEndian.AppendUint16(packet, dnswire.UDPPayload)
	ttl := uint32(0)
	if q.DO {
		ttl = flagDO
	}
	packet = binary.BigEndian.AppendUint32(packet, ttl)
	length := len(packet)
	packet = append(packet, 0, 0)
	if x.keepalive {
		packet = append(packet, 0, dnswire.OptionKeepalive, 0, 0)
	}
	if x.padded {
		packet = appendPadding(packet, start)
	}
	binary.BigEndian.PutUint16(packet[length:], uint16(len(packet)-length-2))
	return packet
}

// appendPadding appends a Padding option (RFC 7830 §3) that fills the message
// which began at start up to a whole block.
func appendPadding(packet []byte, start int) []byte {
	unpadded := len(packet) - start + optionBytes
	fill := (paddingBlock - unpadded%paddingBlock) % paddingBlock
	packet = append(packet, 0, dnswire.OptionPadding, 0, byte(fill))
	return append(packet, make([]byte, fill)...)
}
