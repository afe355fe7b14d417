package gateway

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/policy"
)

// maxListBytes bounds one list file: twenty million names of ordinary length.
const maxListBytes = 512 << 20

// shrinkFactor is to what part of itself a list must not shrink from one
// reading to the next: a list that has lost 90 % of its entries is refused. A
// download that broke off, or an error page in its place, must not lift what
// the list blocks.
const shrinkFactor = 10

// settledAfter is how old a file must be for its time stamp to be trusted: a
// younger one may be written again within the same tick of the clock.
const settledAfter = 2 * time.Second

// ListState is what became of one list. Trouble is empty unless the list could
// not be brought and its last good copy decides.
type ListState struct {
	Name    string
	File    string // where it is read from; empty for a list by URL
	URL     string // where it is fetched from; empty for a file
	Format  string
	Entries int
	Skipped int
	Bytes   int64
	Good    time.Time // a file: when it was written; by URL: when it was last known to be the newest
	Trouble string

	key    string // of a list by URL, in the store
	digest string
}

// listCache keeps the lists of the last load, so that an edit of one rule does
// not read a million names again, and so that a list that cannot be read any
// more keeps its last good copy. Not safe for concurrent use.
type listCache struct {
	kept   map[listPlace]*keptList
	store  *listStore
	parser *listParser

	// fetching says why a list by URL that has no copy yet cannot be used. nil:
	// nobody fetches it.
	fetching func(source policy.ListSource, key string) string

	absence policy.Severity // of a list by URL that is not there
}

// listPlace is where a list comes from: a file, or the copy of what was
// fetched. One of the two is set.
type listPlace struct {
	file string
	copy string // key in the store
}

// keptList is one list as it was last read well.
type keptList struct {
	seen    stamp // how the place looked before it was last looked into
	stamp   stamp // how it looked when it was last read well
	trusted bool  // the stamp was old enough when the file was read
	digest  string
	list    *policy.List // nil: followed, but never read well
	report  policy.ListReport
}

// stamp is how a list looks from outside.
type stamp struct {
	size     int64
	modified time.Time
	digest   string // of a copy, which its record tells
	missing  string // why there is no stamp; empty where there is
}

// loadedLists is what one load of all lists gave.
type loadedLists struct {
	byName   map[string]*policy.List
	states   []ListState
	problems policy.Problems
	awaited  []policy.ListSource // those by URL that have no copy yet
	newest   time.Time           // of the files
	parsed   bool
}

// newListCache makes an empty cache. log may be nil.
func newListCache(store *listStore, log *zap.Logger) *listCache {
	if log == nil {
		log = zap.NewNop()
	}
	return &listCache{kept: map[listPlace]*keptList{}, store: store, parser: &listParser{log: log}}
}

func (c *listCache) place(source policy.ListSource) listPlace {
	if source.URL != "" {
		return listPlace{copy: c.store.key(source)}
	}
	return listPlace{file: listPath(source)}
}

func (c *listCache) stampOf(place listPlace) stamp {
	if place.file == "" {
		record, err := c.store.record(place.copy)
		if err != nil {
			return stamp{missing: err.Error()}
		}
		return recordStamp(record)
	}
	info, err := os.Stat(place.file)
	if err != nil {
		return stamp{missing: err.Error()}
	}
	return stamp{size: info.Size(), modified: info.ModTime().UTC().Round(0)}
}

func recordStamp(record *listRecord) stamp {
	return stamp{size: record.Size, digest: record.SHA256}
}

// places are those of the last load, in a fixed order.
func (c *listCache) places() []listPlace {
	return slices.SortedFunc(maps.Keys(c.kept), func(a, b listPlace) int {
		return cmp.Or(strings.Compare(a.file, b.file), strings.Compare(a.copy, b.copy))
	})
}

// paths lists the files of the last load, in a fixed order. Copies are not
// among them: whoever fetches one tells.
func (c *listCache) paths() []string {
	var paths []string
	for _, place := range c.places() {
		if place.file != "" {
			paths = append(paths, place.file)
		}
	}
	return paths
}

// seen is how the places of the last load looked then.
func (c *listCache) seen() []string {
	return c.stamps(func(place listPlace) stamp { return c.kept[place].seen })
}

// now is how the same places look now.
func (c *listCache) now() []string { return c.stamps(c.stampOf) }

func (c *listCache) stamps(of func(listPlace) stamp) []string {
	var all []string
	for _, place := range c.places() {
		all = append(all, fmt.Sprintf("list %q %v", place, of(place)))
	}
	return all
}

// load brings every list of a document, from memory where its place looks as it
// did. Lists that the document no longer names are forgotten.
func (c *listCache) load(sources []policy.ListSource) *loadedLists {
	out := &loadedLists{byName: map[string]*policy.List{}}
	next := map[listPlace]*keptList{}
	failed := map[listPlace]error{}
	for _, source := range sources {
		place := c.place(source)
		kept, done := next[place] // where two lists name one file
		if !done {
			kept, failed[place] = c.bring(source, place, out)
			next[place] = kept
		}
		c.tell(source, place, kept, failed[place], out)
	}
	c.kept = next
	return out
}

// bring looks into one place. Where that fails, the last good copy is given,
// or one without a list.
func (c *listCache) bring(source policy.ListSource, place listPlace, out *loadedLists) (*keptList, error) {
	seen := c.stampOf(place)
	before := c.kept[place]
	if before == nil {
		before = &keptList{}
	}
	kept, err := c.one(source, place, seen, before, out)
	if err != nil {
		kept = &keptList{}
		*kept = *before
	}
	kept.seen = seen // also where it never was read, so that its arrival is noticed
	return kept, err
}

