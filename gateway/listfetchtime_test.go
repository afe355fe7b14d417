package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sallyport/sallyport/policy"
)

// TestListWait holds every wait to its bounds, for the least and the most that
// chance gives.
func TestListWait(t *testing.T) {
	limits := defaultListLimits()
	least := func(time.Duration) time.Duration { return 0 }
	most := func(below time.Duration) time.Duration { return max(0, below-1) }
	network, shrunk := fails(fetchNetwork, "away"), fails(fetchShrunk, "less")
	busy := &fetchError{result: fetchStatus, after: 2 * time.Hour, err: errors.New("busy")}
	forever := &fetchError{result: fetchStatus, after: 1000 * time.Hour, err: errors.New("busy")}
	const day = 24 * time.Hour
	for _, test := range []struct {
		name       string
		refresh    time.Duration
		failures   int
		err        error
		from, upTo time.Duration
	}{
		{"after a success", day, 0, nil, day, day + day/10},
		{"after a success, at the least", time.Minute, 0, nil, time.Minute, 66 * time.Second},
		{"the first failure", day, 1, network, 15 * time.Second, 30 * time.Second},
		{"the second", day, 2, network, 30 * time.Second, time.Minute},
		{"the fifth", day, 5, network, 4 * time.Minute, 8 * time.Minute},
		{"the thousandth", day, 1000, network, 30 * time.Minute, time.Hour},
		{"never longer than it is refreshed", 2 * time.Minute, 1000, network, time.Minute, 2 * time.Minute},
		{"what is no good, in the end once a day", day, 1000, shrunk, day / 2, day},
		{"the state folder", day, 1000, stateError(io.ErrShortWrite), 30 * time.Minute, time.Hour},
		{"as the server asks", day, 1, busy, 2 * time.Hour, 2 * time.Hour},
		{"as the server asks, within reason", day, 1, forever, day, day},
	} {
		t.Run(test.name, func(t *testing.T) {
			from := limits.wait(test.refresh, test.failures, test.err, least)
			upTo := limits.wait(test.refresh, test.failures, test.err, most)
			if from != test.from || upTo > test.upTo || upTo < test.upTo-2 {
				t.Errorf("from %v up to %v, want from %v up to %v", from, upTo, test.from, test.upTo)
			}
		})
	}
	for range 1000 {
		if d := randomBelow(time.Second); d < 0 || d >= time.Second {
			t.Fatalf("chance gave %v", d)
		}
	}
	if randomBelow(0) != 0 {
		t.Error("chance below nothing is nothing")
	}
}

func TestListDue(t *testing.T) {
	limits := defaultListLimits()
	const day = 24 * time.Hour
	for _, test := range []struct {
		age, due, atStart time.Duration
	}{
		{0, day, day},
		{59 * time.Second, day - 59*time.Second, day - 59*time.Second},
		{time.Minute, day - time.Minute, 0},
		{23 * time.Hour, time.Hour, 0},
		{25 * time.Hour, 0, 0},
		{-time.Hour, 0, 0},
	} {
		if due, atStart := limits.due(day, test.age), limits.dueAtStart(day, test.age); due != test.due || atStart != test.atStart {
			t.Errorf("age %v: due in %v, at the start in %v; want %v and %v", test.age, due, atStart, test.due, test.atStart)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "120": 2 * time.Minute, "-1": 0, "soon": 0, "99999999999": 0,
		"Fri, 03 Apr 2020 12:00:00 GMT": 0,
	} {
		if got := retryAfter(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		at := time.Now().Add(time.Hour).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")
		if got := retryAfter(at); got != time.Hour {
			t.Errorf("%q: %v, want 1h", at, got)
		}
	})
}

// played is a server that answers as told, on a clock that a test plays.
type played struct {
	mu     sync.Mutex
	began  time.Time
	asked  []string // when, and for what
	answer func(listRequest) (listAnswer, error)
}

func (p *played) get(_ context.Context, r listRequest) (listAnswer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, fmt.Sprintf("%v %s", time.Since(p.began).Round(time.Second), r.source.Name))
	return p.answer(r)
}

// list answers with one content for ever.
func (p *played) list(r listRequest) (listAnswer, error) {
	const text = "bad.example\n"
	if r.known != nil {
		return listAnswer{unchanged: true}, nil
	}
	if _, err := io.WriteString(r.into, text); err != nil {
		return listAnswer{}, err
	}
	return listAnswer{size: int64(len(text)), digest: sumOf(text)}, nil
}

// want compares what was asked for since the last look.
func (p *played) want(t *testing.T, want ...string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.Sort(p.asked) // lists that are due at one moment come in any order
	slices.Sort(want)
	if !slices.Equal(p.asked, want) {
		t.Errorf("asked for %q, want %q", p.asked, want)
	}
	p.asked = nil
}

