package gateway

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/policy"
)

// The results of a fetch, as the label says them.
const (
	fetchFresh     = "fresh"     // another content, and a good one
	fetchUnchanged = "unchanged" // the content that is there
	fetchNetwork   = "network"   // the server was not reached, or broke off
	fetchStatus    = "status"    // it answered something else than the list
	fetchSize      = "size"      // more than may be
	fetchChecksum  = "checksum"  // not the content that the policy pins
	fetchFormat    = "format"    // no list
	fetchShrunk    = "shrunk"    // a list that lost nearly everything
	fetchTests     = "tests"     // a list with which the policy fails its own tests
	fetchDisk      = "disk"      // the state folder could not be written
)

// fetchError is why a list could not be fetched.
type fetchError struct {
	result string
	after  time.Duration // that the server asks to be left alone; 0: it does not say
	err    error
}

func (e *fetchError) Error() string { return e.err.Error() }
func (e *fetchError) Unwrap() error { return e.err }

// fails makes a fetchError.
func fails(result, format string, a ...any) error {
	return &fetchError{result: result, err: fmt.Errorf(format, a...)}
}

// fetchResult is the label of what became of a fetch that failed.
func fetchResult(err error) string {
	var failed *fetchError
	if errors.As(err, &failed) {
		return failed.result
	}
	return fetchDisk
}

// listFetchDeps is what a listFetcher works with.
type listFetchDeps struct {
	store   *listStore
	parser  *listParser
	metrics *listMetrics
	log     *zap.Logger
	now     func() time.Time
	get     func(context.Context, listRequest) (listAnswer, error)
	try     func(source policy.ListSource, key string, list *policy.List) error // says why it must not replace what is in force
	random  func(below time.Duration) time.Duration                             // from 0 up to below
}

// listFetcher keeps copies of lists by URL, and keeps them fresh. What it has
// judged good is on disk before it tells; putting it in force is the reloader's.
// run owns the goroutines; the other methods are safe for concurrent use.
type listFetcher struct {
	deps    listFetchDeps
	limits  listLimits
	arrived chan struct{} // a list is there that was not there before, or another content of one
	slots   chan struct{} // a place for each download under way
	wake    chan struct{} // what is wanted has changed
	moved   atomic.Int64  // bytes that came, of all lists

	mu     sync.Mutex
	wanted map[string]policy.ListSource // by key
	states map[string]*fetchState       // by key, of what is wanted
}

// fetchState is how it stands with one list.
type fetchState struct {
	name    string
	absent  bool      // there is no copy that can be used
	trouble string    // of the last fetch; empty: it went well, or there was none yet
	tried   time.Time // the last fetch; zero: none yet
	checked time.Time // the last fetch that went well; zero: none
	next    time.Time // about when it is tried again
}

func newListFetcher(deps listFetchDeps, limits listLimits) *listFetcher {
	return &listFetcher{
		deps:    deps,
		limits:  limits,
		arrived: make(chan struct{}, 1),
		slots:   make(chan struct{}, limits.parallel),
		wake:    make(chan struct{}, 1),
		wanted:  map[string]policy.ListSource{},
		states:  map[string]*fetchState{},
	}
}

// want says which lists are to be kept, those that are files left aside, and
// which of them cannot be used as they are. Lists that failed are tried again
// soon: whoever edits the policy, or asks for a reload, wants to know.
func (f *listFetcher) want(sources, absent []policy.ListSource) {
	wanted := map[string]policy.ListSource{}
	for _, source := range sources {
		if source.URL != "" {
			source.Position = policy.Position{} // an edit elsewhere moves it, and changes nothing
			wanted[f.deps.store.key(source)] = source
		}
	}
	f.mu.Lock()
	f.wanted = wanted
	for key := range f.states {
		if _, ok := wanted[key]; !ok {
			delete(f.states, key)
		}
	}
	for key, source := range wanted {
		if f.states[key] == nil {
			f.states[key] = f.firstState(source, key)
		}
	}
	for _, source := range absent {
		if state := f.states[f.deps.store.key(source)]; state != nil {
			state.absent = true
		}
	}
	f.mu.Unlock()
	f.deps.store.forget(wanted)
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *listFetcher) firstState(source policy.ListSource, key string) *fetchState {
	state := &fetchState{name: source.Name}
	record, err := f.deps.store.record(key)
	state.absent = err != nil
	if err == nil {
		state.checked = record.Checked
	}
	return state
}

// state is how it stands with one list; ok is false for one that nobody wants.
func (f *listFetcher) state(key string) (state fetchState, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.states[key]; s != nil {
		return *s, true
	}
	return fetchState{}, false
}

