package audit

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/linelog"
	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/privacy"
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
	// of two. Each takes 384 bytes. 0 means 16,384.
	Queue int
}

// Dependencies are what a Log needs of others. The zero value works.
type Dependencies struct {
	Registerer prometheus.Registerer // nil: the counters are kept and not shown
	Log        *zap.Logger           // for trouble with the file; nil: silent
	Now        func() time.Time      // for decisions without a time; nil: time.Now
	Stdout     io.Writer             // where an empty Config.File leads; nil: os.Stdout
	Mask       *privacy.Mask         // what is written of people; nil: everything
}

const (
	defaultQueue = 16_384
	nameRoom     = 64 // bytes kept in each place for a host's name: a longer one is allocated once
)

// The values of the label sink.
const (
	sinkFile   = "file"
	sinkStdout = "stdout"
)

// Log is the decision log. It owns one goroutine, which Close waits for. Safe
// for concurrent use.
type Log struct {
	allows  Extent
	refused Extent
	now     func() time.Time
	metrics *metrics
	lines   *linelog.Log[record]
}

// New opens the log and starts its writer. The caller closes it. It is an
// error when the file cannot be opened, or when another Log has registered its
// metrics already.
func New(cfg Config, deps Dependencies) (*Log, error) {
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if cfg.Queue <= 0 {
		cfg.Queue = defaultQueue
	}
	sink := sinkFile
	if cfg.File == "" {
		sink = sinkStdout
	}
	metrics := newMetrics(sink)
	lines, err := openLines(cfg, deps, metrics)
	if err != nil {
		return nil, err
	}
	metrics.queued(lines.Waiting, lines.Places)
	if err := metrics.register(deps.Registerer); err != nil {
		return nil, errors.Join(fmt.Errorf("register metrics of the decision log: %w", err), lines.Close())
	}
	return &Log{
		allows:  cfg.Allows,
		refused: cfg.Refusals,
		now:     deps.Now,
		metrics: metrics,
		lines:   lines,
	}, nil
}

// openLines opens the file that the entries go to.
func openLines(cfg Config, deps Dependencies, m *metrics) (*linelog.Log[record], error) {
	encoder := newEncoder(cfg.Tenant, newIDs(), deps.Mask)
	return linelog.Open(linelog.Config[record]{
		Noun:    "decision log",
		File:    cfg.File,
		Places:  cfg.Queue,
		Encode:  encoder.append,
		Prepare: func(r *record) { r.name = make([]byte, 0, nameRoom) },
		Reset:   func(r *record) { *r = record{name: r.name[:0]} },
	}, linelog.Dependencies{
		Counters: linelog.Counters{Written: m.entries, Dropped: m.dropped, Errors: m.errors},
		Log:      deps.Log,
		Stdout:   deps.Stdout,
	})
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
	r, place, ok := l.lines.Claim(must)
	if !ok {
		return // and counted
	}
	r.fill(d, at)
	l.lines.Publish(place)
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
	r, place, ok := l.lines.Claim(must)
	if !ok {
		return // and counted
	}
	r.fill(d, at)
	if !d.Time.IsZero() {
		r.since = d.Time.UnixNano() // the pseudonym of its first entry: another one, beside the same id, would join two periods
	}
	r.end = &closing
	l.lines.Publish(place)
}

// Trouble says why entries are not being written now; empty where they are. It
// does not wait.
func (l *Log) Trouble() string { return l.lines.Trouble() }

// Reopen closes the file and opens its path again, for log rotation: move the
// file away, then call Reopen. Every entry is in the one file or the other, and
// none is torn between them. On an error the log stays with the file that it
// has. With standard output there is nothing to do.
func (l *Log) Reopen() error { return l.lines.Reopen() }

// Close writes what is queued and closes the file. It waits 5 seconds at most:
// where the file takes no data for so long, the entries left are dropped and
// counted, and the error says so. Entries recorded after Close are dropped and
// counted. Calling it again gives the same answer.
func (l *Log) Close() error { return l.lines.Close() }

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
