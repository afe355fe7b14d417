package linelog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// note is an entry of the tests' own.
type note struct{ text []byte }

// book is a log of notes, with what it counts.
type book struct {
	*Log[note]
	Counters
}

var errUnspeakable = errors.New("unspeakable")

func open(t testing.TB, file string, places int, out io.Writer, log *zap.Logger) book {
	t.Helper()
	counter := func() prometheus.Counter { return prometheus.NewCounter(prometheus.CounterOpts{Name: "x"}) }
	b := book{Counters: Counters{Written: counter(), Dropped: counter(), Errors: counter()}}
	l, err := Open(Config[note]{
		Noun: "visitors' book", File: file, Places: places,
		Encode: func(block []byte, n *note) ([]byte, error) {
			if string(n.text) == "unspeakable" {
				return block, errUnspeakable
			}
			return append(append(block, n.text...), '\n'), nil
		},
		Prepare: func(n *note) { n.text = make([]byte, 0, 32) },
		Reset:   func(n *note) { n.text = n.text[:0] },
	}, Dependencies{Counters: b.Counters, Stdout: out, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	b.Log = l
	t.Cleanup(func() { _ = l.Close() })
	return b
}

// write logs a note, and reports whether there was room.
func (b book) write(format string, args ...any) bool {
	n, place, ok := b.Claim(false)
	if !ok {
		return false
	}
	n.text = fmt.Appendf(n.text, format, args...)
	b.Publish(place)
	return true
}

func (b book) close(t testing.TB) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

func count(c prometheus.Counter) int { return int(testutil.ToFloat64(c)) }

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestLinesComeInOrder(t *testing.T) {
	var out bytes.Buffer
	b := open(t, "", 16, &out, nil)
	var want strings.Builder
	for n := range 1000 {
		for !b.write("%d", n) {
			time.Sleep(time.Millisecond)
		}
		fmt.Fprintln(&want, n)
	}
	b.close(t)
	if out.String() != want.String() {
		t.Errorf("written:\n%s", out.String())
	}
	if n := count(b.Written); n != 1000 {
		t.Errorf("%d counted", n)
	}
}

// Whatever the ring loses, every entry is either written or counted.
func TestEveryEntryIsAccountedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	b := open(t, path, 8, nil, nil)
	const writers, each = 8, 5000
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for n := range each {
				b.write("%d", n)
			}
		})
	}
	wg.Wait()
	b.close(t)
	if b.write("too late") {
		t.Error("an entry was taken after the end")
	}
	written, dropped := count(b.Written), count(b.Dropped)
	if written+dropped != writers*each+1 {
		t.Errorf("%d written and %d dropped, want %d together", written, dropped, writers*each+1)
	}
	if dropped < 2 {
		t.Errorf("%d dropped: the ring of 8 did not overflow and the test shows nothing", dropped)
	}
	if got := strings.Count(read(t, path), "\n"); got != written {
		t.Errorf("%d lines in the file, %d counted as written", got, written)
	}
}

func TestUnspeakableEntriesAreDropped(t *testing.T) {
	var out bytes.Buffer
	b := open(t, "", 8, &out, nil)
	b.write("one")
	b.write("unspeakable")
	b.write("two")
	b.close(t)
	if out.String() != "one\ntwo\n" || count(b.Dropped) != 1 {
		t.Errorf("written %q, %d dropped", out.String(), count(b.Dropped))
	}
}

