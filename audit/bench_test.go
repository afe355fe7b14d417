package audit

import (
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/sallyport/sallyport/linelog"
	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/privacy"
)

// typical is a decision with what a real one carries.
func typical() *policy.Decision {
	d := blocked()
	d.Subject = policy.Subject{Identity: policy.Identity{
		Addr: d.Client, User: "alice@corp.example", Devices: []string{"laptop-17.corp.example"}, Source: "certificate+remembered",
	}}
	d.Facts = []policy.Host{
		policy.HostFromCanonicalName("cname.zoom.us"),
		policy.HostFromAddr(netip.MustParseAddr("3.7.35.1")),
	}
	d.Verdict.Revision = "3f9c2a1b7d5e"
	d.Duration = 850 * time.Nanosecond
	return d
}

// BenchmarkRecord is what the data path pays for one decision: counting alone
// (allows are not written here), and counting with handing the entry over. The
// latter is measured with a queue that never fills, since a full one would show
// only how fast an entry is dropped.
func BenchmarkRecord(b *testing.B) {
	b.Run("count", func(b *testing.B) {
		l := open(b, Config{Allows: ExtentNone}, Dependencies{Stdout: discard{}})
		d := allowed()
		b.ReportAllocs()
		for b.Loop() {
			l.Record(d)
		}
	})
	b.Run("count+entry", func(b *testing.B) {
		m := newMetrics("none")
		l := &Log{metrics: m, now: time.Now, lines: openForgetful(b, m)}
		d := typical()
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			if n%(defaultQueue/2) == 0 {
				b.StopTimer()
				for l.lines.Waiting() > 0 {
					time.Sleep(100 * time.Microsecond)
				}
				b.StartTimer()
			}
			l.Record(d)
		}
		if dropped := count(l.metrics.dropped); dropped > 0 {
			b.Fatalf("%d dropped", dropped)
		}
	})
	b.Run("count+entry/parallel", func(b *testing.B) {
		// The real thing, writer included, as fast as it will go: what does
		// not fit is dropped and shown.
		l := open(b, Config{}, Dependencies{Stdout: discard{}})
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			d := typical()
			for pb.Next() {
				l.Record(d)
			}
		})
		b.ReportMetric(float64(count(l.metrics.dropped))/float64(b.N), "dropped/op")
	})
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// openForgetful opens lines that are never written, so that nothing but handing
// them over takes time.
func openForgetful(b *testing.B, m *metrics) *linelog.Log[record] {
	lines, err := linelog.Open(linelog.Config[record]{
		Places: defaultQueue,
		Encode: func(block []byte, _ *record) ([]byte, error) { return block, nil },
		Reset:  func(r *record) { *r = record{name: r.name[:0]} },
	}, linelog.Dependencies{
		Counters: linelog.Counters{Written: m.entries, Dropped: m.dropped, Errors: m.errors},
		Stdout:   discard{},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := lines.Close(); err != nil {
			b.Error(err)
		}
	})
	return lines
}

// BenchmarkLog is the whole way into a file: one goroutine records as fast as
// the queue allows without loss, one writes.
func BenchmarkLog(b *testing.B) { benchmarkLog(b, nil) }

// BenchmarkLogPseudonyms is the same with every person under a pseudonym.
func BenchmarkLogPseudonyms(b *testing.B) {
	benchmarkLog(b, mask(b, privacy.Pseudonym, privacy.Pseudonym, privacy.Pseudonym))
}

func benchmarkLog(b *testing.B, mask *privacy.Mask) {
	l := open(b, Config{File: filepath.Join(b.TempDir(), "log"), Tenant: "default"}, Dependencies{Mask: mask})
	d := typical()
	for b.Loop() {
		for l.lines.Waiting() > defaultQueue*3/4 {
			time.Sleep(100 * time.Microsecond)
		}
		l.Record(d)
	}
	closeLog(b, l)
	if dropped := count(l.metrics.dropped); dropped > 0 {
		b.Fatalf("%d dropped", dropped)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

// BenchmarkEntry is zap's part: one record to one line.
func BenchmarkEntry(b *testing.B) {
	e := newEncoder("default", newIDs(), nil)
	var r record
	r.fill(typical(), start.UnixNano())
	b.ReportAllocs()
	for b.Loop() {
		line, err := e.line(&r)
		if err != nil {
			b.Fatal(err)
		}
		line.Free()
	}
}
