package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// Names in the folder of copies. A record and its data share the key that they
// begin with.
const (
	recordSuffix = ".json"
	dataSuffix   = ".list"
	partPrefix   = ".part-"
)

// How long what nobody needs stays in the folder: a list that an edit took away
// may come back with the next one, and a part may be another process's.
const (
	unusedFor    = 30 * 24 * time.Hour
	abandonedFor = time.Hour
)

// errNoCopy is why there is no record of a list: it has never been fetched.
var errNoCopy = errors.New("it has not been fetched yet")

// listStore keeps the last good copy of every list by URL on disk. One
// goroutine at a time writes to one key; everything else is safe for concurrent
// use, from other processes too.
type listStore struct {
	dir string

	mu    sync.Mutex
	fresh map[string]parsedList // by key: read already, and waiting to be put in force
}

// parsedList is a list that was read, with the digest of its bytes.
type parsedList struct {
	digest string
	list   *policy.List
	report policy.ListReport
}

// newListStore keeps copies in a folder of the state folder. Nothing is made
// there before it is needed.
func newListStore(state string) *listStore {
	return &listStore{dir: filepath.Join(state, "lists"), fresh: map[string]parsedList{}}
}

// stateFolder is where a gateway keeps what must outlive it: as configured, and
// else beside the policy.
func (c *Config) stateFolder() string {
	if c.State != "" {
		return c.State
	}
	return stateBeside(c.Policy)
}

func stateBeside(policyPath string) string {
	return filepath.Join(filepath.Dir(policyPath), "state")
}

// key is what a list's copy is called. Another URL, or another pinned content,
// is another list: what was fetched for one must not decide for the other.
func (s *listStore) key(source policy.ListSource) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", source.Name, source.URL, source.SHA256))
	return source.Name + "-" + hex.EncodeToString(sum[:6])
}

func (s *listStore) path(name string) string { return filepath.Join(s.dir, name) }

// record is what is known of a copy: errNoCopy where there is none, another
// error where there is one that cannot be used.
func (s *listStore) record(key string) (*listRecord, error) {
	data, _, err := readBounded(s.path(key+recordSuffix), maxRecordBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoCopy
	}
	if err != nil {
		return nil, err
	}
	record, err := parseRecord(data)
	if err != nil {
		return nil, fmt.Errorf("%q: %w: remove it, so that the list is fetched again", s.path(key+recordSuffix), err)
	}
	info, err := os.Stat(s.path(record.Data))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errNoCopy
	case err != nil:
		return nil, err
	case info.Size() != record.Size:
		return nil, fmt.Errorf("%q has %d bytes and was written with %d: remove it, so that the list is fetched again", s.path(record.Data), info.Size(), record.Size)
	}
	return record, nil
}

// read brings the bytes of a copy, which must be those that were written.
func (s *listStore) read(record *listRecord) ([]byte, error) {
	data, _, err := readBounded(s.path(record.Data), maxListBytes)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != record.SHA256 {
		return nil, fmt.Errorf("%q is damaged: remove it, so that the list is fetched again", s.path(record.Data))
	}
	return data, nil
}

// part opens a file for a download. The caller closes and removes it.
func (s *listStore) part() (*os.File, error) {
	// Nobody but the gateway has any business here: a list could be changed, and
	// a URL may hold a key to a feed.
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	return os.CreateTemp(s.dir, partPrefix+"*")
}

// commit makes a download the copy of a list. The record is written last, in
// one step, so that a copy is the old one or the new one whatever happens in
// between.
func (s *listStore) commit(key string, part *os.File, record *listRecord) error {
	before, _ := s.record(key) // none, or unusable: nothing to clear away
	record.Data = key + "-" + record.SHA256[:16] + dataSuffix
	if err := part.Sync(); err != nil {
		return err
	}
	if err := os.Rename(part.Name(), s.path(record.Data)); err != nil {
		return err
	}
	if err := syncFolder(s.dir); err != nil {
		return err
	}
	if err := s.write(key, record); err != nil {
		return err
	}
	if before != nil && before.Data != record.Data {
		_ = os.Remove(s.path(before.Data)) // else the next sweep
	}
	return nil
}

// write replaces a record in one step.
func (s *listStore) write(key string, record *listRecord) error {
	data, err := record.encode()
	if err != nil {
		return err
	}
	part, err := s.part()
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(part.Name()) }() // gone already where it was renamed
	_, err = part.Write(data)
	if err = errors.Join(err, part.Sync(), part.Close()); err != nil {
		return err
	}
	if err := os.Rename(part.Name(), s.path(key+recordSuffix)); err != nil {
		return err
	}
	return syncFolder(s.dir)
}

// syncFolder makes renames in a folder outlive a loss of power.
func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// put hands a list that was read on to whoever takes it.
func (s *listStore) put(key string, p parsedList) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fresh[key] = p
}

// take gives a list that was put, once.
func (s *listStore) take(key, digest string) (parsedList, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.fresh[key]
	if !ok || p.digest != digest {
		return parsedList{}, false
	}
	delete(s.fresh, key)
	return p, true
}

// forget lets go of lists that were put and that nobody wants any more.
func (s *listStore) forget(wanted map[string]policy.ListSource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.fresh {
		if _, ok := wanted[key]; !ok {
			delete(s.fresh, key)
		}
	}
}

// sweep removes parts of downloads that broke off, data that no record names,
// and copies that nothing has wanted for a long time.
func (s *listStore) sweep(wanted map[string]policy.ListSource, now time.Time) error {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	named, err := s.sweepRecords(entries, wanted, now)
	if err != nil {
		return err // which data is in use cannot be told: none goes
	}
	var failed []error
	for _, entry := range entries {
		name := entry.Name()
		ours := strings.HasPrefix(name, partPrefix) || strings.HasSuffix(name, dataSuffix)
		info, err := entry.Info()
		if !ours || named[name] || err != nil || now.Sub(info.ModTime()) < abandonedFor {
			continue
		}
		failed = append(failed, os.Remove(s.path(name)))
	}
	return errors.Join(failed...)
}

// sweepRecords removes old records, and says which data the others name.
func (s *listStore) sweepRecords(entries []os.DirEntry, wanted map[string]policy.ListSource, now time.Time) (named map[string]bool, err error) {
	named = map[string]bool{}
	for _, entry := range entries {
		key, isRecord := strings.CutSuffix(entry.Name(), recordSuffix)
		if !isRecord {
			continue
		}
		record, err := s.record(key)
		if errors.Is(err, errNoCopy) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if _, ok := wanted[key]; !ok && now.Sub(record.Checked) > unusedFor {
			if err := os.Remove(s.path(entry.Name())); err != nil {
				return nil, err
			}
			continue
		}
		named[record.Data] = true
	}
	return named, nil
}
