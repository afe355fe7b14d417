package ingress

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// maxBacklog is how many bytes of replies wait, over all connections of a
// listener, for clients that are slow to read what they asked for.
const maxBacklog = 32 << 20

// outbox writes the replies of one connection. Those that become ready while
// another is on its way go out together behind it.
type outbox struct {
	conn     net.Conn
	patience time.Duration // for what is written to leave
	backlog  *atomic.Int64 // bytes that wait, of all connections
	cut      func()        // closes the connection at once

	writing sync.Mutex

	mu      sync.Mutex
	waiting []byte
}

// write writes frames, waiting for those before them. A client that does not
// take them in time is cut off: half a frame makes the rest unreadable.
func (o *outbox) write(frames []byte) error {
	o.writing.Lock()
	defer o.writing.Unlock()
	return o.deliver(frames)
}

// post writes a frame that may wait for others, and be written with them by
// whoever is next.
func (o *outbox) post(frame []byte) {
	if o.writing.TryLock() {
		defer o.writing.Unlock()
		_ = o.deliver(frame)
		return
	}
	if !o.queue(frame) {
		o.cut()
		return
	}
	o.writing.Lock()
	defer o.writing.Unlock()
	if frames := o.takeWaiting(); len(frames) > 0 {
		_ = o.deliver(frames)
	}
}

func (o *outbox) queue(frame []byte) bool {
	if o.backlog.Add(int64(len(frame))) > maxBacklog {
		o.backlog.Add(-int64(len(frame)))
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiting = append(o.waiting, frame...)
	return true
}

func (o *outbox) takeWaiting() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	frames := o.waiting
	o.waiting = nil
	o.backlog.Add(-int64(len(frames)))
	return frames
}

func (o *outbox) deliver(frames []byte) error {
	err := o.conn.SetWriteDeadline(time.Now().Add(o.patience))
	if err == nil {
		_, err = o.conn.Write(frames)
	}
	if err != nil {
		o.cut()
	}
	return err
}