// whyAbsent says behind a list's name why it is not there yet.
func (f *listFetcher) whyAbsent(source policy.ListSource, key string) string {
	state, _ := f.state(key)
	if state.trouble != "" {
		return fmt.Sprintf("could not be fetched yet: %s; it is tried again, and the policy is put in force when it is there", state.trouble)
	}
	return fmt.Sprintf("is being fetched from %s: the policy is put in force when it is there", shownURL(source.URL))
}

// fetch fetches one list once, and notes what became of it. The error is a
// *fetchError save where ctx has ended.
func (f *listFetcher) fetch(ctx context.Context, source policy.ListSource, key string) (result string, err error) {
	begun := time.Now()
	state, _ := f.state(key)
	var known *listRecord
	if !state.absent {
		known, _ = f.deps.store.record(key) // none, or unusable: the list is fetched whatever it is
	}
	result, checked, err := f.download(ctx, source, key, known)
	if err != nil {
		result = fetchResult(err)
	}
	if ctx.Err() != nil {
		return result, context.Cause(ctx) // not the list's fault
	}
	f.deps.metrics.fetched(source.Name, result, time.Since(begun))
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.deps.now()
	s := f.states[key]
	if s == nil {
		return result, err // nobody wants it any more
	}
	s.tried, s.trouble = now, ""
	if err != nil {
		s.trouble = err.Error()
		return result, err
	}
	s.absent, s.checked = false, checked
	return result, nil
}

// download brings a list into a part of a file, judges it, and makes it the
// copy.
func (f *listFetcher) download(ctx context.Context, source policy.ListSource, key string, known *listRecord) (result string, checked time.Time, err error) {
	part, err := f.deps.store.part()
	if err != nil {
		return "", checked, stateError(err)
	}
	defer func() {
		_ = part.Close()           // what mattered was synchronised
		_ = os.Remove(part.Name()) // gone already where it became the copy
	}()
	var here, whole atomic.Int64
	stop := everySoOften(func() {
		fields := []zap.Field{zap.String("list", source.Name), zap.String("url", shownURL(source.URL)), zap.Int64("bytes", here.Load())}
		if all := whole.Load(); all > 0 {
			fields = append(fields, zap.Int64("of", all))
		}
		f.deps.log.Info("fetching a list", fields...)
	})
	defer stop()
	answer, err := f.deps.get(ctx, listRequest{
		source: source,
		known:  known,
		into:   part,
		most:   f.limits.mostBytes(source),
		whole:  whole.Store,
		moved: func(n int) {
			here.Add(int64(n))
			f.moved.Add(int64(n))
		},
	})
	if err != nil {
		return "", checked, err
	}
	checked = f.deps.now()
	if known != nil && (answer.unchanged || answer.digest == known.SHA256) {
		record := *known
		record.Checked = checked
		if !answer.unchanged {
			record.ETag, record.LastModified = answer.etag, answer.modified
		}
		if err := f.deps.store.write(key, &record); err != nil {
			return "", checked, stateError(err)
		}
		return fetchUnchanged, checked, nil
	}
	return fetchFresh, checked, f.accept(source, key, known, answer, part, checked)
}

// accept judges what came as the reloader would judge a file, so that the copy
// on disk is a good one whenever the gateway starts.
func (f *listFetcher) accept(source policy.ListSource, key string, known *listRecord, answer listAnswer, part *os.File, now time.Time) error {
	if source.SHA256 != "" && source.SHA256 != answer.digest {
		return fails(fetchChecksum, "its content is not the one that the policy pins: sha256 is %s, and %s is wanted", answer.digest, source.SHA256)
	}
	data, _, err := readBounded(part.Name(), maxListBytes)
	if err != nil {
		return stateError(err)
	}
	list, report, err := f.deps.parser.parse(source.Name, data)
	if err != nil {
		return fails(fetchFormat, "%w", err)
	}
	if known != nil && shrankTooFar(known.Entries, list.Len()) {
		return fails(fetchShrunk, "it shrank from %d entries to %d, which looks like a download that broke off: remove %q and reload to take it as it is",
			known.Entries, list.Len(), f.deps.store.path(key+recordSuffix))
	}
	if err := f.deps.try(source, key, list); err != nil {
		return fails(fetchTests, "%w", err)
	}
	record := &listRecord{
		URL: source.URL, SHA256: answer.digest, Size: answer.size, Entries: list.Len(),
		ETag: answer.etag, LastModified: answer.modified, Fetched: now, Checked: now,
	}
	f.deps.store.put(key, parsedList{digest: answer.digest, list: list, report: report})
	if err := f.deps.store.commit(key, part, record); err != nil {
		return stateError(err)
	}
	select {
	case f.arrived <- struct{}{}:
	default: // the reloader has not looked yet, and will see this one too
	}
	return nil
}

// stateError is a failure of the state folder, with what to do about it.
func stateError(err error) error {
	return fails(fetchDisk, "its copy cannot be kept: %w: let the folder be writable for the user that the gateway runs as, with room for the list, or name another with \"state\"", err)
}
