package linelog

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

const (
	reopenTimeout = 5 * time.Second
	closeTimeout  = 5 * time.Second
)

// Config holds a Log's settings.
type Config[R any] struct {
	// Noun is what errors and complaints call the log: "decision log".
	Noun string

	// File is the path, made with mode 0640 where it does not exist and
	// appended to where it does. Empty: Dependencies.Stdout.
	File string

	// Places is how many entries may wait for the file, rounded up to a power
	// of two, 8 at least.
	Places int

	// Encode appends an entry to a block as one line: with its line break, and
	// with no other. It may as well append nothing. Called by one goroutine.
	// An entry that it has an error for is counted as dropped. Required.
	Encode func(block []byte, entry *R) ([]byte, error)

	// Prepare makes a place's entry ready before its first use; nil: the zero
	// value is ready.
	Prepare func(entry *R)

	// Reset makes an entry that was written ready for its next use, and lets
	// go of what it leads to; nil: it becomes the zero value.
	Reset func(entry *R)
}

// Dependencies are what a Log needs of others.
type Dependencies struct {
	Counters Counters
	Log      *zap.Logger // for trouble with the file; nil: silent
	Stdout   io.Writer   // where an empty Config.File leads; nil: os.Stdout
}

// Counters tell what became of the entries. All are required.
type Counters struct {
	Written prometheus.Counter // lines in the file
	Dropped prometheus.Counter // entries lost
	Errors  prometheus.Counter // failed attempts to write, which are repeated
}

// Place is a place of the ring that was claimed.
type Place uint64

// Log is a file of lines. It owns one goroutine, which Close waits for. Safe
// for concurrent use.
type Log[R any] struct {
	noun    string
	ring    *ring[R]
	writer  *writer[R]
	dropped prometheus.Counter

	closeOnce sync.Once
	closeErr  error
}

// Open opens the file and starts the writer. The caller closes the Log.
func Open[R any](cfg Config[R], deps Dependencies) (*Log[R], error) {
	if deps.Log == nil {
		deps.Log = zap.NewNop()
	}
	if deps.Stdout == nil {
		deps.Stdout = os.Stdout
	}
	sink, err := openSink(cfg.Noun, cfg.File, deps.Stdout)
	if err != nil {
		return nil, err
	}
	l := &Log[R]{
		noun:    cfg.Noun,
		ring:    newRing(cfg.Places, cfg.Prepare, cfg.Reset),
		dropped: deps.Counters.Dropped,
	}
	l.writer = newWriter(l.ring, sink, cfg.Encode, deps)
	go l.writer.run()
	return l, nil
}

// Claim gives the caller the entry of a free place, to be filled at once and
// handed over with Publish. It does not wait and does not allocate; ok is false
// where the ring is full or the Log closed, which is counted as a dropped
// entry. The last eighth of the ring is for entries that must be written.
func (l *Log[R]) Claim(must bool) (entry *R, place Place, ok bool) {
	entry, turn, ok := l.ring.claim(must)
	if !ok {
		l.dropped.Inc()
	}
	return entry, Place(turn), ok
}

// Publish hands over an entry that was claimed. The caller must not touch it
// afterwards.
func (l *Log[R]) Publish(place Place) { l.ring.publish(uint64(place)) }

// Waiting is how many entries wait for the file. Some of them may be written
// already: freed places are announced a few at a time.
func (l *Log[R]) Waiting() int { return l.ring.waiting() }

// Places is how many entries may wait for the file.
func (l *Log[R]) Places() int { return len(l.ring.places) }

// Trouble says why entries are not being written now; empty where they are. It
// does not wait.
func (l *Log[R]) Trouble() string {
	if why := l.writer.failing.Load(); why != nil {
		return fmt.Sprintf("the %s cannot be written: %s: entries wait in a queue, and are dropped and counted when it is full", l.noun, *why)
	}
	if l.ring.full() {
		return fmt.Sprintf("the %s is written too slowly, or not at all: its queue is full, and entries are dropped and counted", l.noun)
	}
	return ""
}

// Reopen closes the file and opens its path again, for log rotation: move the
// file away, then call Reopen. Every entry is in the one file or the other, and
// none is torn between them. On an error the log stays with the file that it
// has. Without a file there is nothing to do.
func (l *Log[R]) Reopen() error {
	timer := time.NewTimer(reopenTimeout)
	defer timer.Stop()
	reply := make(chan error, 1)
	select {
	case l.writer.reopen <- reply:
	case <-l.writer.done:
		return fmt.Errorf("reopen %s: it is closed", l.noun)
	case <-timer.C:
		return fmt.Errorf("reopen %s: the file has taken no data for %v", l.noun, reopenTimeout)
	}
	select {
	case err := <-reply:
		return err
	case <-timer.C:
		return fmt.Errorf("reopen %s: the path could not be opened within %v", l.noun, reopenTimeout)
	}
}

// Close writes what is queued and closes the file. It waits 5 seconds at most:
// where the file takes no data for so long, the entries left are dropped and
// counted, and the error says so. Entries that come after Close are dropped and
// counted. Calling it again gives the same answer.
func (l *Log[R]) Close() error {
	l.closeOnce.Do(func() { l.closeErr = l.close() })
	return l.closeErr
}

func (l *Log[R]) close() error {
	l.ring.close()
	close(l.writer.closing)
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-l.writer.done:
		return l.writer.err
	case <-timer.C:
		// A write that the kernel holds cannot be called back. The goroutine
		// ends as soon as it returns.
		return fmt.Errorf("close %s: the file has taken no data for %v", l.noun, closeTimeout)
	}
}