// tell adds one list to what was loaded.
func (c *listCache) tell(source policy.ListSource, place listPlace, kept *keptList, err error, out *loadedLists) {
	state := ListState{Name: source.Name, File: place.file, URL: source.URL, key: place.copy}
	if err != nil {
		problem := policy.Problem{Position: source.Position, Message: fmt.Sprintf("list %q: %s", source.Name, reason(err))}
		switch {
		case kept.list != nil:
			problem.Severity = policy.SeverityWarning
			problem.Message += "; its last good copy keeps deciding"
			state.Trouble = reason(err)
		case place.copy != "":
			problem.Severity = c.absence
			problem.Message = fmt.Sprintf("list %q %s", source.Name, c.whyAbsent(source, place, err))
			out.awaited = append(out.awaited, source)
		}
		out.problems = append(out.problems, problem)
	}
	if kept.list != nil {
		out.byName[source.Name] = kept.list
		state.Format, state.Entries, state.Skipped = kept.report.Format, kept.list.Len(), kept.report.Skipped
		state.Bytes, state.Good, state.digest = kept.stamp.size, kept.stamp.modified, kept.digest
		if place.file != "" && kept.stamp.modified.After(out.newest) {
			out.newest = kept.stamp.modified
		}
	}
	out.states = append(out.states, state)
}

// whyAbsent is why a list by URL is not there, behind its name.
func (c *listCache) whyAbsent(source policy.ListSource, place listPlace, err error) string {
	switch {
	case c.fetching != nil:
		return c.fetching(source, place.copy)
	case errors.Is(err, errNoCopy):
		return fmt.Sprintf("has not been fetched: there is no copy of it in %q, so that the policy's tests and verdicts cannot be told; only serve fetches lists, before it is ready", c.store.dir)
	default:
		return fmt.Sprintf("has no copy that can be used: %s", reason(err))
	}
}

// one brings one list. before is how it was last read well.
func (c *listCache) one(source policy.ListSource, place listPlace, seen stamp, before *keptList, out *loadedLists) (*keptList, error) {
	if before.list != nil && before.trusted && before.stamp == seen {
		same := *before
		return &same, nil
	}
	if place.copy != "" {
		return c.oneCopy(source, place.copy, before, out)
	}
	data, modified, err := readBounded(place.file, maxListBytes)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	fresh := &keptList{
		stamp:   stamp{size: int64(len(data)), modified: modified.UTC().Round(0)},
		trusted: time.Since(modified) > settledAfter,
		digest:  hex.EncodeToString(sum[:]),
	}
	if before.list != nil && before.digest == fresh.digest {
		fresh.list, fresh.report = before.list, before.report
		return fresh, nil
	}
	out.parsed = true
	fresh.list, fresh.report, err = c.parser.parse(source.Name, data)
	if err != nil {
		return nil, err
	}
	if before.list != nil && shrankTooFar(before.list.Len(), fresh.list.Len()) {
		return nil, fmt.Errorf("%q shrank from %d entries to %d, which looks like a download that broke off: mend the file, or restart to take it as it is",
			place.file, before.list.Len(), fresh.list.Len())
	}
	return fresh, nil
}

// oneCopy brings a list by URL: from whoever has just fetched it, who has
// judged it too, and else from disk.
func (c *listCache) oneCopy(source policy.ListSource, key string, before *keptList, out *loadedLists) (*keptList, error) {
	record, err := c.store.record(key)
	if err != nil {
		return nil, err
	}
	fresh := &keptList{stamp: recordStamp(record), trusted: true, digest: record.SHA256}
	if before.list != nil && before.digest == fresh.digest {
		fresh.list, fresh.report = before.list, before.report
		return fresh, nil
	}
	out.parsed = true
	if parsed, ok := c.store.take(key, fresh.digest); ok {
		fresh.list, fresh.report = parsed.list, parsed.report
		return fresh, nil
	}
	data, err := c.store.read(record)
	if errors.Is(err, fs.ErrNotExist) { // replaced since the record was read
		if record, err = c.store.record(key); err == nil {
			fresh.stamp, fresh.digest = recordStamp(record), record.SHA256
			data, err = c.store.read(record)
		}
	}
	if err != nil {
		return nil, err
	}
	fresh.list, fresh.report, err = c.parser.parse(source.Name, data)
	if err != nil {
		return nil, err
	}
	return fresh, nil
}

// shrankTooFar reports whether a list has lost so much that it is more likely
// broken than shorter. Of fewer than ten entries that is all of them: those who
// keep such a list by hand take most of it out on purpose.
func shrankTooFar(before, after int) bool { return before > 0 && after*shrinkFactor <= before }

// listPath is where a list's file is: relative to the policy file that names it.
func listPath(source policy.ListSource) string {
	if filepath.IsAbs(source.File) {
		return filepath.Clean(source.File)
	}
	return filepath.Join(filepath.Dir(source.Position.File), source.File)
}

// reason is an error in words for an administrator.
func reason(err error) string {
	var pathError *fs.PathError
	if errors.As(err, &pathError) && errors.Is(err, fs.ErrNotExist) {
		return fmt.Sprintf("there is no file %q (relative names start from the policy file's folder)", pathError.Path)
	}
	return err.Error()
}
