package dnswire

import "encoding/binary"

// Question is what a packet asks, read from its raw bytes. Section and the
// slices in EDNS lead into the packet. A Question is large: keep one and read
// into it again.
type Question struct {
	ID      uint16
	Flags   uint16
	Section []byte // the question section as sent; nil where it could not be read
	Type    uint16
	Class   uint16
	EDNS    EDNS

	length int // of the name in lower
	lower  [MaxNameBytes]byte
}

// Name is the name in lower-case wire form; empty where none could be read. It
// is good until the next Read.
func (q *Question) Name() []byte { return q.lower[:q.length] }

// Read reads a query and says how to answer one that is not a question a
// resolver takes: RcodeNoError to go on, RcodeDrop to say nothing,
// RcodeCookieQuery where only a cookie is asked for, or the error to reply with. Whatever could be read is in q either way.
func (q *Question) Read(packet []byte) (rcode int) {
	q.ID, q.Flags, q.Section, q.Type, q.Class, q.EDNS, q.length = 0, 0, nil, 0, 0, EDNS{}, 0
	if len(packet) < HeaderBytes {
		return RcodeDrop // nothing to address a reply with
	}
	q.ID = binary.BigEndian.Uint16(packet)
	q.Flags = binary.BigEndian.Uint16(packet[2:])
	if q.Flags&FlagQR != 0 {
		return RcodeDrop // answering answers makes two servers talk for ever
	}
	if q.Flags&MaskOpcode != 0 {
		return RcodeNotImp
	}
	switch binary.BigEndian.Uint16(packet[4:]) {
	case 1:
	case 0:
		return q.readCookieQuery(packet)
	default:
		return RcodeFormErr // RFC 9619
	}
	off, ok := q.readName(packet)
	if !ok || len(packet) < off+4 {
		return RcodeFormErr
	}
	q.Type = binary.BigEndian.Uint16(packet[off:])
	q.Class = binary.BigEndian.Uint16(packet[off+2:])
	off += 4
	q.Section = packet[HeaderBytes:off]
	if !LookupType(q.Type) {
		return RcodeNotImp
	}
	if packet[6]|packet[7]|packet[8]|packet[9] != 0 {
		return RcodeFormErr // answers and authorities in a query
	}
	if !q.readAdditional(packet, off) {
		return RcodeFormErr
	}
	if q.EDNS.Version != 0 {
		return RcodeBadVers
	}
	return RcodeNoError
}

// readCookieQuery reads a query without a question, by which a client may ask
// for a server cookie (RFC 7873 §5.4).
func (q *Question) readCookieQuery(packet []byte) (rcode int) {
	if packet[6]|packet[7]|packet[8]|packet[9] != 0 || !q.readAdditional(packet, HeaderBytes) {
		return RcodeFormErr
	}
	switch {
	case q.EDNS.Version != 0:
		return RcodeBadVers
	case !q.EDNS.HasCookie:
		return RcodeFormErr
	default:
		return RcodeCookieQuery
	}
}

// readName reads the name behind the header, in lower case, and returns the
// offset behind it. A compression pointer is refused: a question, the first
// name of its packet, has nothing to point to.
func (q *Question) readName(packet []byte) (next int, ok bool) {
	for at := HeaderBytes; at < len(packet); {
		length := int(packet[at])
		end := at + 1 + length
		if length > MaxLabelBytes || end > len(packet) || end-HeaderBytes > MaxNameBytes {
			return 0, false
		}
		from := at - HeaderBytes
		q.lower[from] = byte(length)
		if length == 0 {
			q.length = end - HeaderBytes
			return end, true
		}
		for i, c := range packet[at+1 : end] {
			q.lower[from+1+i] = lowerByte(c)
		}
		at = end
	}
	return 0, false
}

// readAdditional takes the OPT record from the additional section. Other
// records there are skipped (a TSIG nobody checks), but the section must be
// whole and end with the packet.
func (q *Question) readAdditional(packet []byte, off int) bool {
	count := int(binary.BigEndian.Uint16(packet[10:]))
	if count > maxQueryRecords {
		return false
	}
	for range count {
		owner := off
		next, ok := SkipName(packet, off)
		if !ok || len(packet) < next+10 {
			return false
		}
		kind := binary.BigEndian.Uint16(packet[next:])
		off = next + 10 + int(binary.BigEndian.Uint16(packet[next+8:]))
		if off > len(packet) {
			return false
		}
		if kind != TypeOPT {
			continue
		}
		if q.EDNS.Present || packet[owner] != 0 {
			return false // RFC 6891 §6.1.1: one OPT, owned by the root
		}
		if !q.EDNS.read(packet[next+2:next+10], packet[next+10:off]) {
			return false
		}
	}
	return off == len(packet)
}

// LookupType reports whether a type asks for records of a name. OPT, TKEY,
// TSIG, zone transfers and the obsolete mail types do not (RFC 6895 §3.1); ANY
// does.
func LookupType(qtype uint16) bool {
	return qtype != 0 && qtype != TypeOPT && (qtype < 249 || qtype > 254)
}
