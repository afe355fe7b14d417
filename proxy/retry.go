package proxy

import "slices"

// maxEarlyData is how many bytes of early data a client may send before a
// second ClientHello is looked for no more. Servers that do not take early data
// skip some 16 KB of it at most (RFC 8446 §4.2.10), and then give up.
const maxEarlyData = 64 << 10

// retryState says how far the reading of what follows a ClientHello has come.
type retryState uint8

const (
	retryOpen     retryState = iota // a second one may still come
	retryOver                       // none can come any more
	retryReadable                   // it is there, and names what the first one did
	retryRefused                    // it is there, and names something else, or cannot be read
)

// retryReader reads what a client sends behind its ClientHello for as long as
// that may be a second one, which a server can ask for by HelloRetryRequest (RFC
// 8446 §4.1.4). It is in the clear, it must name what the first one named
// (§4.1.2), and there are servers that go by the second: a client could show an
// allowed name first, and mean another.
//
// Records that are no handshake go on as they come. A record that might be a
// part of a second hello is held until it is clear what it is; how long that
// takes does not matter, since it goes nowhere meanwhile.
type retryReader struct {
	names []string // of the first hello
	early bool     // the first one announced early data

	skip    int    // bytes of the present record that go on unread
	skipped int    // bytes of early data
	held    []byte // records and parts of records that have not gone on
	next    int    // in held: where the next record starts
	free    int    // in held: how much may go on
	message []byte // the handshake message in held, without record headers
}

// feed takes the next bytes, and gives those that may go on. It must not be
// called again after anything but retryOpen, when all that was held is given,
// unless it is refused.
func (r *retryReader) feed(piece []byte) (forward []byte, state retryState) {
	r.held = append(r.held, piece...)
	for done := false; !done && state == retryOpen; {
		state, done = r.record()
	}
	switch {
	case state == retryOver || state == retryReadable:
		return r.held, state
	case state == retryRefused || len(r.held)-r.free > 2*maxHelloBytes:
		return nil, retryRefused // the latter comes in too small pieces, or with too much between them
	}
	if r.free == 0 {
		return nil, retryOpen
	}
	forward = r.held[:r.free:r.free]
	r.held, r.next, r.free = slices.Clone(r.held[r.free:]), r.next-r.free, 0
	return forward, retryOpen
}

// record reads one record, or as much of it as there is; done where there is
// nothing left to read.
func (r *retryReader) record() (_ retryState, done bool) {
	if r.skip > 0 {
		n := min(r.skip, len(r.held)-r.next)
		r.skip -= n
		r.next += n
		if len(r.message) == 0 {
			r.free = r.next // no hello has begun before
		}
		return retryOpen, r.skip > 0
	}
	rest := r.held[r.next:]
	if len(rest) == 0 {
		return retryOpen, true
	}
	switch kind := rest[0]; {
	case kind < recordChangeCipherSpec || kind > recordApplicationData:
		return retryOver, true
	case kind == recordApplicationData && (!r.early || r.skipped > maxEarlyData):
		return retryOver, true
	case len(rest) < 5:
		return retryOpen, true
	}
	length := int(rest[3])<<8 | int(rest[4])
	if length > maxRecordLength {
		return retryOver, true // no server takes it
	}
	if rest[0] != recordHandshake {
		r.skip = 5 + length
		if rest[0] == recordApplicationData {
			r.skipped += length
		}
		return retryOpen, false
	}
	if len(r.message) == 0 && length > 0 && len(rest) > 5 && rest[5] != 1 {
		return retryOver, true // another handshake message: the hello was taken
	}
	if len(rest) < 5+length {
		return retryOpen, true
	}
	r.message = append(r.message, rest[5:5+length]...)
	r.next += 5 + length
	return r.judge(), false
}

// judge looks at what there is of a handshake message. What begins like a
// ClientHello may be an encrypted message of an older version that begins so by
// chance; a length that no server takes tells most of them.
func (r *retryReader) judge() retryState {
	m := r.message
	switch {
	case len(m) > 0 && m[0] != 1, len(m) > 1 && m[1] > 1:
		return retryOver
	case len(m) < 4:
		return retryOpen
	}
	length := int(m[1])<<16 | int(m[2])<<8 | int(m[3])
	if length > maxHelloBytes {
		return retryRefused
	}
	if len(m) < 4+length {
		return retryOpen
	}
	hello, ok := readHello(m[4 : 4+length])
	if !ok || len(m) > 4+length || !slices.Equal(hello.names, r.names) {
		return retryRefused
	}
	return retryReadable
}
