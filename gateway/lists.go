package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// maxListBytes bounds one list file: twenty million names of ordinary length.
const maxListBytes = 512 << 20

// shrinkFactor is by how much a list may shrink from one reading to the next.
// A download that broke off, or an error page in its place, must not lift what
// the list blocks.
const shrinkFactor = 10

// settledAfter is how old a file must be for its time stamp to be trusted: a
// younger one may be written again within the same tick of the clock.
const settledAfter = 2 * time.Second

// ListState is what became of one list. Trouble is empty unless the file could
// not be used and its last good copy decides.
type ListState struct {
	Name    string
	File    string
	Format  string
	Entries int
	Skipped int
	Trouble string

	digest string
}

// listCache keeps the lists of the last load, so that an edit of one rule does
// not read a million names again, and so that a list that cannot be read any
// more keeps its last good copy.
type listCache struct {
	kept map[string]*keptList // by path
}

// keptList is one list as it was last read well.
type keptList struct {
	seen    stamp // how the file looked before it was last looked into
	stamp   stamp // how it looked when it was last read well
	trusted bool  // the stamp was old enough when the file was read
	digest  string
	list    *policy.List
	report  policy.ListReport
}

// stamp is how a file looks from outside.
type stamp struct {
	size     int64
	modified time.Time
	missing  string // why there is no stamp; empty where there is
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{missing: err.Error()}
	}
	return stamp{size: info.Size(), modified: info.ModTime().UTC().Round(0)}
}

// loadedLists is what one load of all lists gave.
type loadedLists struct {
	byName   map[string]*policy.List
	states   []ListState
	problems policy.Problems
	newest   time.Time
	parsed   bool
}

func newListCache() *listCache { return &listCache{kept: map[string]*keptList{}} }

// paths lists the files of the last load, in a fixed order.
func (c *listCache) paths() []string { return slices.Sorted(maps.Keys(c.kept)) }

// seen is how the files of the last load looked then.
func (c *listCache) seen() []string {
	return c.stamps(func(path string) stamp { return c.kept[path].seen })
}

// now is how the same files look now.
func (c *listCache) now() []string { return c.stamps(stampOf) }

func (c *listCache) stamps(of func(path string) stamp) []string {
	var all []string
	for _, path := range c.paths() {
		all = append(all, fmt.Sprintf("list %q %v", path, of(path)))
	}
	return all
}

// load brings every list of a document, from memory where its file has not
// changed. Lists that the document no longer names are forgotten.
func (c *listCache) load(sources []policy.ListSource) *loadedLists {
	out := &loadedLists{byName: map[string]*policy.List{}}
	next := map[string]*keptList{}
	failed := map[string]error{}
	for _, source := range sources {
		path := listPath(source)
		before := c.kept[path]
		if before != nil && before.list == nil {
			before = nil // followed, but never read well
		}
		kept, done := next[path] // where two lists name one file
		err := failed[path]
		seen := stampOf(path)
		if done {
			seen = kept.seen
		} else {
			kept, err = c.one(path, seen, before, out)
			failed[path] = err
		}
		state := ListState{Name: source.Name, File: path}
		if err != nil {
			problem := policy.Problem{
				Position: source.Position,
				Message:  fmt.Sprintf("list %q: %s", source.Name, reason(err)),
			}
			if before == nil {
				next[path] = &keptList{seen: seen} // followed, so that its arrival is noticed
				out.problems = append(out.problems, problem)
				out.states = append(out.states, state)
				continue
			}
			kept = before
			problem.Severity = policy.SeverityWarning
			problem.Message += "; its last good copy keeps deciding"
			state.Trouble = reason(err)
			out.problems = append(out.problems, problem)
		}
		kept.seen = seen
		next[path] = kept
		out.byName[source.Name] = kept.list
		if kept.stamp.modified.After(out.newest) {
			out.newest = kept.stamp.modified
		}
		state.Format, state.Entries, state.Skipped = kept.report.Format, kept.list.Len(), kept.report.Skipped
		state.digest = kept.digest
		out.states = append(out.states, state)
	}
	c.kept = next
	return out
}

// one brings one list. before is its last good copy, nil where there is none.
func (c *listCache) one(path string, seen stamp, before *keptList, out *loadedLists) (*keptList, error) {
	if before != nil && before.trusted && before.stamp == seen {
		return before, nil
	}
	data, modified, err := readBounded(path, maxListBytes)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	fresh := &keptList{
		stamp:   stamp{size: int64(len(data)), modified: modified.UTC().Round(0)},
		trusted: time.Since(modified) > settledAfter,
		digest:  hex.EncodeToString(sum[:]),
	}
	if before != nil && before.digest == fresh.digest {
		fresh.list, fresh.report = before.list, before.report
		return fresh, nil
	}
	out.parsed = true
	fresh.list, fresh.report, err = policy.ParseList(data)
	if err != nil {
		return nil, err
	}
	if before != nil && fresh.list.Len() < before.list.Len()/shrinkFactor {
		return nil, fmt.Errorf("%q shrank from %d entries to %d, which looks like a download that broke off: mend the file, or restart to take it as it is",
			path, before.list.Len(), fresh.list.Len())
	}
	return fresh, nil
}

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