func TestPlacesKeepNothing(t *testing.T) {
	type letter struct{ text *string }
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "x"})
	l, err := Open(Config[letter]{
		Noun: "post", Places: 8,
		Encode: func(block []byte, r *letter) ([]byte, error) { return append(append(block, *r.text...), '\n'), nil },
	}, Dependencies{Stdout: io.Discard, Counters: Counters{Written: counter, Dropped: counter, Errors: counter}})
	if err != nil {
		t.Fatal(err)
	}
	text := "dear"
	for range 8 {
		if r, place, ok := l.Claim(true); ok {
			r.text = &text
			l.Publish(place)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if count(counter) != 8 {
		t.Fatalf("%d counted, want 8", count(counter))
	}
	for i := range l.ring.places {
		if l.ring.places[i].entry.text != nil {
			t.Fatalf("place %d still holds an entry", i)
		}
	}
}

func TestLoggingDoesNotAllocate(t *testing.T) {
	b := open(t, "", 1<<14, io.Discard, nil)
	line := []byte("a line")
	n := testing.AllocsPerRun(1000, func() {
		if r, place, ok := b.Claim(false); ok {
			r.text = append(r.text, line...)
			b.Publish(place)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	b := open(t, path, 1<<14, nil, nil)
	const writers, each, rotations = 2, 4000, 10
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for n := range each {
				for b.Waiting() > 1<<13 {
					time.Sleep(time.Millisecond)
				}
				b.write("%d-%d", i, n)
			}
		})
	}
	for n := range rotations {
		if err := os.Rename(path, fmt.Sprint(path, ".", n)); err != nil {
			t.Fatal(err)
		}
		if err := b.Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	b.close(t)

	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) != rotations+1 {
		t.Fatalf("files %v, %v: want %d", files, err, rotations+1)
	}
	seen := map[string]bool{}
	for _, f := range files {
		for line := range strings.Lines(read(t, f)) {
			if seen[line] {
				t.Errorf("%q is there twice", line)
			}
			seen[line] = true
		}
	}
	if len(seen) != writers*each || count(b.Dropped) != 0 {
		t.Errorf("%d entries found of %d, %d dropped", len(seen), writers*each, count(b.Dropped))
	}
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sub", "log")
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	b := open(t, path, 8, nil, nil)
	b.write("one")
	if err := os.Rename(filepath.Dir(path), filepath.Join(dir, "old")); err != nil {
		t.Fatal(err)
	}
	if err := b.Reopen(); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("the folder is gone: %v, want an error with the path", err)
	}
	b.write("two") // still to the file that it has
	b.close(t)
	if got := read(t, filepath.Join(dir, "old", "log")); got != "one\ntwo\n" {
		t.Errorf("the old file holds %q", got)
	}
	if err := b.Reopen(); err == nil || !strings.Contains(err.Error(), "reopen visitors' book: it is closed") {
		t.Errorf("reopen after close: %v", err)
	}
	if err := open(t, "", 8, io.Discard, nil).Reopen(); err != nil {
		t.Errorf("reopen without a file: %v", err)
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	open(t, path, 8, nil, nil).close(t)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if perm := info.Mode().Perm(); perm&^0o640 != 0 || perm&0o600 != 0o600 {
		t.Errorf("mode %#o, want 0640 or less", perm)
	}

	// A line that a former process left torn does not swallow our first.
	if err := os.WriteFile(path, []byte("whole\nto"), 0o640); err != nil {
		t.Fatal(err)
	}
	b := open(t, path, 8, nil, nil)
	b.write("ours")
	b.close(t)
	if got := read(t, path); got != "whole\nto\nours\n" {
		t.Errorf("after a torn line the file reads %q", got)
	}
}

func TestFilesThatCannotBe(t *testing.T) {
	dir := t.TempDir()
	plain, fifo := filepath.Join(dir, "plain"), filepath.Join(dir, "fifo")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(fifo, 0o600); err != nil { // that nobody reads
		t.Fatal(err)
	}
	for _, path := range []string{fifo, dir, filepath.Join(plain, "x"), filepath.Join(dir, "no", "folder")} {
		_, err := Open(Config[note]{Noun: "visitors' book", File: path}, Dependencies{})
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "open visitors' book") {
			t.Errorf("%s: %v, want an error with the noun and the path", path, err)
		}
	}
}

// stubborn is an output that can fail, and take a part of what it gets.
type stubborn struct {
	mu    sync.Mutex
	fail  error
	limit int // bytes taken of the next write while failing
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
	if s.fail == nil {
		return s.Buffer.Write(b)
	}
	b = b[:min(s.limit, len(b))]
	s.Buffer.Write(b)
	s.limit = 0
	return len(b), s.fail
}

func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		var out stubborn
		b := open(t, "", 64, &out, zap.New(core))
		out.set(syscall.ENOSPC, 10) // in the middle of the second line
		var want strings.Builder
		for n := range 10 {
			b.write("line %d", n)
			fmt.Fprintln(&want, "line", n)
		}
		time.Sleep(3 * time.Minute)
		if n := logs.FilterMessageSnippet("cannot write the visitors' book").Len(); n < 3 || n > 4 {
			t.Errorf("%d complaints in three minutes, want one a minute", n)
		}
		if n := count(b.Errors); n < 100 {
			t.Errorf("%d failures counted: it does not keep trying", n)
		}
		if n := count(b.Dropped); n != 0 {
			t.Errorf("%d entries dropped that the ring could hold", n)
		}
		if got := b.Trouble(); !strings.HasPrefix(got, "the visitors' book cannot be written: "+syscall.ENOSPC.Error()+": ") {
			t.Errorf("trouble %q", got)
		}
		if err := b.Reopen(); err != nil {
			t.Errorf("reopen while the file fails: %v", err)
		}

		out.set(nil, 0)
		time.Sleep(time.Second)
		if logs.FilterMessageSnippet("visitors' book is written again").Len() != 1 {
			t.Error("no word that the trouble is over")
		}
		if got := b.Trouble(); got != "" {
			t.Errorf("trouble that is over: %q", got)
		}
		b.close(t)
		if out.String() != want.String() || count(b.Written) != 10 {
			t.Errorf("written %q, %d counted, want 10 without loss or repetition", out.String(), count(b.Written))
		}
	})
}

