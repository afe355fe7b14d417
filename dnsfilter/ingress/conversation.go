package ingress

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// pipelined is how many queries of one connection are under way at a time. The
// next is not read before one of them is answered.
const pipelined = 16

// conversation is one connection of a TCP or TLS client. Its reader answers
// what a Desk can answer as it reads, and gives the rest to goroutines, whose
// replies go out as they become ready (RFC 7766 §6.2.1.1).
//
// The reader is told by waiting when it is about to wait for the client, and
// then lets go of everything: replies are written, memory is given back.
type conversation struct {
	streams *streams
	member  *member
	outbox  outbox
	input   io.Reader // what the client sends; calls waiting before it waits

	burst   *burst    // nil while there is nothing to do
	begun   bool      // its desk has been told to begin
	unread  []byte    // of burst.in
	current *exchange // being read, or its memory spare; nil while there is nothing to do
	reading bool      // a query has been read in part
	armed   bool      // the query being read has been given its time
	ended   bool      // the client has closed its side, or the connection is broken
	refused bool      // it has sent what is no query
	prefix  [lengthBytes]byte

	query    Query         // the one being tried
	arrived  time.Time     // of what was read last; zero until a query needs it
	places   chan struct{} // of queries under way; made with the first of them
	underWay sync.WaitGroup
}

var (
	errMalformed = errors.New("read query: its length is impossible")
	errSentAway  = errors.New("read query: the connection has been sent away")
)

// run answers queries until the client is done, idle or wrong, and returns
// when the last reply has gone out.
func (c *conversation) run(ctx context.Context) {
	defer c.underWay.Wait()
	defer c.rest()
	for {
		wire, err := c.next()
		if err != nil {
			return
		}
		if !c.answer(ctx, wire) {
			return
		}
		if c.member.is(stranger) {
			return // told once; strangers hold no connection
		}
	}
}

// next reads a query. Anything longer than a question can be ends the
// connection unread, so that a length buys nobody memory.
func (c *conversation) next() (wire []byte, err error) {
	for {
		err = c.read(c.prefix[:1])
		if err == nil {
			break
		}
		if c.ended || !c.member.busy() || c.streams.stopped.Load() {
			return nil, err
		}
		c.armed = false // a client that waits for a reply is not idle
	}
	c.reading = true
	if err = c.read(c.prefix[1:]); err != nil {
		return nil, err
	}
	length := int(binary.BigEndian.Uint16(c.prefix[:]))
	if !queryLength(length) {
		c.streams.shed(ShedMalformed, 1)
		c.refused = true
		return nil, errMalformed
	}
	if c.current == nil {
		c.current = c.streams.exchanges.get()
	}
	wire = c.current.room(length)
	if err = c.read(wire); err != nil {
		return nil, err
	}
	c.reading, c.armed = false, false
	return wire, nil
}

// read fills p. Any error but that of a deadline is the client's last word.
func (c *conversation) read(p []byte) error {
	_, err := io.ReadFull(c.input, p)
	c.ended = err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
	return err
}

// answer answers a query or has it answered. It reports false when there is to
// be no other.
func (c *conversation) answer(ctx context.Context, wire []byte) bool {
	if err := c.begin(); err != nil {
		return false
	}
	if cap(c.burst.out)-len(c.burst.out) < replyRoom && c.write() != nil {
		return false
	}
	c.query.Wire = wire
	start := len(c.burst.out)
	room := c.burst.out[start : start+lengthBytes : cap(c.burst.out)]
	reply, done := c.burst.desk.Try(&c.query, room[lengthBytes:])
	if !done {
		return c.delegate(ctx)
	}
	if frame, ok := framed(room, reply); ok {
		c.keep(start, frame)
	}
	return true
}

// keep adds a frame, made in the burst's memory where it fitted, to what is
// written at the end of the burst.
func (c *conversation) keep(start int, frame []byte) {
	if start+len(frame) <= cap(c.burst.out) {
		c.burst.out = c.burst.out[:start+len(frame)]
		return
	}
	c.burst.out = append(c.burst.out, frame...)
}

// delegate has a query answered by a goroutine, once there is a place for it
// among the connection's and one among everybody's.
func (c *conversation) delegate(ctx context.Context) bool {
	if c.arrived.IsZero() {
		c.arrived = time.Now()
	}
	c.query.Arrived = c.arrived
	if c.places == nil {
		c.places = make(chan struct{}, pipelined)
	}
	select {
	case c.places <- struct{}{}:
	default:
		c.settle() // the rest need not wait with it
		c.places <- struct{}{}
	}
	if !c.streams.slots.tryTake() {
		c.settle()
		if !c.streams.slots.take(ctx, c.streams.idle) {
			c.streams.shed(ShedBusy, 1)
			<-c.places
			return false
		}
	}
	if !c.member.begin() {
		c.streams.slots.give()
		<-c.places
		return false
	}
	x := c.current
	x.query, c.current = c.query, nil
	c.underWay.Go(func() { c.respond(ctx, x) })
	return true
}

func (c *conversation) respond(ctx context.Context, x *exchange) {
	reply := c.streams.door.Respond(ctx, &x.query, x.frame[lengthBytes:])
	c.streams.slots.give() // a client that is slow to read keeps nobody else's query waiting
	var ok bool
	if x.frame, ok = framed(x.frame, reply); ok {
		c.outbox.post(x.frame)
	}
	c.streams.exchanges.put(x)
	c.member.end(c.streams.crowd.now())
	<-c.places
}

// begin begins a burst, unless one has begun.
func (c *conversation) begin() error {
	if c.begun {
		return nil
	}
	if !c.member.begin() {
		return errSentAway
	}
	if c.burst == nil {
		c.burst = c.streams.bursts.get()
	}
	c.begun = true
	c.burst.desk.Begin()
	return nil
}

// waiting is called before the reader waits for the client: it lets go of what
// it has, and gives the next query its time.
func (c *conversation) waiting() {
	c.rest()
	c.arrived = time.Time{}
	if !c.armed {
		c.armed = true
		c.streams.arm(c.outbox.conn)
	}
}

// rest ends a burst and gives its memory back.
func (c *conversation) rest() {
	c.settle()
	if c.burst != nil {
		c.streams.bursts.put(c.burst)
		c.burst = nil
	}
	if c.current != nil && !c.reading {
		c.streams.exchanges.put(c.current)
		c.current = nil
	}
}

// settle ends a burst: replies go out, and the desk is told.
func (c *conversation) settle() {
	if !c.begun {
		return
	}
	_ = c.write() // fails the reading too
	c.burst.desk.End()
	c.begun = false
	c.member.end(c.streams.crowd.now())
}

// write writes the replies of the burst so far.
func (c *conversation) write() error {
	if len(c.burst.out) == 0 {
		return nil
	}
	frames := c.burst.out
	c.burst.out = c.burst.out[:0]
	return c.outbox.write(frames)
}

// tlsInput is what a TLS connection is read from: it tells the conversation
// when everything that came has been decrypted and more is needed. Writing to
// a TLS connection while it is being read is what its own documentation allows.
type tlsInput struct {
	*net.TCPConn
	waiting func()
}

// Read reads as TCPConn does.
func (t *tlsInput) Read(p []byte) (int, error) {
	t.waiting()
	return t.TCPConn.Read(p)
}
