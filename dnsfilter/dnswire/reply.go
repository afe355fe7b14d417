package dnswire

import (
	"encoding/binary"
	"net/netip"
)

// StartReply writes header and question of a reply to q into dst, whose
// contents are overwritten. Counts of records are kept by the Append functions.
func StartReply(dst []byte, q *Question, rcode int) []byte {
	msg := binary.BigEndian.AppendUint16(dst[:0], q.ID)
	msg = binary.BigEndian.AppendUint16(msg, ReplyFlags(q, rcode))
	questions := byte(0)
	if q.Section != nil {
		questions = 1
	}
	msg = append(msg, 0, questions, 0, 0, 0, 0, 0, 0)
	return append(msg, q.Section...)
}

// ReplyFlags is the second word of the header of a reply to q: it copies
// opcode, RD and CD, sets RA, and never AA, since nothing here is
// authoritative.
func ReplyFlags(q *Question, rcode int) uint16 {
	return FlagQR | FlagRA | q.Flags&(MaskOpcode|FlagRD|FlagCD) | uint16(rcode&MaskRcode)
}

// questionPointer is a compression pointer to the name of the question, which
// stands right behind the header of every reply (RFC 1035 §4.1.4).
const questionPointer = 0xC000 | HeaderBytes

func countAnswer(msg []byte)    { msg[7]++ } // never more than a handful
func countAuthority(msg []byte) { msg[9]++ }

func appendRecordHeader(msg []byte, kind uint16, ttl uint32, length int) []byte {
	msg = binary.BigEndian.AppendUint16(msg, questionPointer)
	msg = binary.BigEndian.AppendUint16(msg, kind)
	msg = binary.BigEndian.AppendUint16(msg, ClassIN)
	msg = binary.BigEndian.AppendUint32(msg, ttl)
	return binary.BigEndian.AppendUint16(msg, uint16(length))
}

// AppendAddress appends an A or AAAA record of the asked name. ttl is in
// seconds, as everywhere in messages.
func AppendAddress(msg []byte, a netip.Addr, ttl uint32) []byte {
	countAnswer(msg)
	if a.Is4() {
		bytes := a.As4()
		return append(appendRecordHeader(msg, TypeA, ttl, len(bytes)), bytes[:]...)
	}
	bytes := a.As16()
	return append(appendRecordHeader(msg, TypeAAAA, ttl, len(bytes)), bytes[:]...)
}

// AppendHINFO appends the record that answers ANY in place of everything (RFC
// 8482 §4.2).
func AppendHINFO(msg []byte, ttl uint32) []byte {
	const cpu, os = "RFC8482", ""
	countAnswer(msg)
	msg = appendRecordHeader(msg, TypeHINFO, ttl, 2+len(cpu)+len(os))
	msg = append(append(msg, byte(len(cpu))), cpu...)
	return append(append(msg, byte(len(os))), os...)
}

// MNAME and RNAME of every SOA made up here, in wire form. invalid is reserved
// for names that never resolve (RFC 6761 §6.4).
const (
	soaMName = "\x09sallyport\x07invalid\x00"
	soaRName = "\x0ahostmaster\x09sallyport\x07invalid\x00"
)

// AppendSOA appends the SOA record that lets a negative answer be cached for
// ttl seconds (RFC 2308 §3). It is owned by the asked name: no zone of ours
// lies above it, and a higher owner would say something of its neighbours.
func AppendSOA(msg []byte, ttl uint32) []byte {
	const serial, refresh, retry, expire = 1, 3600, 600, 86400
	countAuthority(msg)
	msg = appendRecordHeader(msg, TypeSOA, ttl, len(soaMName)+len(soaRName)+5*4)
	msg = append(msg, soaMName...)
	msg = append(msg, soaRName...)
	msg = binary.BigEndian.AppendUint32(msg, serial)
	msg = binary.BigEndian.AppendUint32(msg, refresh)
	msg = binary.BigEndian.AppendUint32(msg, retry)
	msg = binary.BigEndian.AppendUint32(msg, expire)
	return binary.BigEndian.AppendUint32(msg, ttl)
}

// FinishReply adds the OPT record that the query asked for and holds the reply
// to limit bytes: EXTRA-TEXT goes first, then every record, with TC set, so
// that the client asks again over TCP. It may change o.
func FinishReply(msg []byte, q *Question, limit, rcode int, o *ReplyOptions) []byte {
	if !q.EDNS.Present {
		if len(msg) > limit {
			msg = Truncate(msg, q)
		}
		return msg
	}
	if len(msg)+optFixedBytes+o.size() > limit {
		o.dropText()
	}
	if len(msg)+optFixedBytes+o.size() > limit {
		msg = Truncate(msg, q)
	}
	msg[11] = 1
	return appendOPT(msg, q.EDNS.DO, rcode, o, limit)
}

// Truncate takes every record out of a reply to q and sets TC.
func Truncate(msg []byte, q *Question) []byte {
	msg = msg[:HeaderBytes+len(q.Section)]
	clear(msg[6:12])
	msg[2] |= FlagTC >> 8
	return msg
}

// ErrorReply is a reply without records, written into dst.
func ErrorReply(dst []byte, q *Question, limit, rcode int, o *ReplyOptions) []byte {
	return FinishReply(StartReply(dst, q, rcode), q, limit, rcode, o)
}

// UDPLimit is the largest reply that a UDP client can be sent: what its OPT
// record offers, within what is sure not to be fragmented (RFC 6891 §6.2.3 to
// 6.2.5), and 512 bytes without one.
func UDPLimit(e *EDNS) int {
	if !e.Present {
		return MinUDPPayload
	}
	return min(max(int(e.Payload), MinUDPPayload), UDPPayload)
}
