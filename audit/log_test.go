package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sallyport/sallyport/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	memoRule = &policy.Rule{Name: "zoom-memo", Reason: "Privacy and security concerns"}
	openRule = &policy.Rule{Name: "approved"}
	rehearse = &policy.Rule{Name: "watch-messaging"}
	zoom     = &policy.App{ID: "zoom"}
	webex    = &policy.App{ID: "webex"}
	start    = time.Date(2020, 3, 28, 9, 0, 0, 123_456_000, time.FixedZone("PDT", -7*3600))
)

func blocked() *policy.Decision {
	return &policy.Decision{
		Time: start, Door: policy.DoorDNS, Transport: "udp",
		Client: netip.MustParseAddr("10.4.7.7"),
		Host:   policy.HostFromCanonicalName("us04web.zoom.us"), QType: "HTTPS",
		Verdict: policy.Verdict{Action: policy.ActionBlock, Rule: memoRule, App: zoom, Group: "employees"},
	}
}

func allowed() *policy.Decision {
	d := blocked()
	d.Verdict = policy.Verdict{Action: policy.ActionAllow, Rule: openRule, App: webex}
	return d
}

func rehearsed() *policy.Decision {
	d := allowed()
	d.Verdict.Would, d.Verdict.WouldApp, d.Verdict.WouldGroup, d.Verdict.WouldAction = rehearse, zoom, "employees", policy.ActionBlock
	return d
}

