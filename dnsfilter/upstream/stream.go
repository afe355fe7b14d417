package upstream

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
)

// stream is one connection, from the wish for it to its end. Its fields are
// guarded by its owner's lock; queries join while it is being made.
type stream struct {
	owner *streams
	wake  chan struct{} // there is something to write, or a new idle time
	dead  chan struct{} // closed at the end

	conn      net.Conn // nil: not there yet
	waiting   waiting
	pending   []byte // frames to write
	asked     int
	answered  int
	idle      time.Duration // how long it may stay unused
	lastUsed  time.Time
	lastHeard time.Time
	ended     bool
}

const (
	// defaultIdle is how long a connection is kept where the server does not
	// say. RFC 7766 §6.2.3 finds a few seconds to be right.
	defaultIdle = 10 * time.Second

	// maxIdle is how long it is kept at most, whatever the server allows.
	maxIdle = 2 * time.Minute

	streamBuffer = 4096
)

// load is how many ids are taken, by queries and by answers that may yet come.
func (st *stream) load() int { return len(st.waiting.byID) }

func (st *stream) addLocked(c *call) bool {
	if !st.waiting.add(c) {
		return false
	}
	binary.BigEndian.PutUint16(c.sent[lengthBytes:], c.id)
	st.pending = append(st.pending, c.sent...)
	st.asked++
	st.lastUsed = time.Now()
	st.signal()
	return true
}

func (st *stream) signal() {
	select {
	case st.wake <- struct{}{}:
	default: // awake already
	}
}

// giveUp takes c back, which was sent after begun; false: it is delivered
// already. overdue says that its time is over: when a connection has been
// silent for all of it, it leads nowhere any more, though nobody said so.
func (st *stream) giveUp(c *call, begun time.Time, overdue bool) bool {
	st.owner.mu.Lock()
	defer st.owner.mu.Unlock()
	if !st.waiting.giveUp(c) {
		return false
	}
	if overdue && st.conn != nil && st.lastHeard.Before(begun) {
		st.endLocked(fmt.Errorf("await the answer of %s: %w", st.owner.to.server.name, errSilent))
	}
	st.endIfSpentLocked()
	return true
}

// endIfSpentLocked ends a connection with many ids lost, once nobody waits on
// it.
func (st *stream) endIfSpentLocked() {
	if st.waiting.live == 0 && st.waiting.givenUp() >= maxGivenUp {
		st.endLocked(nil)
	}
}

// wasShared reports whether the connection carried more than one query.
func (st *stream) wasShared() bool {
	st.owner.mu.Lock()
	defer st.owner.mu.Unlock()
	return st.asked > 1
}

// letIdle sets how long the connection is kept, as its server wishes.
func (st *stream) letIdle(d time.Duration) {
	st.owner.mu.Lock()
	defer st.owner.mu.Unlock()
	if d = min(d, maxIdle); d != st.idle {
		st.idle = d
		st.signal()
	}
}

// run makes the connection, writes to it until its end, and closes it.
func (st *stream) run() {
	conn, err := st.owner.connect()
	if err != nil {
		st.end(err)
		return
	}
	defer conn.Close()
	if !st.established(conn) {
		return
	}
	if !st.owner.crew.start(func() { st.read(conn) }, st.end) {
		st.end(unreachable(ErrClosed))
		return
	}
	st.write(conn)
}

func (st *stream) established(conn net.Conn) bool {
	st.owner.mu.Lock()
	defer st.owner.mu.Unlock()
	st.conn = conn
	st.lastUsed = time.Now()
	return !st.ended
}

// write sends what queries leave, all that there is at once, and ends a
// connection that nobody uses.
func (st *stream) write(conn net.Conn) {
	idle := time.NewTimer(st.restFor())
	defer idle.Stop()
	var frames []byte
	for {
		select {
		case <-st.dead:
			return
		case <-idle.C:
		case <-st.wake:
			frames = st.takePending(frames)
			if err := writeAll(conn, frames); err != nil {
				st.end(fmt.Errorf("ask %s: %w: %w", st.owner.to.server.name, errCut, err))
				return
			}
		}
		rest := st.restFor()
		if rest == 0 {
			return
		}
		idle.Reset(rest)
	}
}

