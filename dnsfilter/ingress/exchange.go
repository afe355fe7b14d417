package ingress

import (
	"sync"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
)

// Sizes of memory that is used again.
const (
	burstIn       = 4096     // of a stream, read at a time
	burstOut      = 16 << 10 // of replies, written at a time
	smallQuery    = 512      // what nearly all queries fit into
	replyRoom     = 2 + 1500 // what nearly all replies fit into, with their length
	largestKept   = 8 << 10  // of memory for one query or reply
	lengthBytes   = 2        // RFC 1035 §4.2.2
	largestLength = 1<<16 - 1
)

// burst is what one reader works with for as long as there is something to
// read: its desk, what has come in and is not looked at yet, and the replies
// that go out together. A reader that waits for its client has none.
type burst struct {
	desk Desk
	in   []byte // burstIn bytes
	out  []byte // framed replies
}

// bursts lends bursts. Desks that nobody uses for long are forgotten by it.
type bursts struct{ pool sync.Pool }

func newBursts(door Door) *bursts {
	b := &bursts{}
	b.pool.New = func() any {
		return &burst{desk: door.Desk(), in: make([]byte, burstIn), out: make([]byte, 0, burstOut)}
	}
	return b
}

func (b *bursts) get() *burst { return b.pool.Get().(*burst) }

func (b *bursts) put(w *burst) {
	w.out = w.out[:0]
	b.pool.Put(w)
}

// exchange is one query with memory of its own, which outlives its reader's
// burst, and room for its reply.
type exchange struct {
	query Query
	wire  []byte
	frame []byte // length and reply
}

// exchanges lends exchanges.
type exchanges struct{ pool sync.Pool }

func newExchanges() *exchanges {
	e := &exchanges{}
	e.pool.New = func() any {
		return &exchange{wire: make([]byte, smallQuery), frame: make([]byte, lengthBytes, replyRoom)}
	}
	return e
}

func (e *exchanges) get() *exchange { return e.pool.Get().(*exchange) }

func (e *exchanges) put(x *exchange) {
	x.query = Query{} // holds a Peer, and whose query it was
	if cap(x.frame) > largestKept || cap(x.wire) > largestKept {
		return
	}
	e.pool.Put(x)
}

// room is memory for a query of length bytes, which must be in bounds.
func (x *exchange) room(length int) []byte {
	if length > cap(x.wire) {
		x.wire = make([]byte, dnswire.MaxQueryBytes)
	}
	x.wire = x.wire[:length]
	return x.wire
}

// queryLength reports whether a query can be as long as its prefix says.
func queryLength(length int) bool {
	return length >= dnswire.HeaderBytes && length <= dnswire.MaxQueryBytes
}

// framed puts a length in front of a reply that was written into frame behind
// room for it, or that is in memory of its own. It reports false where there
// is no reply, or one that no frame can hold.
func framed(frame, reply []byte) ([]byte, bool) {
	if len(reply) == 0 || len(reply) > largestLength {
		return frame[:lengthBytes], false
	}
	frame = append(frame[:lengthBytes], reply...)
	frame[0], frame[1] = byte(len(reply)>>8), byte(len(reply))
	return frame, true
}