func TestLineTornByAFullDiskGoesWholeToTheNewFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	s, err := openSink("visitors' book", path, nil)
	if err != nil {
		t.Fatal(err)
	}
	written := prometheus.NewCounter(prometheus.CounterOpts{Name: "x"})
	w := &writer[note]{sink: s, counters: Counters{Written: written}, log: zap.NewNop(), block: []byte("{1}\n{2}\n{3}\n"), sent: 6}
	if err := w.rotate(); err != nil {
		t.Fatal(err)
	}
	if err := w.attempt(); err != nil {
		t.Fatal(err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != "{2}\n{3}\n" {
		t.Errorf("the new file holds %q", got)
	}
	if n := count(written); n != 2 {
		t.Errorf("%d entries counted, want 2", n)
	}
}

func TestCloseGivesUpOnAFailingFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out stubborn
		b := open(t, "", 64, &out, nil)
		out.set(syscall.ENOSPC, 0)
		for range 7 {
			b.write("line")
		}
		began := time.Now()
		err := b.Close()
		if err == nil || !strings.Contains(err.Error(), "7 entries are lost") {
			t.Errorf("close: %v, want the loss of 7", err)
		}
		if took := time.Since(began); took > closeTimeout {
			t.Errorf("close took %v", took)
		}
		if n := count(b.Dropped); n != 7 {
			t.Errorf("%d counted as dropped, want 7", n)
		}
		if again := b.Close(); again != err {
			t.Errorf("closing again says %v", again)
		}
	})
}

// held is an output that takes nothing until it is released.
type held struct{ release chan struct{} }

func (h held) Write(p []byte) (int, error) {
	<-h.release
	return len(p), nil
}

func TestBlockedFileBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := held{make(chan struct{})}
		b := open(t, "", 16, out, nil)
		// A block is gathered before the first write holds the writer, so that
		// many more entries find room than the ring has.
		const all = 100_000
		began := time.Now()
		for range all {
			b.write("a line of some length")
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("logging waited %v", took)
		}
		if n := count(b.Dropped); n < all/2 {
			t.Errorf("%d of %d dropped by a ring of 16", n, all)
		}
		if err := b.Reopen(); err == nil || !strings.Contains(err.Error(), "taken no data") {
			t.Errorf("reopen: %v", err)
		}
		if err := b.Close(); err == nil || !strings.Contains(err.Error(), "taken no data") {
			t.Errorf("close: %v", err)
		}
		close(out.release)
		<-b.writer.done // the goroutine ends with the write that held it
		if written, dropped := count(b.Written), count(b.Dropped); written+dropped != all {
			t.Errorf("%d written and %d dropped of %d", written, dropped, all)
		}
	})
}

// The last eighth of the ring is for entries that must be written.
func TestWhatMustBeWrittenHasRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := held{make(chan struct{})}
		b := open(t, "", 16, out, nil)
		b.write("held") // the writer takes it, and is held
		synctest.Wait()
		if got := b.Trouble(); got != "" {
			t.Errorf("trouble %q while there is room", got)
		}
		taken := 0
		for b.write("may") {
			taken++
		}
		if got := b.Trouble(); !strings.Contains(got, "its queue is full") {
			t.Errorf("trouble %q while entries are dropped", got)
		}
		var must []bool
		for range 3 {
			n, place, ok := b.Claim(true)
			if ok {
				n.text = append(n.text, "must"...)
				b.Publish(place)
			}
			must = append(must, ok)
		}
		if taken < 13 || !slices.Equal(must, []bool{true, true, false}) {
			t.Errorf("%d entries found room, and then of those that must: %v", taken, must)
		}
		close(out.release)
		b.close(t)
	})
}

// An entry is in the file soon after it was logged, not only at Close.
func TestEntriesAreWrittenPromptly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out stubborn
		b := open(t, "", 64, &out, nil)
		for i, pause := range []time.Duration{0, time.Millisecond, time.Hour, restTime, restTime + 1} {
			time.Sleep(pause)
			b.write("line")
			time.Sleep(restTime + time.Millisecond)
			synctest.Wait()
			if got := count(b.Written); got != i+1 {
				t.Errorf("%d of %d entries written after a rest", got, i+1)
			}
		}
	})
}