func writeAll(conn net.Conn, frames []byte) error {
	if len(frames) == 0 {
		return nil
	}
	if err := conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := conn.Write(frames)
	return err
}

func (st *stream) takePending(reuse []byte) []byte {
	st.owner.mu.Lock()
	defer st.owner.mu.Unlock()
	frames := st.pending
	st.pending = reuse[:0]
	return frames
}

// restFor is how long the connection may still rest; 0: it was unused for too
// long, and has ended.
func (st *stream) restFor() time.Duration {
	st.owner.mu.Lock()
	defer st.owner.mu.Unlock()
	if st.waiting.live > 0 {
		return max(st.idle, time.Second)
	}
	rest := st.idle - time.Since(st.lastUsed)
	if rest <= 0 && len(st.pending) == 0 {
		st.endLocked(nil)
		return 0
	}
	return max(rest, time.Millisecond)
}

// read delivers answers until the connection ends.
func (st *stream) read(conn net.Conn) {
	reader := bufio.NewReaderSize(conn, streamBuffer)
	var message []byte
	for {
		var err error
		if message, err = readMessage(reader, message); err == nil {
			err = st.receive(message)
		}
		if err == nil {
			continue
		}
		var known *Error
		if !errors.As(err, &known) {
			err = fmt.Errorf("await the answer of %s: %w: %w", st.owner.to.server.name, errCut, err)
		}
		st.end(err)
		return
	}
}

// readMessage reads one message behind its length (RFC 1035 §4.2.2) into
// reuse's memory where it fits.
func readMessage(r io.Reader, reuse []byte) ([]byte, error) {
	message := slices.Grow(reuse[:0], lengthBytes)[:lengthBytes]
	if _, err := io.ReadFull(r, message); err != nil {
		return message, err
	}
	length := int(binary.BigEndian.Uint16(message))
	if length < dnswire.HeaderBytes {
		return message, garbled("an upstream resolver sent a malformed answer", nil)
	}
	message = slices.Grow(message[:0], length)[:length]
	_, err := io.ReadFull(r, message)
	return message, err
}

// receive delivers one message. Nobody but the server can write here, so an
// answer to something else means that one side has lost the thread.
func (st *stream) receive(message []byte) error {
	st.owner.mu.Lock()
	defer st.owner.mu.Unlock()
	id := binary.BigEndian.Uint16(message)
	c, known := st.waiting.byID[id]
	if !known {
		return anotherQuestion()
	}
	st.lastHeard, st.lastUsed = time.Now(), time.Now()
	if c == nil { // given up: it is late
		delete(st.waiting.byID, id)
		return nil
	}
	if compare(message, c.query, c.name) != ours {
		return anotherQuestion()
	}
	st.answered++
	st.waiting.remove(id)
	c.deliver(message, nil)
	st.endIfSpentLocked()
	return nil
}

func (st *stream) end(err error) {
	st.owner.mu.Lock()
	defer st.owner.mu.Unlock()
	st.endLocked(err)
}

// endLocked takes the connection out of use and hands back every call with
// err. run closes it.
func (st *stream) endLocked(err error) {
	if st.ended {
		return
	}
	st.ended = true
	if errors.Is(err, errCut) && !errors.Is(err, errSilent) && st.asked > 1 && st.answered <= 1 && st.waiting.live > 0 {
		// One answer at most, of several: an old server, or a small one.
		st.owner.shyUntil = st.owner.now().Add(shyTime)
	}
	if st.conn != nil {
		_ = st.conn.SetDeadline(time.Unix(1, 0)) // whoever reads or writes stops
	}
	close(st.dead)
	conns := st.owner.conns
	if i := slices.Index(conns, st); i >= 0 {
		st.owner.conns = slices.Delete(conns, i, i+1)
	}
	st.waiting.deliverAll(err)
}