// open starts a log in the test's registry and closes it at the end.
func open(t testing.TB, cfg Config, deps Dependencies) *Log {
	t.Helper()
	l, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func closeLog(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func count(c prometheus.Collector) int { return int(testutil.ToFloat64(c)) }

// sum is the total over all series of a vector.
func sum(t testing.TB, c prometheus.Collector) int {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	total := 0.0
	for _, f := range families {
		for _, m := range f.Metric {
			total += m.GetCounter().GetValue()
		}
	}
	return int(total)
}

// readLines reads a log and fails the test unless every line is an object.
func readLines(t testing.TB, data []byte) []map[string]any {
	t.Helper()
	var out []map[string]any
	if len(data) > 0 && data[len(data)-1] != '\n' {
		t.Fatalf("the log ends in the middle of a line: %q", data[max(0, len(data)-80):])
	}
	for line := range bytes.Lines(data) {
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		out = append(out, m)
	}
	return out
}

func readFile(t testing.TB, path string) []map[string]any {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return readLines(t, data)
}

func TestCounters(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	var out bytes.Buffer
	l := open(t, Config{Allows: ExtentNone}, Dependencies{Registerer: registry, Stdout: &out})
	for range 3 {
		l.Record(blocked())
	}
	l.Record(allowed())
	l.Record(rehearsed())
	l.Record(&policy.Decision{}) // no policy was loaded
	harmless := allowed()        // a rehearsed rule that would have allowed is no would-block
	harmless.Verdict.Would, harmless.Verdict.WouldAction = rehearse, policy.ActionAllow
	l.Record(harmless)
	strange := blocked()
	strange.Verdict.Rule = &policy.Rule{Name: "not \xff UTF-8"}
	l.Record(strange)
	l.RecordEnd(&policy.TunnelEnd{Decision: allowed(), ClosedBy: "client"})
	closeLog(t, l)

	want := `
# HELP sallyport_decisions_total Decisions taken. Exact, whatever the decision log keeps.
# TYPE sallyport_decisions_total counter
sallyport_decisions_total{action="allow",app="webex",door="dns",group="unidentified",rule="approved"} 3
sallyport_decisions_total{action="block",app="none",door="none",group="unidentified",rule="default"} 1
sallyport_decisions_total{action="block",app="zoom",door="dns",group="employees",rule="not � UTF-8"} 1
sallyport_decisions_total{action="block",app="zoom",door="dns",group="employees",rule="zoom-memo"} 3
# HELP sallyport_would_block_total Decisions that let pass what a monitoring or report-only rule would have refused.
# TYPE sallyport_would_block_total counter
sallyport_would_block_total{app="zoom",door="dns",group="employees",rule="watch-messaging"} 1
# HELP sallyport_audit_entries_total Entries written to the decision log.
# TYPE sallyport_audit_entries_total counter
sallyport_audit_entries_total{sink="stdout"} 6
# HELP sallyport_audit_dropped_total Entries lost because the decision log was slower than the traffic, or closed.
# TYPE sallyport_audit_dropped_total counter
sallyport_audit_dropped_total{sink="stdout"} 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "sallyport_decisions_total",
		"sallyport_would_block_total", "sallyport_audit_entries_total", "sallyport_audit_dropped_total"); err != nil {
		t.Error(err)
	}
	if got := len(readLines(t, out.Bytes())); got != 6 {
		t.Errorf("%d entries written, want 6: four blocks, the rehearsal and the one without a policy", got)
	}
}

func TestSecondLogInOneRegistry(t *testing.T) {
	registry := prometheus.NewRegistry()
	open(t, Config{}, Dependencies{Registerer: registry, Stdout: io.Discard})
	if _, err := New(Config{}, Dependencies{Registerer: registry}); !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
		t.Errorf("error %v, want AlreadyRegisteredError", err)
	}
}

// A failed registration must leave nothing behind, or a second attempt after
// the cause is gone would fail too.
func TestRegisterAllOrNothing(t *testing.T) {
	registry := prometheus.NewRegistry()
	last := newMetrics("file").errorsVec
	registry.MustRegister(last)
	if _, err := New(Config{}, Dependencies{Registerer: registry}); err == nil {
		t.Fatal("registered twice")
	}
	registry.Unregister(last)
	open(t, Config{}, Dependencies{Registerer: registry, Stdout: io.Discard})
}

// Whatever the queue loses, every decision is counted and every entry is
// either written or counted as dropped.
func TestExactUnderOverflow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := open(t, Config{File: path, Queue: 8}, Dependencies{})
	const writers, each = 8, 5000
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for n := range each {
				d := blocked()
				if (i+n)%2 == 0 {
					d = allowed()
				}
				// New kinds of decision appear all the while.
				d.Verdict.Group = fmt.Sprint("group ", n%100)
				l.Record(d)
			}
		})
	}
	wg.Wait()
	closeLog(t, l)
	l.Record(blocked()) // after the end: counted, and lost

	if got, want := sum(t, l.metrics.decisionsVec), writers*each+1; got != want {
		t.Errorf("%d decisions counted, %d taken", got, want)
	}
	written, dropped := count(l.metrics.entries), count(l.metrics.dropped)
	if written+dropped != writers*each+1 {
		t.Errorf("%d written and %d dropped, want %d together", written, dropped, writers*each+1)
	}
	if dropped < 2 {
		t.Errorf("%d dropped: the queue of 8 did not overflow and the test shows nothing", dropped)
	}
	if got := len(readFile(t, path)); got != written {
		t.Errorf("%d lines in the file, %d counted as written", got, written)
	}
}

// Close and Record at the same time: no entry may vanish between them.
func TestExactAtClose(t *testing.T) {
	for range 50 {
		var out bytes.Buffer
		l := open(t, Config{}, Dependencies{Stdout: &out})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 200 {
					l.Record(blocked())
				}
			})
		}
		closeLog(t, l)
		wg.Wait()
		written, dropped := count(l.metrics.entries), count(l.metrics.dropped)
		if written+dropped != 800 || sum(t, l.metrics.decisionsVec) != 800 {
			t.Fatalf("%d written and %d dropped of 800", written, dropped)
		}
		if got := len(readLines(t, out.Bytes())); got != written {
			t.Fatalf("%d lines, %d counted as written", got, written)
		}
	}
}

func TestRotationUnderLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	l := open(t, Config{File: path}, Dependencies{})
	const writers, each, rotations = 2, 4000, 10
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for n := range each {
				d := blocked()
				d.ID = fmt.Sprintf("%d-%d", i, n)
				// The writer keeps up on any machine if nobody hurries it.
				for l.lines.Waiting() > defaultQueue/2 {
					time.Sleep(time.Millisecond)
				}
				l.Record(d)
			}
		})
	}
	for n := range rotations {
		if err := os.Rename(path, fmt.Sprint(path, ".", n)); err != nil {
			t.Fatal(err)
		}
		if err := l.Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	closeLog(t, l)

	seen := map[string]bool{}
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) != rotations+1 {
		t.Fatalf("files %v, %v: want %d", files, err, rotations+1)
	}
	for _, f := range files {
		for _, entry := range readFile(t, f) {
			id := entry["id"].(string)
			if seen[id] {
				t.Errorf("entry %s is there twice", id)
			}
			seen[id] = true
		}
	}
	if len(seen) != writers*each || count(l.metrics.dropped) != 0 {
		t.Errorf("%d entries found of %d, %d dropped", len(seen), writers*each, count(l.metrics.dropped))
	}
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sub", "log")
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	l := open(t, Config{File: path}, Dependencies{})
	l.Record(blocked())
	if err := os.Rename(filepath.Dir(path), filepath.Join(dir, "old")); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("the folder is gone: %v, want an error with the path", err)
	}
	l.Record(blocked()) // still to the file that it has
	closeLog(t, l)
	if got := len(readFile(t, filepath.Join(dir, "old", "log"))); got != 2 {
		t.Errorf("%d entries in the old file, want 2", got)
	}
	if err := l.Reopen(); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("reopen after close: %v", err)
	}

	stdout := open(t, Config{}, Dependencies{Stdout: io.Discard})
	if err := stdout.Reopen(); err != nil {
		t.Errorf("reopen of standard output: %v", err)
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	closeLog(t, open(t, Config{File: path}, Dependencies{}))
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if perm := info.Mode().Perm(); perm&^0o640 != 0 || perm&0o600 != 0o600 {
		t.Errorf("mode %#o, want 0640 or less", perm)
	}

	// A line that a former process left torn does not swallow our first.
	if err := os.WriteFile(path, []byte("{\"id\":\"whole\"}\n{\"id\":\"to"), 0o640); err != nil {
		t.Fatal(err)
	}
	l := open(t, Config{File: path}, Dependencies{})
	l.Record(blocked())
	closeLog(t, l)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(string(data), "\n")
	if len(got) != 4 || got[0] != `{"id":"whole"}` || got[1] != `{"id":"to` || !json.Valid([]byte(got[2])) || got[3] != "" {
		t.Errorf("after a torn line the file reads %q", got)
	}

	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{File: fifo}, Dependencies{}); err == nil || !strings.Contains(err.Error(), fifo) {
		t.Errorf("a named pipe that nobody reads: %v, want an error with the path", err)
	}
	if _, err := New(Config{File: filepath.Join(path, "x")}, Dependencies{}); err == nil || !strings.Contains(err.Error(), "open decision log") {
		t.Errorf("a path that cannot be: %v", err)
	}
}

// stubborn is a writer that can fail, take part of what it gets, or block.
type stubborn struct {
	mu    sync.Mutex
	fail  error
	limit int // bytes taken of each write while failing
	bytes.Buffer
}

func (s *stubborn) set(fail error, limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail, s.limit = fail, limit
}

func (s *stubborn) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		b = b[:min(s.limit, len(b))]
		s.Buffer.Write(b)
		s.limit = 0
		return len(b), s.fail
	}
	return s.Buffer.Write(b)
}

func TestWriteErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		var out stubborn
		l := open(t, Config{Queue: 64}, Dependencies{Stdout: &out, Log: zap.New(core)})
		out.set(errors.New("no space left"), 100)
		for range 10 {
			l.Record(blocked())
		}
		time.Sleep(3 * time.Minute)
		errorLines := logs.FilterMessageSnippet("cannot write").Len()
		if errorLines < 3 || errorLines > 4 {
			t.Errorf("%d complaints in three minutes, want one a minute", errorLines)
		}
		if n := count(l.metrics.errors); n < 100 {
			t.Errorf("%d failures counted: it does not keep trying", n)
		}
		if n := count(l.metrics.dropped); n != 0 {
			t.Errorf("%d entries dropped that the queue could hold", n)
		}
		if err := l.Reopen(); err != nil {
			t.Errorf("reopen while the file fails: %v", err)
		}

		out.set(nil, 0)
		time.Sleep(time.Second)
		if logs.FilterMessageSnippet("written again").Len() != 1 {
			t.Error("no word that the trouble is over")
		}
		closeLog(t, l)
		if got := len(readLines(t, out.Bytes())); got != 10 || count(l.metrics.entries) != 10 {
			t.Errorf("%d lines, %d counted, want 10 without loss or repetition", got, count(l.metrics.entries))
		}
	})
}

func TestCloseGivesUpOnAFailingFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out stubborn
		l := open(t, Config{}, Dependencies{Stdout: &out})
		out.set(errors.New("no space left"), 0)
		for range 7 {
			l.Record(blocked())
		}
		began := time.Now()
		err := l.Close()
		if err == nil || !strings.Contains(err.Error(), "7 entries are lost") {
			t.Errorf("close: %v, want the loss of 7", err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("close took %v", took)
		}
		if n := count(l.metrics.dropped); n != 7 {
			t.Errorf("%d counted as dropped, want 7", n)
		}
		if again := l.Close(); again != err {
			t.Errorf("closing again says %v", again)
		}
	})
}

// blocking is a writer that does not return until it is released.
type blocking struct{ release chan struct{} }

