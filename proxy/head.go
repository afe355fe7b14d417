package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/sallyport/sallyport/policy"
)

// head is what a request's head says and net/http does not pass on.
//
// A request with a whole URI may name another host in its Host field. net/http
// drops that field, as RFC 9112 §3.2.2 demands, so that the origin never sees
// it; but it is something that the client says of its destination, and the
// policy judges such things.
type head struct {
	line    string // the request line
	host    string // the Host field
	hasHost bool
	fault   error // why the request cannot be served; nil: it can
}

// Bounds of what is kept for a connection.
const (
	// headSlack is how much longer than MaxHeaderBytes a head may be before
	// net/http refuses it: it allows for its buffer, which may hold the start
	// of a head besides.
	headSlack = 8 << 10

	// maxHeads bounds the heads that wait for net/http to come to them. It
	// reads 4 KiB ahead, and no request that is good for anything is shorter
	// than 16 bytes.
	maxHeads = 256

	// maxFields bounds the fields of a head. Browsers send twenty.
	maxFields = 256
)

// errManyFields is what is wrong with a head of too many fields. It is no sign
// of anything, and has a status of its own (RFC 6585 §5).
var errManyFields = errors.New("the request has too many header fields")

// framing says what the next byte of a connection belongs to.
type framing uint8

const (
	framingLine      framing = iota // a request line, or empty lines before it
	framingFields                   // the fields of a head
	framingChunkSize                // the line before a chunk
	framingChunkEnd                 // the empty line behind one
	framingTrailer                  // the fields behind the last one
	framingLost                     // that is not known any more
)

// heads follows the bytes that net/http reads from a connection, and keeps the
// head of each request until the request is served. Clients may send requests
// without waiting for answers, so it has to know where each of them ends: it
// frames as net/http does, accepts no more than that, and where a request can
// be framed in two ways it is not served at all: net/http forgives lines that
// end without CR, and others who read the same bytes may not (RFC 9112 §2.2).
//
// Safe for concurrent use: net/http reads ahead while a request is served.
type heads struct {
	limit int // bytes of a head

	mu      sync.Mutex
	state   framing
	skip    int64  // content to come before state applies
	line    []byte // the start of a line whose end has not come
	size    int    // bytes of what is being read
	reading head
	fields  int
	length  int64 // of its content
	lengths int   // Content-Length fields
	chunked bool
	waiting []head
}

// take looks at bytes that have just been read.
func (h *heads) take(data []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(data) > 0 && h.state != framingLost {
		if h.skip > 0 {
			n := min(h.skip, int64(len(data)))
			h.skip -= n
			data = data[n:]
			continue
		}
		piece, rest, whole := bytes.Cut(data, []byte("\n"))
		data = rest
		if h.size += len(piece) + 1; h.size > h.limit {
			h.lose()
			return
		}
		if !whole {
			h.line = append(h.line, piece...)
			return
		}
		if len(h.line) > 0 {
			h.line = append(h.line, piece...)
			piece = h.line
		}
		h.endLine(bytes.CutSuffix(piece, []byte("\r")))
		h.line = h.line[:0]
	}
}

// endLine takes a whole line, without its end, and whether that was CR LF.
func (h *heads) endLine(line []byte, whole bool) {
	clear := whole && bytes.IndexByte(line, '\r') < 0 && bytes.IndexByte(line, 0) < 0
	if h.state <= framingFields {
		h.endHeadLine(line, clear)
		return
	}
	if !clear {
		h.lose()
		return
	}
	switch h.state {
	case framingChunkSize:
		switch n, ok := chunkSize(line); {
		case !ok:
			h.lose()
		case n == 0:
			h.size, h.state = 0, framingTrailer
		default:
			h.size, h.skip, h.state = 0, n, framingChunkEnd
		}
	case framingChunkEnd:
		h.size, h.state = 0, framingChunkSize
		if len(line) > 0 {
			h.lose()
		}
	case framingTrailer:
		if len(line) == 0 {
			h.size, h.state = 0, framingLine
		}
	}
}

// endHeadLine is endLine in a head.
func (h *heads) endHeadLine(line []byte, clear bool) {
	switch {
	case h.state == framingLine && len(line) == 0:
		if !clear { // else net/http forgives empty lines behind a POST
			h.lose()
		}
		return
	case h.state == framingLine:
		h.reading, h.fields, h.length, h.lengths, h.chunked = head{line: string(line)}, 0, 0, 0, false
		h.state = framingFields
	case len(line) > 0:
		h.field(line)
	}
	if !clear {
		h.fail("a line of the request does not end with CR LF, or has a control character in it")
	}
	if len(line) == 0 {
		h.endHead()
	}
}

