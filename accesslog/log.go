package accesslog

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/linelog"
	"github.com/sallyport/sallyport/privacy"
)

const (
	defaultQueue = 8 << 10
	lineRoom     = 512     // bytes kept in each place for a line: a longer one is allocated
	longBytes    = 8 << 20 // that longer lines may take in the queue, all together
)

// Format is how a line is written.
type Format uint8

// The formats. The package comment describes them.
const (
	FormatSquid Format = iota
	FormatCombined
)

// String is the format as the configuration writes it.
func (f Format) String() string {
	if f == FormatCombined {
		return "combined"
	}
	return "squid"
}

// ParseFormat reads what String writes.
func ParseFormat(name string) (Format, error) {
	for _, f := range []Format{FormatSquid, FormatCombined} {
		if f.String() == name {
			return f, nil
		}
	}
	return 0, fmt.Errorf("unknown access log format %q: use squid or combined", name)
}

// Config holds a Log's settings.
type Config struct {
	// File is the path, made with mode 0640 where it does not exist and
	// appended to where it does. Empty: Dependencies.Out.
	File string

	// Format is how lines are written.
	Format Format

	// KeepQuery writes URLs with their queries, which often hold what is
	// nobody's business. Without it a question mark says that there was one.
	KeepQuery bool

	// Zone is of the times of the combined format; nil: the machine's.
	Zone *time.Location

	// Queue is how many lines may wait for the file, rounded up to a power of
	// two. Each takes half a kilobyte; lines that are longer share 8 MiB
	// besides. 0 means 8,192.
	Queue int
}

// Dependencies are what a Log needs of others.
type Dependencies struct {
	Metrics *Metrics      // required
	Log     *zap.Logger   // for trouble with the file; nil: silent
	Out     io.Writer     // where an empty Config.File leads
	Mask    *privacy.Mask // what is written of people; nil: everything
}

// Log is one access log. It owns one goroutine, which Close waits for. Safe for
// concurrent use.
type Log struct {
	format  Format
	form    form
	lines   *linelog.Log[line]
	dropped prometheus.Counter
	long    atomic.Int64 // bytes of long lines in the queue
}

// form is how entries become lines, whatever the format.
type form struct {
	keepQuery bool
	zone      *time.Location
	mask      *privacy.Mask
}

// line is one line in the queue.
type line struct {
	room []byte // the place's own memory
	text []byte // in room where it fits; nil where it was lost
	long int64  // bytes that it takes elsewhere
}

// Open opens the file and starts its writer. The caller closes the Log.
func Open(cfg Config, deps Dependencies) (*Log, error) {
	if cfg.Queue <= 0 {
		cfg.Queue = defaultQueue
	}
	if cfg.Zone == nil {
		cfg.Zone = time.Local
	}
	counters := deps.Metrics.of(cfg.Format)
	l := &Log{
		format:  cfg.Format,
		form:    form{keepQuery: cfg.KeepQuery, zone: cfg.Zone, mask: deps.Mask},
		dropped: counters.Dropped,
	}
	lines, err := linelog.Open(linelog.Config[line]{
		Noun:    "access log",
		File:    cfg.File,
		Places:  cfg.Queue,
		Encode:  func(block []byte, one *line) ([]byte, error) { return append(block, one.text...), nil },
		Prepare: func(one *line) { one.room = make([]byte, 0, lineRoom) },
		Reset:   l.reset,
	}, linelog.Dependencies{Counters: counters, Log: deps.Log, Stdout: deps.Out})
	if err != nil {
		return nil, err
	}
	l.lines = lines
	return l, nil
}

// Append queues an entry. It does not block, allocates only for a line that is
// longer than half a kilobyte, keeps nothing of e, and may be called after
// Close, when it only counts a lost line.
func (l *Log) Append(e *Entry) {
	one, place, ok := l.lines.Claim(true)
	if !ok {
		return // and counted
	}
	if l.format == FormatCombined {
		one.text = l.form.appendCombined(one.room, e)
	} else {
		one.text = l.form.appendSquid(one.room, e)
	}
	one.text = append(one.text, '\n')
	if len(one.text) > cap(one.room) {
		l.account(one)
	}
	l.lines.Publish(place)
}

// account finds room for a long line among the long ones, or loses it: while a
// file takes nothing, clients that ask for long URLs must not fill the memory.
func (l *Log) account(one *line) {
	one.long = int64(cap(one.text))
	if l.long.Add(one.long) > longBytes {
		l.reset(one)
		l.dropped.Inc()
	}
}

// reset lets go of the line in a place.
func (l *Log) reset(one *line) {
	l.long.Add(-one.long)
	*one = line{room: one.room}
}

// Trouble says why entries are not being written now; empty where they are. It
// does not wait.
func (l *Log) Trouble() string { return l.lines.Trouble() }

// Reopen closes the file and opens its path again, for log rotation: move the
// file away, then call Reopen. Every line is in the one file or the other. On
// an error the log stays with the file that it has.
func (l *Log) Reopen() error { return l.lines.Reopen() }

// Close writes what is queued and closes the file. It waits 5 seconds at most:
// where the file takes no data for so long, the lines left are dropped and
// counted, and the error says so. Calling it again gives the same answer.
func (l *Log) Close() error { return l.lines.Close() }
