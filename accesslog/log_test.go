package accesslog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, cfg Config, m *Metrics, out io.Writer) *Log {
	t.Helper()
	l, err := Open(cfg, Dependencies{Metrics: m, Out: out})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func closeLog(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func newTestMetrics(t testing.TB) *Metrics {
	t.Helper()
	m, err := NewMetrics(prometheus.NewPedanticRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func count(v *prometheus.CounterVec, f Format) int {
	return int(testutil.ToFloat64(v.WithLabelValues(f.String())))
}

func TestParseFormat(t *testing.T) {
	for _, f := range []Format{FormatSquid, FormatCombined} {
		if got, err := ParseFormat(f.String()); err != nil || got != f {
			t.Errorf("ParseFormat(%q) = %v, %v", f, got, err)
		}
	}
	for _, name := range []string{"", "SQUID", "common"} {
		if _, err := ParseFormat(name); err == nil || !strings.Contains(err.Error(), "use squid or combined") {
			t.Errorf("ParseFormat(%q): %v, want an error with a remedy", name, err)
		}
	}
}

// Two logs of one process, each in its format, counted each by its own.
func TestLogs(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	m, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	squid, combined := filepath.Join(dir, "squid"), filepath.Join(dir, "combined")
	logs := []*Log{
		open(t, Config{File: squid}, m, nil),
		open(t, Config{File: combined, Format: FormatCombined, Zone: start.Location(), KeepQuery: true}, m, nil),
	}
	entries := sample()
	for i := range entries {
		for _, l := range logs {
			l.Append(&entries[i])
		}
	}
	e := tunnel()
	logs[0].Append(&e)
	for _, l := range logs {
		closeLog(t, l)
		l.Append(&e) // too late, and counted
	}
	n := len(entries)
	for path, want := range map[string]int{squid: n + 1, combined: n} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Count(data, []byte("\n")); got != want {
			t.Errorf("%d lines in %s, want %d", got, path, want)
		}
	}
	golden, err := os.ReadFile("testdata/squid.log")
	if err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(squid); !bytes.HasPrefix(data, golden) {
		t.Errorf("the squid log reads\n%s", data)
	}
	want := fmt.Sprintf(`
# HELP sallyport_access_log_entries_total Lines written to access logs.
# TYPE sallyport_access_log_entries_total counter
sallyport_access_log_entries_total{format="combined"} %d
sallyport_access_log_entries_total{format="squid"} %d
# HELP sallyport_access_log_dropped_total Lines lost because an access log was slower than the traffic, or closed.
# TYPE sallyport_access_log_dropped_total counter
sallyport_access_log_dropped_total{format="combined"} 1
sallyport_access_log_dropped_total{format="squid"} 1
# HELP sallyport_access_log_write_errors_total Failed attempts to write to access logs. Lines wait in the queue and are tried again.
# TYPE sallyport_access_log_write_errors_total counter
sallyport_access_log_write_errors_total{format="combined"} 0
sallyport_access_log_write_errors_total{format="squid"} 0
`, n, n+1)
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	if _, err := NewMetrics(registry); !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
		t.Errorf("registered twice: %v", err)
	}
}

func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	l := open(t, Config{File: path}, newTestMetrics(t), nil)
	e := page()
	l.Append(&e)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	l.Append(&e)
	closeLog(t, l)
	for _, p := range []string{path, path + ".1"} {
		if data, err := os.ReadFile(p); err != nil || bytes.Count(data, []byte("\n")) != 1 {
			t.Errorf("%s holds %q (%v), want one line", p, data, err)
		}
	}
}

func TestFileThatCannotBe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "no", "folder")
	if _, err := Open(Config{File: path}, Dependencies{Metrics: newTestMetrics(t)}); err == nil ||
		!strings.Contains(err.Error(), "open access log") || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want one that names the log and the path", err)
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	for _, f := range []Format{FormatSquid, FormatCombined} {
		l := open(t, Config{Format: f}, newTestMetrics(t), io.Discard)
		for name, e := range map[string]Entry{"page": page(), "tunnel": tunnel(), "hostile": sample()[len(sample())-1]} {
			if n := testing.AllocsPerRun(1000, func() { l.Append(&e) }); n != 0 {
				t.Errorf("%s, %s: %v allocations", f, name, n)
			}
		}
		closeLog(t, l)
	}
}

// held is an output that takes nothing until it is released.
type held struct {
	bytes.Buffer
	release chan struct{}
}

func (h *held) Write(p []byte) (int, error) {
	<-h.release
	return h.Buffer.Write(p)
}

// Long lines share a bounded memory, and do not keep short ones out.
func TestLongLinesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := held{release: make(chan struct{})}
		m := newTestMetrics(t)
		l := open(t, Config{Queue: 4096, KeepQuery: true}, m, &out)
		short, long := tunnel(), page()
		long.URL = "http://x.example/?" + strings.Repeat("\xff", 2*maxText)
		l.Append(&short) // the writer takes it, and is held
		synctest.Wait()
		const all = 2000
		for range all {
			l.Append(&long)
		}
		if got := l.long.Load(); got > longBytes || got < longBytes/2 {
			t.Errorf("long lines take %d bytes of the %d that they may", got, longBytes)
		}
		lost := count(m.dropped, FormatSquid)
		if lost == 0 || lost == all {
			t.Errorf("%d of %d long lines lost", lost, all)
		}
		l.Append(&short)
		if got := count(m.dropped, FormatSquid); got != lost {
			t.Error("a short line found no room beside long ones")
		}
		close(out.release)
		closeLog(t, l)
		if got := bytes.Count(out.Bytes(), []byte("\n")); got != all+2-lost || got != count(m.entries, FormatSquid) {
			t.Errorf("%d lines written, %d counted, want %d", got, count(m.entries, FormatSquid), all+2-lost)
		}
		if got := l.long.Load(); got != 0 {
			t.Errorf("%d bytes of long lines left in an empty queue", got)
		}
	})
}

func TestAppendFromManySides(t *testing.T) {
	m := newTestMetrics(t)
	var out bytes.Buffer
	l := open(t, Config{Format: FormatCombined, Queue: 64}, m, &out)
	const writers, each = 8, 2000
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			e := page()
			e.UserAgent = strings.Repeat("x", i*200) // long lines and short ones
			for range each {
				l.Append(&e)
			}
		})
	}
	wg.Wait()
	closeLog(t, l)
	lines := 0
	for line := range strings.Lines(out.String()) {
		if !combinedLine.MatchString(strings.TrimSuffix(line, "\n")) {
			t.Fatalf("torn line %q", line)
		}
		lines++
	}
	if lost := count(m.dropped, FormatCombined); lines+lost != writers*each || lines != count(m.entries, FormatCombined) {
		t.Errorf("%d lines, %d counted, %d lost of %d", lines, count(m.entries, FormatCombined), lost, writers*each)
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, f := range []Format{FormatSquid, FormatCombined} {
		b.Run(f.String(), func(b *testing.B) {
			e, line := page(), make([]byte, 0, lineRoom)
			plain := form{zone: start.Location()}
			b.ReportAllocs()
			for b.Loop() {
				if f == FormatSquid {
					line = plain.appendSquid(line[:0], &e)
				} else {
					line = plain.appendCombined(line[:0], &e)
				}
			}
		})
	}
}
