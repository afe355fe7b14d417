package dnsfilter

import "encoding/binary"

// question is what a packet asks, read from its raw bytes. Slices lead into
// the packet.
type question struct {
	id      uint16
	flags   uint16
	section []byte // the question section as sent; nil where it could not be read
	wire    string // the name in lower-case wire form
	qtype   uint16
	class   uint16
	edns    edns
}

// Header bits (RFC 1035 §4.1.1, RFC 4035 §3.2).
const (
	headerBytes = 12

	flagQR     = 1 << 15
	maskOpcode = 0xF << 11
	flagTC     = 1 << 9
	flagRD     = 1 << 8
	flagRA     = 1 << 7
	flagAD     = 1 << 5
	flagCD     = 1 << 4
	maskRcode  = 0xF
)

// Response codes (RFC 1035 §4.1.1, RFC 6891 §9), and rcodeDrop, which is ours:
// no reply at all.
const (
	rcodeDrop     = -1
	rcodeNoError  = 0
	rcodeFormErr  = 1
	rcodeServFail = 2
	rcodeNXDomain = 3
	rcodeNotImp   = 4
	rcodeRefused  = 5
	rcodeBadVers  = 16
)

// Types and classes that are treated apart.
const (
	typeA     uint16 = 1
	typeSOA   uint16 = 6
	typeAAAA  uint16 = 28
	typeHTTPS uint16 = 65
	typeANY   uint16 = 255
	classIN   uint16 = 1
)

const (
	maxQueryBytes   = 4096 // no question needs more, padding included
	maxQueryRecords = 8    // additional records of a query: OPT, TSIG and room
)

// readQuestion reads a query and says how to answer one that is not a question
// this door takes: rcodeNoError to go on, rcodeDrop to say nothing, or the
// error to reply with. Whatever could be read is in q either way.
func readQuestion(packet []byte) (q question, rcode int) {
	if len(packet) < headerBytes {
		return q, rcodeDrop // nothing to address a reply with
	}
	q.id = binary.BigEndian.Uint16(packet)
	q.flags = binary.BigEndian.Uint16(packet[2:])
	if q.flags&flagQR != 0 {
		return q, rcodeDrop // answering answers makes two servers talk for ever
	}
	if q.flags&maskOpcode != 0 {
		return q, rcodeNotImp
	}
	if binary.BigEndian.Uint16(packet[4:]) != 1 {
		return q, rcodeFormErr // RFC 9619
	}
	name, off, ok := readName(packet, headerBytes)
	if !ok || len(packet) < off+4 {
		return q, rcodeFormErr
	}
	q.qtype = binary.BigEndian.Uint16(packet[off:])
	q.class = binary.BigEndian.Uint16(packet[off+2:])
	off += 4
	q.section = packet[headerBytes:off]
	q.wire = lowerName(name)
	if !lookupType(q.qtype) {
		return q, rcodeNotImp
	}
	if packet[6]|packet[7]|packet[8]|packet[9] != 0 {
		return q, rcodeFormErr // answers and authorities in a query
	}
	if !q.readAdditional(packet, off) {
		return q, rcodeFormErr
	}
	if q.edns.version != 0 {
		return q, rcodeBadVers
	}
	if q.class != classIN {
		return q, rcodeRefused
	}
	return q, rcodeNoError
}

// readAdditional takes the OPT record from the additional section. Other
// records there are skipped (a TSIG nobody checks), but the section must be
// whole and end with the packet.
func (q *question) readAdditional(packet []byte, off int) bool {
	count := int(binary.BigEndian.Uint16(packet[10:]))
	if count > maxQueryRecords {
		return false
	}
	for range count {
		owner := off
		next, ok := skipName(packet, off)
		if !ok || len(packet) < next+10 {
			return false
		}
		kind := binary.BigEndian.Uint16(packet[next:])
		class := binary.BigEndian.Uint16(packet[next+2:])
		ttl := binary.BigEndian.Uint32(packet[next+4:])
		off = next + 10 + int(binary.BigEndian.Uint16(packet[next+8:]))
		if off > len(packet) {
			return false
		}
		if kind != typeOPT {
			continue
		}
		if q.edns.present || packet[owner] != 0 {
			return false // RFC 6891 §6.1.1: one OPT, owned by the root
		}
		q.edns = parseOPT(class, ttl)
	}
	return off == len(packet)
}

// lookupType reports whether a type asks for records of a name. OPT, TKEY,
// TSIG, zone transfers and the obsolete mail types do not (RFC 6895 §3.1); ANY
// does.
func lookupType(qtype uint16) bool {
	return qtype != 0 && qtype != typeOPT && (qtype < 249 || qtype > 254)
}