// TestListSchedule plays three days of fetching.
func TestListSchedule(t *testing.T) {
	folder := t.TempDir() // of the real world, where files have real times
	synctest.Test(t, func(t *testing.T) {
		server := &played{began: time.Now()}
		server.answer = server.list
		b := newFetchBench(t, nil)
		b.deps.store = newListStore(folder)
		b.deps.get = server.get
		b.deps.random = func(below time.Duration) time.Duration { return below / 2 }
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		daily := policy.ListSource{Name: "daily", URL: "https://lists.example/a"}
		hourly := policy.ListSource{Name: "hourly", URL: "https://lists.example/b", Refresh: time.Hour}
		pinned := policy.ListSource{Name: "pinned", URL: "https://lists.example/c", Refresh: time.Hour, SHA256: sumOf("bad.example\n")}
		b.listFetcher.want([]policy.ListSource{daily, hourly, pinned, {Name: "file", File: "a.txt"}}, nil)
		running.Go(func() { b.run(ctx) })
		after := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}

		after(0)
		server.want(t, "0s daily", "0s hourly", "0s pinned")
		// Every hour and half a tenth; what is pinned and there, never again.
		after(150 * time.Minute)
		server.want(t, "1h3m0s hourly", "2h6m0s hourly")
		after(24 * time.Hour)
		if n := len(server.asked); n != 24 {
			t.Errorf("%d fetches in a day, want 23 of one list and 1 of the other: %q", n, server.asked)
		}
		server.asked = nil

		// An edit elsewhere moves the list in the file, and asks for nothing.
		moved := daily
		moved.Position = policy.Position{File: "p.yaml", Line: 9}
		b.listFetcher.want([]policy.ListSource{moved}, nil)
		after(time.Hour)
		server.want(t)

		// A failure is tried again with growing waits, at once if somebody asks,
		// but not as often as somebody asks.
		server.began = time.Now()
		server.answer = func(listRequest) (listAnswer, error) { return listAnswer{}, fails(fetchNetwork, "away") }
		other := policy.ListSource{Name: "other", URL: "https://lists.example/d"}
		b.listFetcher.want([]policy.ListSource{daily, other}, []policy.ListSource{other})
		after(3 * time.Minute)
		server.want(t, "0s other", "23s other", "1m8s other", "2m38s other")
		for range 5 {
			b.listFetcher.want([]policy.ListSource{daily, other}, []policy.ListSource{other})
			after(time.Second)
		}
		server.want(t, "3m0s other")
		server.answer = server.list
		b.listFetcher.want([]policy.ListSource{daily, other}, []policy.ListSource{other})
		after(10 * time.Second)
		server.want(t, "3m10s other")

		// Another interval counts from the last fetch, and brings none forward.
		server.began = time.Now()
		other.Refresh = 6 * time.Hour
		b.listFetcher.want([]policy.ListSource{other}, nil)
		after(5 * time.Hour)
		server.want(t)
		after(time.Hour)
		server.want(t, "5h59m55s other")

		cancel()
		running.Wait()
		after(48 * time.Hour)
		server.want(t)
	})
}

// TestProgress lets a download take its time: the log hears of it every few
// seconds, and of nothing when it is done.
func TestProgress(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		server := &played{began: time.Now()}
		server.answer = func(r listRequest) (listAnswer, error) {
			r.whole(100)
			for range 12 {
				time.Sleep(time.Second)
				r.moved(5)
			}
			return server.list(r)
		}
		b := newFetchBench(t, nil)
		b.deps.store, b.deps.get, b.deps.log = newListStore(folder), server.get, zap.New(core)
		if result, err := b.once(policy.ListSource{Name: "slow", URL: "https://lists.example/a?key=secret"}); err != nil || result != fetchFresh {
			t.Fatal(result, err)
		}
		time.Sleep(time.Minute)
		var told []string
		for _, entry := range logs.All() {
			fields := entry.ContextMap()
			told = append(told, fmt.Sprint(entry.Message, " ", fields["list"], " ", fields["url"], " ", fields["bytes"], " of ", fields["of"]))
		}
		want := []string{"fetching a list slow https://lists.example/a?... 25 of 100", "fetching a list slow https://lists.example/a?... 50 of 100"}
		for i, w := range want {
			// The fifth second's byte and the fifth second's word come in any order.
			less := fmt.Sprintf("%d of 100", 20+25*i)
			if len(told) != 2 || told[i] != w && !strings.HasSuffix(told[i], less) {
				t.Fatalf("the log has %q, want %q", told, want)
			}
		}
	})
}

// TestRecoveryIsLogged has a list fail and come back unchanged: the log says
// that it is well again, once.
func TestRecoveryIsLogged(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		server := &played{began: time.Now()}
		server.answer = server.list
		b := newFetchBench(t, nil)
		b.deps.store, b.deps.get, b.deps.log = newListStore(folder), server.get, zap.New(core)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		b.listFetcher.want([]policy.ListSource{{Name: "hourly", URL: "https://lists.example/a", Refresh: time.Hour}}, nil)
		running.Go(func() { b.run(ctx) })
		time.Sleep(time.Minute)
		synctest.Wait()
		logs.TakeAll() // of the first fetch

		server.mu.Lock()
		failed := 0
		server.answer = func(r listRequest) (listAnswer, error) {
			if failed < 2 {
				failed++
				return listAnswer{}, fails(fetchNetwork, "away")
			}
			return server.list(r)
		}
		server.mu.Unlock()
		time.Sleep(6 * time.Hour)
		synctest.Wait()
		cancel()
		running.Wait()

		var told []string
		for _, entry := range logs.All() {
			fields := entry.ContextMap()
			told = append(told, fmt.Sprint(entry.Level, ": ", entry.Message, " ", fields["list"], " ", fields["result"], " ", fields["failures"]))
		}
		want := []string{
			"warn: list not fetched: its last good copy keeps deciding hourly network <nil>",
			"warn: list not fetched: its last good copy keeps deciding hourly network <nil>",
			"info: list fetched again hourly unchanged 2",
		}
		if !slices.Equal(told, want) {
			t.Errorf("the log has\n%q, want\n%q", told, want)
		}
	})
}
