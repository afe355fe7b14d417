package audit

import (
	"bytes"
	"fmt"
	"io"
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

// writer is the goroutine that takes entries from the queue, encodes them and
// writes them in blocks. Only run touches its fields; others use the channels.
type writer struct {
	queue   *queue
	sink    *sink
	encoder *encoder
	metrics *metrics
	log     *zap.Logger

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
	deadline   time.Time // for a failing file; zero while the log is open
}

func newWriter(q *queue, s *sink, e *encoder, m *metrics, log *zap.Logger) *writer {
	w := &writer{
		queue:   q,
		sink:    s,
		encoder: e,
		metrics: m,
		log:     log,
		reopen:  make(chan chan error),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
		block:   make([]byte, 0, blockSize+4<<10),
		timer:   time.NewTimer(time.Hour),
	}
	return w
}

// run writes until the queue is closed and empty.
func (w *writer) run() {
	defer close(w.done)
	defer w.timer.Stop()
	for !w.queue.drained() {
		wrote := w.gather()
		w.flush()
		select {
		case reply := <-w.reopen:
			reply <- w.rotate()
		default:
		}
		if w.queue.next() == nil {
			w.wait(wrote)
		}
	}
	w.flush()
	w.err = w.sink.close()
	if w.lost > 0 {
		w.err = fmt.Errorf("close decision log: the file takes no data and %d entries are lost", w.lost)
	}
}

// gather encodes what is queued, up to a block, and reports whether there was
// anything.
func (w *writer) gather() bool {
	any := false
	for len(w.block) < blockSize {
		r := w.queue.next()
		if r == nil {
			break
		}
		any = true
		if line, err := w.encoder.line(r); err != nil {
			w.metrics.dropped.Inc()
		} else {
			w.block = append(w.block, line.Bytes()...)
			line.Free()
		}
		w.queue.free()
	}
	return any
}

// wait returns when there may be something to do. After entries it rests a
// moment and lets more gather, so that a busy gateway wakes this goroutine a
// hundred times a second and not once an entry; after an empty rest it sleeps.
func (w *writer) wait(wrote bool) {
	defer w.queue.resume()
	if wrote {
		if w.queue.idle(readerRests) {
			w.pause(restTime)
		}
		return
	}
	if !w.queue.idle(readerSleeps) {
		return
	}
	select {
	case <-w.queue.wake:
	case reply := <-w.reopen:
		reply <- w.rotate()
	case <-w.closing:
	}
}

// pause waits for a time, cut short by a filling queue, by Reopen and by Close.
func (w *writer) pause(d time.Duration) {
	w.timer.Reset(d)
	select {
	case <-w.timer.C:
	case <-w.queue.wake:
	case reply := <-w.reopen:
		reply <- w.rotate()
	case <-w.closing:
	}
}

// flush writes the block, however often it takes; meanwhile the queue fills
// and the doors drop. Once the log is closed it gives up after a grace.
func (w *writer) flush() {
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
func (w *writer) attempt() error {
	rest := w.block[w.sent:]
	n, err := w.sink.out.Write(rest)
	n = min(max(n, 0), len(rest))
	w.metrics.entries.Add(float64(lines(rest[:n])))
	w.sent += n
	if err == nil && n < len(rest) {
		err = io.ErrShortWrite
	}
	if err == nil && w.complaint {
		w.complaint = false
		w.log.Info("the decision log is written again", zap.String("file", w.sink.path))
	}
	return err
}

// complain counts a failure and, once a minute, logs it.
func (w *writer) complain(err error) {
	w.metrics.errors.Inc()
	now := time.Now()
	pause := complainMin
	if !w.complaint {
		pause = complainAnewMin // it was said that all is well again
	}
	if !w.complained.IsZero() && now.Sub(w.complained) < pause {
		return
	}
	w.complained, w.complaint = now, true
	w.log.Error("cannot write the decision log; entries wait in the queue, and are dropped and counted when it is full",
		zap.String("file", w.sink.path), zap.Error(err))
}

// expired reports whether the log is closed and its file has had its grace.
func (w *writer) expired() bool {
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
func (w *writer) retryLater() {
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
func (w *writer) giveUp() {
	n := lines(w.block[w.sent:])
	w.metrics.dropped.Add(float64(n))
	w.lost += n
	w.block, w.sent = w.block[:0], 0
}

// rotate switches to a new file. A line that the old file has only a part of
// goes to the new one whole.
func (w *writer) rotate() error {
	switched, err := w.sink.reopen()
	if switched {
		w.sent = bytes.LastIndexByte(w.block[:w.sent], '\n') + 1
	}
	return err
}

// lines counts entries: JSON has no line break within.
func lines(b []byte) int { return bytes.Count(b, []byte{'\n'}) }
