package dnsfilter

import (
	"encoding/binary"
	"net/netip"
)

// startReply writes header and question of a reply to q into dst, whose
// contents are overwritten. Counts of records are set by countAnswer and
// countAuthority as they are appended.
func startReply(dst []byte, q *question, rcode int) []byte {
	msg := binary.BigEndian.AppendUint16(dst[:0], q.id)
	msg = binary.BigEndian.AppendUint16(msg, replyFlags(q, rcode))
	questions := byte(0)
	if q.section != nil {
		questions = 1
	}
	msg = append(msg, 0, questions, 0, 0, 0, 0, 0, 0)
	return append(msg, q.section...)
}

func replyFlags(q *question, rcode int) uint16 {
	return flagQR | flagRA | q.flags&(maskOpcode|flagRD|flagCD) | uint16(rcode&maskRcode)
}

// questionPointer is a compression pointer to the name of the question, which
// stands right behind the header of every reply (RFC 1035 §4.1.4).
const questionPointer = 0xC000 | headerBytes

func countAnswer(msg []byte)    { msg[7]++ } // never more than a handful
func countAuthority(msg []byte) { msg[9]++ }

func appendRecordHeader(msg []byte, kind uint16, ttl uint32, length int) []byte {
	msg = binary.BigEndian.AppendUint16(msg, questionPointer)
	msg = binary.BigEndian.AppendUint16(msg, kind)
	msg = binary.BigEndian.AppendUint16(msg, classIN)
	msg = binary.BigEndian.AppendUint32(msg, ttl)
	return binary.BigEndian.AppendUint16(msg, uint16(length))
}

// appendAddress appends an A or AAAA record of the asked name.
func appendAddress(msg []byte, a netip.Addr, ttl uint32) []byte {
	countAnswer(msg)
	if a.Is4() {
		bytes := a.As4()
		return append(appendRecordHeader(msg, typeA, ttl, len(bytes)), bytes[:]...)
	}
	bytes := a.As16()
	return append(appendRecordHeader(msg, typeAAAA, ttl, len(bytes)), bytes[:]...)
}

// MNAME and RNAME of every SOA that the door makes up, in wire form. invalid is
// reserved for names that never resolve (RFC 6761 §6.4).
const (
	soaMName = "\x09sallyport\x07invalid\x00"
	soaRName = "\x0ahostmaster\x09sallyport\x07invalid\x00"
)

// appendSOA appends the SOA record that lets a negative answer be cached for
// ttl seconds (RFC 2308 §3). It is owned by the asked name: no zone of ours
// lies above it, and a higher owner would say something of its neighbours.
func appendSOA(msg []byte, ttl uint32) []byte {
	const serial, refresh, retry, expire = 1, 3600, 600, 86400
	countAuthority(msg)
	msg = appendRecordHeader(msg, typeSOA, ttl, len(soaMName)+len(soaRName)+5*4)
	msg = append(msg, soaMName...)
	msg = append(msg, soaRName...)
	for _, number := range []uint32{serial, refresh, retry, expire, ttl} {
		msg = binary.BigEndian.AppendUint32(msg, number)
	}
	return msg
}

// finishReply adds the OPT record that the query asked for and holds the reply
// to the size that transport and client can take: EXTRA-TEXT goes first, then
// every record, with TC set, so that the client asks again over TCP.
func finishReply(msg []byte, q *question, t transport, rcode int, e extendedError) []byte {
	limit := t.maxReply(q.edns)
	size := len(msg)
	if q.edns.present {
		size += optFixedBytes
	}
	if q.edns.present && e.set {
		if size+6+len(e.text) > limit {
			e.text = ""
		}
		size += 6 + len(e.text)
	}
	if size > limit {
		msg = msg[:headerBytes+len(q.section)]
		clear(msg[6:12])
		msg[2] |= flagTC >> 8
	}
	if q.edns.present {
		msg[11] = 1
		msg = appendOPT(msg, q.edns, rcode, e)
	}
	return msg
}

// errorReply is a reply without records.
func errorReply(dst []byte, q *question, t transport, rcode int, e extendedError) []byte {
	return finishReply(startReply(dst, q, rcode), q, t, rcode, e)
}