func (b blocking) Write(p []byte) (int, error) {
	<-b.release
	return len(p), nil
}

func TestBlockedOutputBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := blocking{make(chan struct{})}
		l, err := New(Config{Queue: 16}, Dependencies{Stdout: out})
		if err != nil {
			t.Fatal(err)
		}
		// The writer gathers a block before its first write holds it, so a few
		// hundred entries find room beside the queue.
		const recorded = 10_000
		began := time.Now()
		for range recorded {
			l.Record(blocked())
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("recording waited %v", took)
		}
		if n := count(l.metrics.dropped); n < recorded/2 {
			t.Errorf("%d of %d dropped by a queue of 16", n, recorded)
		}
		if err := l.Reopen(); err == nil || !strings.Contains(err.Error(), "taken no data") {
			t.Errorf("reopen: %v", err)
		}
		if err := l.Close(); err == nil || !strings.Contains(err.Error(), "taken no data") {
			t.Errorf("close: %v", err)
		}
		close(out.release)
		synctest.Wait() // the goroutine ends with the write that held it
		if written, dropped := count(l.metrics.entries), count(l.metrics.dropped); written+dropped != recorded {
			t.Errorf("%d written and %d dropped of %d", written, dropped, recorded)
		}
	})
}

// The last places of the queue are for refusals.
func TestAllowsAreDroppedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := blocking{make(chan struct{})}
		l := open(t, Config{Queue: 16}, Dependencies{Stdout: out})
		l.Record(allowed()) // the writer takes it and is held
		synctest.Wait()
		for range 100 {
			l.Record(allowed())
		}
		before := count(l.metrics.dropped)
		l.Record(blocked())
		l.Record(rehearsed())
		if n := count(l.metrics.dropped); n != before {
			t.Error("a full queue of allows leaves no room for refusals")
		}
		l.Record(blocked())
		if n := count(l.metrics.dropped); n != before+1 {
			t.Error("the queue is not bounded")
		}
		close(out.release)
		closeLog(t, l)
	})
}

// promptly is how long entries may gather before they are written.
const promptly = 10 * time.Millisecond

// An entry must be in the file soon after it was recorded, not only at Close.
func TestEntriesAreWrittenPromptly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out stubborn
		l := open(t, Config{}, Dependencies{Stdout: &out})
		for _, pause := range []time.Duration{0, time.Millisecond, time.Hour, promptly, promptly + 1} {
			time.Sleep(pause)
			l.Record(blocked())
			time.Sleep(promptly + time.Millisecond)
			synctest.Wait()
			if n := count(l.metrics.dropped); n != 0 {
				t.Fatalf("%d dropped", n)
			}
			if got, want := count(l.metrics.entries), sum(t, l.metrics.decisionsVec); got != want {
				t.Errorf("%d of %d entries written after a rest", got, want)
			}
		}
	})
}

func TestRecordDoesNotAllocate(t *testing.T) {
	l := open(t, Config{}, Dependencies{Stdout: io.Discard})
	for name, d := range map[string]*policy.Decision{"block": blocked(), "allow": allowed(), "rehearsed": rehearsed(), "a device": typical()} {
		if n := testing.AllocsPerRun(1000, func() { l.Record(d) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestIDsAreDistinct(t *testing.T) {
	var out bytes.Buffer
	l := open(t, Config{}, Dependencies{Stdout: &out})
	const own = "the-doors-own"
	d := blocked()
	d.ID = own
	l.Record(d)
	l.Record(blocked())
	l.Record(blocked())
	closeLog(t, l)
	seen := map[string]bool{}
	for _, e := range readLines(t, out.Bytes()) {
		id := e["id"].(string)
		if seen[id] || id == "" || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || len(id) > 24 {
			t.Errorf("id %q is repeated, empty, long or unfit for a URL", id)
		}
		seen[id] = true
	}
	if len(seen) != 3 || !seen[own] {
		t.Errorf("ids %v, want three with %s among them", seen, own)
	}
	one, other := newIDs(), newIDs()
	if one.prefix == other.prefix {
		t.Error("two runs share a prefix")
	}
}

func TestMissingTimeIsNow(t *testing.T) {
	var out bytes.Buffer
	l := open(t, Config{}, Dependencies{Stdout: &out, Now: func() time.Time { return start }})
	d := blocked()
	d.Time = time.Time{}
	l.Record(d)
	closeLog(t, l)
	if got := readLines(t, out.Bytes())[0]["time"]; got != "2020-03-28T16:00:00.123456Z" {
		t.Errorf("time %v", got)
	}
}
