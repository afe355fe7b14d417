package linelog

import (
	"bytes"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	blockSize       = 64 << 10               // bytes gathered before a write
	restTime        = 10 * time.Millisecond  // for entries to gather in
	retryTime       = 250 * time.Millisecond // between attempts to write
	complainMin     = time.Minute            // between complaints about the file
	complainAnewMin = 5 * time.Second        // the same, when it was well in between
	closeGrace      = 2 * time.Second        // for a failing file, once the log is closed
)

// writer is the goroutine that takes entries from the ring, encodes them and
// writes them in blocks. Only run touches its fields; others use the channels.
type writer[R any] struct {
	ring     *ring[R]
	sink     *sink
	encode   func(block []byte, entry *R) ([]byte, error)
	counters Counters
	log      *zap.Logger

	reopen  chan chan error
	closing chan struct{} // closed by Log.Close
	done    chan struct{} // closed when run has returned
	err     error         // of closing; to be read after done

	block      []byte // whole lines; those before sent are written
	sent       int
	timer      *time.Timer
	complained time.Time // when a failure was last logged
	complaint  bool      // and no success since
	lost       int       // entries given up

	failing  atomic.Pointer[string] // why the last attempt to write failed; nil: it did not. For everybody
	deadline time.Time              // for a failing file; zero while the log is open
}

func newWriter[R any](q *ring[R], s *sink, encode func([]byte, *R) ([]byte, error), deps Dependencies) *writer[R] {
	return &writer[R]{
		ring:     q,
		sink:     s,
		encode:   encode,
		counters: deps.Counters,
		log:      deps.Log,
		reopen:   make(chan chan error),
		closing:  make(chan struct{}),
		done:     make(chan struct{}),
		block:    make([]byte, 0, blockSize+4<<10),
		timer:    time.NewTimer(time.Hour),
	}
}

// run writes until the ring is closed and empty.
func (w *writer[R]) run() {
	defer close(w.done)
	defer w.timer.Stop()
	for !w.ring.drained() {
		wrote := w.gather()
		w.flush()
		select {
		case reply := <-w.reopen:
			reply <- w.rotate()
		default:
		}
		if w.ring.next() == nil {
			w.wait(wrote)
		}
	}
	w.flush()
	w.err = w.sink.close()
	if w.lost > 0 {
		w.err = fmt.Errorf("close %s: the file takes no data and %d entries are lost", w.sink.noun, w.lost)
	}
}

// gather encodes what is in the ring, up to a block, and reports whether there was
// anything.
func (w *writer[R]) gather() bool {
	any := false
	for len(w.block) < blockSize {
		r := w.ring.next()
		if r == nil {
			break
		}
		any = true
		if longer, err := w.encode(w.block, r); err != nil {
			w.counters.Dropped.Inc()
		} else {
			w.block = longer
		}
		w.ring.free()
	}
	return any
}

// wait returns when there may be something to do. After entries it rests a
// moment and lets more gather, so that a busy gateway wakes this goroutine a
// hundred times a second and not once an entry; after an empty rest it sleeps.
func (w *writer[R]) wait(wrote bool) {
	defer w.ring.resume()
	if wrote {
		if w.ring.idle(readerRests) {
			w.pause(restTime)
		}
		return
	}
	if !w.ring.idle(readerSleeps) {
		return
	}
	select {
	case <-w.ring.wake:
	case reply := <-w.reopen:
		reply <- w.rotate()
	case <-w.closing:
	}
}

// pause waits for a time, cut short by a filling ring, by Reopen and by Close.
func (w *writer[R]) pause(d time.Duration) {
	w.timer.Reset(d)
	select {
	case <-w.timer.C:
	case <-w.ring.wake:
	case reply := <-w.reopen:
		reply <- w.rotate()
	case <-w.closing:
	}
}

// flush writes the block, however often it takes; meanwhile the ring fills
// and entries are dropped. Once the log is closed it gives up after a grace.
func (w *writer[R]) flush() {
	for w.sent < len(w.block) {
		err := w.attempt()
		if err == nil {
			continue
		}
		w.complain(err)
		if w.expired() {
			w.giveUp()
			return
		}
		w.retryLater()
	}
	w.block, w.sent = w.block[:0], 0
}

// attempt writes once and counts the lines whose end was written.
func (w *writer[R]) attempt() error {
	rest := w.block[w.sent:]
	n, err := w.sink.out.Write(rest)
	n = min(max(n, 0), len(rest))
	w.counters.Written.Add(float64(lines(rest[:n])))
	w.sent += n
	if err == nil && n < len(rest) {
		err = io.ErrShortWrite
	}
	w.note(err)
	if err == nil && w.complaint {
		w.complaint = false
		w.log.Info("the "+w.sink.noun+" is written again", zap.String("file", w.sink.path))
	}
	return err
}

// note keeps how an attempt ended for whoever asks.
func (w *writer[R]) note(err error) {
	if err == nil {
		if w.failing.Load() != nil {
			w.failing.Store(nil)
		}
		return
	}
	why := err.Error()
	w.failing.Store(&why)
}

// complain counts a failure and, once a minute, logs it.
func (w *writer[R]) complain(err error) {
	w.counters.Errors.Inc()
	now := time.Now()
	pause := complainMin
	if !w.complaint {
		pause = complainAnewMin // it was said that all is well again
	}
	if !w.complained.IsZero() && now.Sub(w.complained) < pause {
		return
	}
	w.complained, w.complaint = now, true
	w.log.Error("cannot write the "+w.sink.noun+"; entries wait in a queue, and are dropped and counted when it is full",
		zap.String("file", w.sink.path), zap.Error(err))
}

// expired reports whether the log is closed and its file has had its grace.
func (w *writer[R]) expired() bool {
	select {
	case <-w.closing:
	default:
		return false
	}
	now := time.Now()
	if w.deadline.IsZero() {
		w.deadline = now.Add(closeGrace)
	}
	return !now.Before(w.deadline)
}

// retryLater waits before the next attempt. A new file is worth one at once,
// and so is the moment of closing.
func (w *writer[R]) retryLater() {
	closing := w.closing
	if !w.deadline.IsZero() {
		closing = nil // noticed already
	}
	w.timer.Reset(retryTime)
	select {
	case <-w.timer.C:
	case reply := <-w.reopen:
		reply <- w.rotate()
	case <-closing:
	}
}

// giveUp drops what is left of the block.
func (w *writer[R]) giveUp() {
	n := lines(w.block[w.sent:])
	w.counters.Dropped.Add(float64(n))
	w.lost += n
	w.block, w.sent = w.block[:0], 0
}

// rotate switches to a new file. A line that the old file has only a part of
// goes to the new one whole.
func (w *writer[R]) rotate() error {
	switched, err := w.sink.reopen()
	if switched {
		w.sent = bytes.LastIndexByte(w.block[:w.sent], '\n') + 1
	}
	return err
}

// lines counts entries: they have no line break within.
func lines(b []byte) int { return bytes.Count(b, []byte{'\n'}) }