// chunkSize reads the line before a chunk (RFC 9112 §7.1). The extensions that
// may follow the size are nobody's business.
func chunkSize(line []byte) (n int64, ok bool) {
	text, _, _ := bytes.Cut(line, []byte(";"))
	if len(text) == 0 || text[0] == '+' || text[0] == '-' {
		return 0, false // strconv reads signs
	}
	n, err := strconv.ParseInt(string(text), 16, 64)
	return n, err == nil
}

// field takes a line of a head.
func (h *heads) field(line []byte) {
	if line[0] == ' ' || line[0] == '\t' {
		h.fail("a header field goes on in a second line") // RFC 9112 §5.2
		return
	}
	if h.fields++; h.fields > maxFields {
		h.reading.fault = errManyFields
		return
	}
	name, text, _ := bytes.Cut(line, []byte(":"))
	value := bytes.Trim(text, " \t")
	switch {
	case bytes.EqualFold(name, []byte("Host")):
		if h.reading.hasHost {
			h.fail("there are two Host fields")
		}
		h.reading.host, h.reading.hasHost = string(value), true
	case bytes.EqualFold(name, []byte("Content-Length")):
		length, err := strconv.ParseUint(string(value), 10, 63)
		h.lengths++
		if err != nil || h.lengths > 1 {
			h.fail("the length of the content is not clear")
		}
		h.length = int64(length)
	case bytes.EqualFold(name, []byte("Transfer-Encoding")):
		if h.chunked || !bytes.EqualFold(value, []byte("chunked")) {
			h.fail("the transfer encoding is not known")
		}
		h.chunked = true
	}
}

// endHead has the head that was read wait for its request.
func (h *heads) endHead() {
	// RFC 9112 §6.1: both are signs of somebody smuggling a request.
	if h.chunked && (h.lengths > 0 || strings.HasSuffix(h.reading.line, " HTTP/1.0")) {
		h.fail("the length of the content is not clear")
	}
	if len(h.waiting) >= maxHeads {
		h.lose()
		return
	}
	h.waiting = append(h.waiting, h.reading)
	switch {
	case h.reading.fault != nil:
		h.state = framingLost // nothing behind it will be served
	case h.chunked:
		h.state = framingChunkSize
	default:
		h.skip, h.state = h.length, framingLine
	}
	h.reading, h.size = head{}, 0
}

func (h *heads) fail(why string) { h.reading.fault = errors.New(why) }

// lose gives up on what comes. The heads that wait are good.
func (h *heads) lose() {
	h.state, h.line, h.reading = framingLost, nil, head{}
}

// stop forgets everything: the connection is taken away from net/http.
func (h *heads) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lose()
	h.waiting = nil
}

// next returns the head of r, which must be the request that net/http has come
// to. It must be called once for each request. After an error the connection
// must be closed: where requests begin is not known any more.
func (h *heads) next(r *http.Request) (head, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.waiting) == 0 {
		return head{}, errors.New("the request could not be told from what came before it")
	}
	first := h.waiting[0]
	h.waiting = append(h.waiting[:0], h.waiting[1:]...)
	switch {
	case first.fault != nil:
		return head{}, first.fault
	case first.line != r.Method+" "+r.RequestURI+" "+r.Proto:
		h.lose()
		h.waiting = nil
		return head{}, errors.New("the request could not be told from what came before it")
	}
	return first, nil
}

// more reports whether anything has come behind the request that is served,
// or its content has not come whole.
func (h *heads) more() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.waiting) > 0 || h.skip > 0 || h.size > 0 || h.state != framingLine
}

// claimed is the host that the Host field names; ok is false where there is no
// field, or where it names the URI's host. The error is one of the client's.
func (h head) claimed(uri policy.Host) (claimed policy.Host, ok bool, err error) {
	if !h.hasHost {
		return policy.Host{}, false, nil // HTTP/1.0 has no such field
	}
	claimed, err = policy.ParseHost(withoutPort(h.host))
	if err != nil {
		return policy.Host{}, false, fmt.Errorf("field Host: %w", err)
	}
	return claimed, claimed != uri, nil
}

// withoutPort cuts the port off a Host field.
func withoutPort(authority string) string {
	if name, _, err := net.SplitHostPort(authority); err == nil {
		return name
	}
	return authority
}
