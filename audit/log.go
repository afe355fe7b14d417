package audit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/policy"
)

// Config holds a Log's settings. The zero value writes every decision to
// standard output.
type Config struct {
	// File is the path of the decision log, made with mode 0640 where it does
	// not exist and appended to where it does. Empty: standard output.
	File string

	// Tenant stands in every entry.
	Tenant string

	// Allows says which allowed decisions are written.
	Allows Extent

	// Refusals says which refusals are written, and which allowed decisions
	// that a rehearsed rule would have refused. Anything but all of them leaves
	// gaps in the proof that a ban holds; the counters stay exact.
	Refusals Extent

	// Queue is how many entries may wait for the file, rounded up to a power
	// of two. Each takes 368 bytes. 0 means 16,384.
	Queue int
}

// Dependencies are what a Log needs of others. The zero value works.
type Dependencies struct {
	Registerer prometheus.Registerer // nil: the counters are kept and not shown
	Log        *zap.Logger           // for trouble with the file; nil: silent
	Now        func() time.Time      // for decisions without a time; nil: time.Now
	Stdout     io.Writer             // where an empty Config.File leads; nil: os.Stdout
}

const (
	defaultQueue  = 16_384
	reopenTimeout = 5 * time.Second
	closeTimeout  = 5 * time.Second
)

// Log is the decision log. It owns one goroutine, which Close waits for. Safe
// for concurrent use.
type Log struct {
	allows  Extent
	refused Extent
	now     func() time.Time
	metrics *metrics
	queue   *queue
	writer  *writer

	closeOnce sync.Once
	closeErr  error
}

// New opens the log and starts its writer. The caller closes it. It is an
// error when the file cannot be opened, or when another Log has registered its
// metrics already.
func New(cfg Config, deps Dependencies) (*Log, error) {
	if deps.Log == nil {
		deps.Log = zap.NewNop()
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Stdout == nil {
		deps.Stdout = os.Stdout
	}
	if cfg.Queue <= 0 {
		cfg.Queue = defaultQueue
	}
	sink, err := openSink(cfg.File, deps.Stdout)
	if err != nil {
		return nil, err
	}
	metrics := newMetrics(sink.name)
	if err := metrics.register(deps.Registerer); err != nil {
		return nil, errors.Join(fmt.Errorf("register metrics of the decision log: %w", err), sink.close())
	}
	l := &Log{
		allows:  cfg.Allows,
		refused: cfg.Refusals,
		now:     deps.Now,
		metrics: metrics,
		queue:   newQueue(cfg.Queue),
	}
	l.writer = newWriter(l.queue, sink, newEncoder(cfg.Tenant, newIDs()), metrics, deps.Log)
	go l.writer.run()
	return l, nil
}

// Record counts a decision and queues its entry. It does not block, allocates
// only for the first few decisions of a new kind, keeps no pointer to d, and
// may be called after Close, when it only counts. The slices that d leads to
// must not change afterwards; d itself, and the bytes of its Host's name, may be
// used again at once.
func (l *Log) Record(d *policy.Decision) {
	v := &d.Verdict
	s := l.metrics.decisions.of(seriesKey{d.Door, v.Action, v.AppID(), v.RuleName(), v.Group})
	s.count.Inc()

	must := v.Action.Refuses()
	if v.Would != nil && v.WouldAction.Refuses() {
		l.metrics.wouldBlock.of(seriesKey{d.Door, 0, appID(v.WouldApp), v.Would.Name, v.WouldGroup}).count.Inc()
		must = true
	}
	at := l.instant(d.Time)
	if !l.extent(must).want(&s.sampler, at) {
		return
	}
	r, place, ok := l.queue.claim(must)
	if !ok {
		l.metrics.dropped.Inc()
		return
	}
	r.fill(d, at)
	l.queue.publish(place)
}

// extent is how many decisions are written of a sort: refusals or others.
func (l *Log) extent(refusal bool) Extent {
	if refusal {
		return l.refused
	}
	return l.allows
}

// RecordEnd queues the closing entry of a tunnel. It counts no decision. The
// two entries are joined by Decision.ID, which the door has to set: an id that
// the log gives to the one is not known to the other. What is said of Record
// holds, except that it allocates a little.
func (l *Log) RecordEnd(e *policy.TunnelEnd) {
	d := e.Decision
	v := &d.Verdict
	at := l.instant(e.Time)
	must := e.ClosedBy == closedByPolicy
	if l.extent(must) != ExtentAll {
		s := l.metrics.closings.of(seriesKey{d.Door, v.Action, v.AppID(), v.RuleName(), v.Group})
		if !l.extent(must).want(&s.sampler, at) {
			return
		}
	}
	closing := *e
	closing.Decision = nil // its contents are in the record
	r, place, ok := l.queue.claim(must)
	if !ok {
		l.metrics.dropped.Inc()
		return
	}
	r.fill(d, at)
	r.end = &closing
	l.queue.publish(place)
}

// Reopen closes the file and opens its path again, for log rotation: move the
// file away, then call Reopen. Every entry is in the one file or the other, and
// none is torn between them. On an error the log stays with the file that it
// has. With standard output there is nothing to do.
func (l *Log) Reopen() error {
	timer := time.NewTimer(reopenTimeout)
	defer timer.Stop()
	reply := make(chan error, 1)
	select {
	case l.writer.reopen <- reply:
	case <-l.writer.done:
		return fmt.Errorf("reopen decision log: it is closed")
	case <-timer.C:
		return fmt.Errorf("reopen decision log: the file has taken no data for %v", reopenTimeout)
	}
	select {
	case err := <-reply:
		return err
	case <-timer.C:
		return fmt.Errorf("reopen decision log: the path could not be opened within %v", reopenTimeout)
	}
}

// Close writes what is queued and closes the file. It waits 5 seconds at most:
// where the file takes no data for so long, the entries left are dropped and
// counted, and the error says so. Entries recorded after Close are dropped and
// counted. Calling it again gives the same answer.
func (l *Log) Close() error {
	l.closeOnce.Do(func() { l.closeErr = l.close() })
	return l.closeErr
}

func (l *Log) close() error {
	l.queue.close()
	close(l.writer.closing)
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-l.writer.done:
		return l.writer.err
	case <-timer.C:
		// A write that the kernel holds cannot be called back. The goroutine
		// ends as soon as it returns.
		return fmt.Errorf("close decision log: the file has taken no data for %v", closeTimeout)
	}
}

// instant is t in nanoseconds since 1970, or the present where t is not set.
func (l *Log) instant(t time.Time) int64 {
	if t.IsZero() {
		t = l.now()
	}
	return t.UnixNano()
}

// appID is the app's id, "" where there is none.
func appID(a *policy.App) string {
	if a == nil {
		return ""
	}
	return a.ID
}
