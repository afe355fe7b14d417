package coaching

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"
)

// retryTime is how long after a failure the journal is written anew.
const retryTime = 10 * time.Second

// A journal is rewritten once it has this many lines beyond those of grants
// that are held.
const slackLines = 1000

// maxLines is more than a journal for so many grants ever has.
func maxLines(limit int) int { return 4*limit + 4*slackLines }

// journal writes lines to a file. note may be called from anywhere, and never
// waits for the disk; run does the writing. A nil *journal takes lines and
// keeps none.
type journal struct {
	path  string
	held  func() []Grant // for writing the journal anew
	count func() int     // of held
	log   *zap.Logger
	wake  chan struct{} // capacity 1

	mu      sync.Mutex
	pending []byte // lines that are not written
	lines   int    // of these
	waiting []chan error
	failed  error // why the last write failed; nil: it did not
	stopped bool

	// run's own
	file    *os.File // nil: the journal is to be written anew
	written int      // lines of it
}

func newJournal(path string, held func() []Grant, count func() int, log *zap.Logger) *journal {
	return &journal{path: path, held: held, count: count, log: log, wake: make(chan struct{}, 1)}
}

// note queues a line.
func (j *journal) note(l line) {
	if j == nil {
		return
	}
	j.mu.Lock()
	j.pending = l.append(j.pending)
	j.lines++
	j.mu.Unlock()
	j.nudge()
}

func (j *journal) nudge() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// errNotKept says that a change is in force and not on disk.
var errNotKept = errors.New("the change is in force, but could not be written to disk: a restart of the gateway would undo it")

// flushed waits until what was noted is on disk.
func (j *journal) flushed(ctx context.Context) error {
	if j == nil {
		return nil
	}
	reply := make(chan error, 1)
	j.mu.Lock()
	if j.stopped {
		j.mu.Unlock()
		return fmt.Errorf("%w: the gateway is stopping", errNotKept)
	}
	j.waiting = append(j.waiting, reply)
	j.mu.Unlock()
	j.nudge()
	select {
	case err := <-reply:
		if err != nil {
			return fmt.Errorf("%w: %w", errNotKept, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errNotKept, ctx.Err())
	}
}

// trouble says what keeps the journal from being written.
func (j *journal) trouble() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed == nil {
		return ""
	}
	return j.failed.Error()
}

// run writes until ctx ends. It begins with the journal anew, so that what has
// ended since is no longer in it.
func (j *journal) run(ctx context.Context) {
	defer func() {
		if j.file != nil {
			_ = j.file.Close()
		}
	}()
	retry := time.NewTimer(retryTime)
	defer retry.Stop()
	if !j.isEmpty() {
		j.write()
	}
	for {
		select {
		case <-ctx.Done():
			j.stop()
			return
		case <-j.wake:
		case <-retry.C:
			if j.trouble() == "" {
				continue
			}
		}
		if !j.write() {
			retry.Reset(retryTime)
		}
	}
}

// isEmpty reports whether there is nothing to write: no grant, and no file with
// old ones. A gateway whose policy warns of nothing makes no file.
func (j *journal) isEmpty() bool {
	_, err := os.Lstat(j.path)
	return errors.Is(err, os.ErrNotExist) && j.count() == 0
}

// stop writes what is left, and lets nobody wait any more.
func (j *journal) stop() {
	j.mu.Lock()
	j.stopped = true
	left := len(j.pending) > 0 || len(j.waiting) > 0
	j.mu.Unlock()
	if left {
		j.write()
	}
}

// write brings what is pending to the disk, tells those who wait, and reports
// whether it went well.
func (j *journal) write() bool {
	j.mu.Lock()
	pending, lines, waiting := j.pending, j.lines, j.waiting
	j.pending, j.lines, j.waiting = nil, 0, nil
	before := j.failed
	j.mu.Unlock()

	err := j.append(pending, lines)
	j.mu.Lock()
	j.failed = err
	j.mu.Unlock()
	for _, reply := range waiting {
		reply <- err
	}
	switch {
	case err != nil && before == nil:
		j.log.Error("the journal of grants cannot be written: grants hold until the gateway stops, and are asked for again after that; it is tried again",
			zap.String("file", j.path), zap.Error(err))
	case err == nil && before != nil:
		j.log.Info("the journal of grants is written again", zap.String("file", j.path))
	}
	return err == nil
}

// append adds lines to the file, or writes it anew where that is due. After a
// failure nobody knows what the file holds, so that the next write is anew.
func (j *journal) append(pending []byte, lines int) error {
	if j.file == nil || j.written+lines > 2*j.count()+slackLines {
		return j.rewrite()
	}
	if len(pending) == 0 {
		return nil
	}
	_, err := j.file.Write(pending)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		_ = j.file.Close()
		j.file = nil
		return err
	}
	j.written += lines
	return nil
}

// rewrite puts a file with the grants that are held in the place of the old
// one, in one step. What was pending is in it: a grant is held before it is
// noted, and dropped before its end is.
func (j *journal) rewrite() error {
	if j.file != nil {
		_ = j.file.Close()
		j.file = nil
	}
	dir := filepath.Dir(j.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	part, err := os.CreateTemp(dir, ".part-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(part.Name()) }() // gone already where it was renamed
	held := j.held()
	text := append([]byte(journalHeader), '\n')
	for i := range held {
		text = lineOfGrant(&held[i]).append(text)
	}
	if _, err = part.Write(text); err == nil {
		err = part.Sync()
	}
	if err == nil {
		err = os.Rename(part.Name(), j.path)
	}
	if err == nil {
		err = syncFolder(dir)
	}
	if err != nil {
		_ = part.Close()
		return err
	}
	j.file, j.written = part, len(held)+1
	return nil
}

// syncFolder makes what was named in a folder outlive a loss of power.
func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
