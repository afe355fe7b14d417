package proxy

import (
	"golang.org/x/crypto/cryptobyte"
)

// Bounds of a ClientHello. The largest seen in the wild, with post-quantum key
// shares and padding, is a few kilobytes.
const (
	maxHelloBytes   = 64 << 10
	maxRecordLength = 1<<14 + 2048 // RFC 5246 §6.2.3
)

// helloState says how far the reading of a ClientHello has come.
type helloState uint8

const (
	helloPartial  helloState = iota // more bytes are needed
	helloForeign                    // this is not TLS
	helloComplete                   // read whole
	helloBroken                     // this is TLS, and cannot be read
)

// helloReader reads the ClientHello at the start of a byte stream, or else the
// head of a plain HTTP/1 request, without consuming it: raw keeps every byte that it was fed. The handshake message
// may be split over records and over reads in any way. Each byte is looked at
// once, however small the pieces are that a client sends.
type helloReader struct {
	raw     []byte // all that the client has sent
	next    int    // in raw: where the next record starts
	message []byte // the handshake message, without record headers
	hello
	clear *clearReader // once it is clear that this is not TLS
}

// hello is what is looked for in a ClientHello.
type hello struct {
	names  []string // at most one, of TLS
	hidden bool     // there is an encrypted ClientHello inside, or what looks like one
	early  bool     // early data may follow (RFC 8446 §4.2.10)
}

// feed takes the next bytes and says how things stand. It must not be called
// again after anything but helloPartial.
func (h *helloReader) feed(data []byte) helloState {
	h.raw = append(h.raw, data...)
	if h.clear != nil {
		return h.feedClear(data)
	}
	for {
		if state := h.messageState(); state != helloPartial {
			return state
		}
		rest := h.raw[h.next:]
		if state := recordStart(rest, h.next == 0); state != helloComplete {
			if state == helloForeign {
				h.clear = &clearReader{}
				return h.feedClear(h.raw)
			}
			return h.bounded(state)
		}
		length := int(rest[3])<<8 | int(rest[4])
		if len(rest) < 5+length {
			return h.bounded(helloPartial)
		}
		h.message = append(h.message, rest[5:5+length]...)
		h.next += 5 + length
	}
}

// feedClear reads what is not TLS as a plain request.
func (h *helloReader) feedClear(data []byte) helloState {
	state := h.clear.feed(data)
	h.names = h.clear.names
	return h.bounded(state)
}

// late says what to make of a start that has not come whole in its time: it is
// broken. Half a ClientHello, or half a request, might become anything, and so
// might the first letters of one, or an empty line before it: what is no start
// of either has been told from them by its first byte that cannot be.
func (h *helloReader) late() helloState { return helloBroken }

// bounded gives up on a hello that does not end.
func (h *helloReader) bounded(state helloState) helloState {
	if state == helloPartial && len(h.raw) >= maxHelloBytes {
		return helloBroken
	}
	return state
}

// recordStart looks at a record's header (RFC 8446 §5.1): type handshake and a
// length that is not 0. Only the very first record can show that the stream is
// not TLS at all. The version says nothing: there are servers that take any
// below 16.0 in the first record, and some that let an alert come before the
// hello, so neither may pass for something else. helloComplete means a whole
// header.
func recordStart(b []byte, first bool) helloState {
	if len(b) == 0 {
		return helloPartial
	}
	if b[0] != recordHandshake {
		if !first || b[0] < recordChangeCipherSpec || b[0] > recordApplicationData {
			return foreignOrBroken(first)
		}
		if len(b) == 1 {
			return helloPartial
		}
		return foreignOrBroken(first && b[1] >= 16)
	}
	if len(b) < 5 {
		return helloPartial
	}
	if length := int(b[3])<<8 | int(b[4]); length == 0 || length > maxRecordLength {
		return helloBroken
	}
	return helloComplete
}

// Types of records (RFC 8446 §5.1), consecutive numbers.
const (
	recordChangeCipherSpec = 20
	recordHandshake        = 22
	recordApplicationData  = 23
)

func foreignOrBroken(foreign bool) helloState {
	if foreign {
		return helloForeign
	}
	return helloBroken
}

// messageState looks at what there is of the handshake message (RFC 8446 §4):
// type, three bytes of length, body.
func (h *helloReader) messageState() helloState {
	if len(h.message) > 0 && h.message[0] != 1 {
		return helloBroken
	}
	if len(h.message) < 4 {
		return helloPartial
	}
	length := int(h.message[1])<<16 | int(h.message[2])<<8 | int(h.message[3])
	if length > maxHelloBytes {
		return helloBroken
	}
	if len(h.message) < 4+length {
		return helloPartial
	}
	if len(h.message) > 4+length {
		return helloBroken // nobody has more to say before the server has answered
	}
	var ok bool
	if h.hello, ok = readHello(h.message[4 : 4+length]); !ok {
		return helloBroken
	}
	return helloComplete
}

// readHello reads the body of a ClientHello (RFC 8446 §4.1.2). There is one name
// at most (RFC 6066 §3): with several it would not be known which one its server
// takes. hidden is true for an outer ClientHello (RFC 9849 §5), and for what
// browsers send to look like one (§6.2).
func readHello(body []byte) (found hello, ok bool) {
	s := cryptobyte.String(body)
	var session, suites, compression, extensions cryptobyte.String
	if !s.Skip(2+32) || // legacy version, random
		!s.ReadUint8LengthPrefixed(&session) ||
		!s.ReadUint16LengthPrefixed(&suites) ||
		!s.ReadUint8LengthPrefixed(&compression) {
		return hello{}, false
	}
	if s.Empty() {
		return hello{}, true // a hello without extensions, RFC 5246 §7.4.1.2
	}
	if !s.ReadUint16LengthPrefixed(&extensions) || !s.Empty() {
		return hello{}, false
	}
	for !extensions.Empty() {
		var kind uint16
		var data cryptobyte.String
		if !extensions.ReadUint16(&kind) || !extensions.ReadUint16LengthPrefixed(&data) {
			return hello{}, false
		}
		switch kind {
		case extensionServerName:
			if found.names, ok = appendHostNames(found.names, data); !ok {
				return hello{}, false
			}
		case extensionEarlyData:
			found.early = true
		case extensionEncryptedHello:
			found.hidden = len(data) > 0 && data[0] == 0 // 1 is an inner one, which has nothing to hide
		}
	}
	return found, true
}

// Extensions of a ClientHello.
const (
	extensionServerName     = 0
	extensionEarlyData      = 42
	extensionEncryptedHello = 0xfe0d // RFC 9849 §5
)

// appendHostNames reads the server_name extension (RFC 6066 §3).
func appendHostNames(names []string, data cryptobyte.String) ([]string, bool) {
	var list cryptobyte.String
	if !data.ReadUint16LengthPrefixed(&list) || !data.Empty() {
		return nil, false
	}
	for !list.Empty() {
		var kind uint8
		var name cryptobyte.String
		if !list.ReadUint8(&kind) || !list.ReadUint16LengthPrefixed(&name) {
			return nil, false
		}
		if kind != 0 { // host_name
			continue
		}
		if len(names) > 0 {
			return nil, false
		}
		names = append(names, string(name))
	}
	return names, true
}
