package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/policy/catalogue"
)

// Bounds on what a policy may be. A fleet's policy of 10,000 rules is 4 MB.
const (
	maxPolicyBytes = 16 << 20 // one file
	maxPolicyTotal = 64 << 20 // all files of a folder
	maxPolicyFiles = 1000
)

// revisionLength is how many hexadecimal digits of the digest name a revision:
// enough that two edits of one policy never share one.
const revisionLength = 12

// Loaded is a policy that was read from disk, with everything that is to be
// said about it. Whoever loaded it may change it until it is in force or refused;
// from then on it is only read.
type Loaded struct {
	Program  *policy.Program      // nil where there are errors
	Document *policy.Document     // nil where the files cannot be parsed
	Problems policy.Problems      // errors and warnings, in source order for each step
	Failures []policy.TestFailure // of the policy's own tests
	Lists    []ListState

	awaited     []policy.ListSource // lists by URL that are not there, for which there is no program
	sources     []policy.File       // what was read, lists apart
	byName      map[string]*policy.List
	catalogue   []policy.App
	digest      string
	fingerprint string    // what the disk looked like when it was read
	newest      time.Time // the latest modification of what was read
	modified    time.Time // the latest of the policy's own files, lists apart
	files       []string  // the policy's files, and its lists'
	listsParsed bool      // a list was read, which needs memory for a moment
	reported    bool      // an administrator has been told
}

// OK reports whether the policy may be put in force: no error, and none of its
// own tests failed.
func (l *Loaded) OK() bool {
	return l.Program != nil && !l.Problems.HasErrors() && len(l.Failures) == 0
}

// Err is why there is no program, one reason a line; nil where there is one.
// Where nothing is wrong but that lists have not been fetched, it says so.
func (l *Loaded) Err() error {
	if l.Program != nil {
		return nil
	}
	reasons := append(policy.Problems(nil), l.Problems...)
	for i, p := range reasons {
		if l.awaits(p.Position) {
			reasons[i].Severity = policy.SeverityError
		}
	}
	return reasons.Err()
}

// awaits reports whether a list that is not there is named at a place.
func (l *Loaded) awaits(at policy.Position) bool {
	return slices.ContainsFunc(l.awaited, func(s policy.ListSource) bool { return s.Position == at })
}

// waits reports whether nothing keeps the policy from being put in force but
// lists by URL that are not there yet.
func (l *Loaded) waits() bool {
	errors := 0
	for _, p := range l.Problems {
		if p.Severity == policy.SeverityError {
			errors++
		}
	}
	return len(l.awaited) > 0 && errors == len(l.awaited)
}

// All is every problem, failed tests included, as errors.
func (l *Loaded) All() policy.Problems {
	all := append(policy.Problems(nil), l.Problems...)
	for _, f := range l.Failures {
		all = append(all, policy.Problem{Position: f.Test.Position, Message: "test failed: " + f.Message})
	}
	return all
}

// LoadPolicy reads the policy at path, a file or a folder of *.yaml, once: the
// line that check, test and explain walk, and that a reload walks. now stands
// in for the time of tests that name none. Lists by URL are not fetched: the
// copies are used that a gateway keeps in the folder "state" beside the policy,
// and one that is not there is an error, since no verdict could be trusted.
func LoadPolicy(path string, now time.Time) *Loaded {
	source, err := newPolicySource(path, stateBeside(path), nil)
	if err != nil {
		return &Loaded{Problems: policy.Problems{{Message: err.Error()}}}
	}
	return source.load(now)
}

// LoadPolicy is [LoadPolicy] of the policy that the configuration names, with
// warnings where the two do not go together, and with the copies of the state
// folder that it names. A list by URL that has not been fetched is a warning
// only, and Program is nil then: nothing is wrong with the policy, and a gateway
// that starts with it fetches the list first.
func (c *Config) LoadPolicy(now time.Time) *Loaded {
	source, err := newPolicySource(c.Policy, c.stateFolder(), nil)
	if err != nil {
		return &Loaded{Problems: policy.Problems{{Message: err.Error()}}}
	}
	source.named = c.policyPlace()
	source.warnings = c.policyWarnings
	source.lists.absence = policy.SeverityWarning
	return source.load(now)
}

// policySource reads one policy again and again, and keeps the big lists that
// have not changed in between. Not safe for concurrent use.
type policySource struct {
	path      string
	named     policy.Position // where the path is written
	catalogue []policy.App
	lists     *listCache
	warnings  func(*policy.Program) policy.Problems // further ones; nil: none
}

// newPolicySource makes a source that finds copies of lists by URL in a state
// folder. log may be nil.
func newPolicySource(path, state string, log *zap.Logger) (*policySource, error) {
	apps, err := catalogue.Apps()
	if err != nil {
		return nil, fmt.Errorf("read the built-in catalogue: %w", err)
	}
	return &policySource{path: path, named: policy.Position{File: path}, catalogue: apps, lists: newListCache(newListStore(state), log)}, nil
}

// load is the upper half of the line of an edit: read, parse, validate and
// compile, lint, run the policy's own tests. It never touches what is in force.
func (s *policySource) load(now time.Time) *Loaded {
	loaded := &Loaded{files: []string{s.path}}
	read := readPolicy(s.path)
	loaded.sources, loaded.newest, loaded.modified = read.files, read.newest, read.newest
	loaded.files = append(loaded.files, read.names()...)
	loaded.fingerprint = fingerprint(read, s.lists.seen())
	if read.err != nil {
		at := policy.Position{File: s.path}
		if _, err := os.Stat(s.path); errors.Is(err, os.ErrNotExist) {
			at = s.named // the mistake is there, if there is one
		}
		loaded.Problems = policy.Problems{{Position: at, Message: read.err.Error()}}
		return loaded
	}
	doc, problems := policy.Parse(read.files)
	loaded.Document, loaded.Problems = doc, problems
	if doc != nil && !problems.HasErrors() {
		s.compile(loaded, read, now)
	} else {
		loaded.Problems = append(loaded.Problems, policy.Validate(doc, s.catalogue)...)
	}
	loaded.Problems.Sort(read.names())
	return loaded
}

// compile takes a document that was parsed well to its program.
func (s *policySource) compile(loaded *Loaded, read *policyRead, now time.Time) {
	doc := loaded.Document
	lists := s.lists.load(doc.Lists)
	loaded.Lists, loaded.listsParsed = lists.states, lists.parsed
	loaded.files = append(loaded.files, s.lists.paths()...)
	loaded.fingerprint = fingerprint(read, s.lists.seen())
	if lists.newest.After(loaded.newest) {
		loaded.newest = lists.newest
	}
	loaded.digest = digest(read, lists)
	loaded.Problems = append(loaded.Problems, lists.problems...)
	loaded.awaited, loaded.byName, loaded.catalogue = lists.awaited, lists.byName, s.catalogue
	if lists.problems.HasErrors() || len(lists.awaited) > 0 {
		loaded.Problems = append(loaded.Problems, policy.Validate(doc, s.catalogue)...)
		return
	}
	program, problems := policy.Compile(doc, policy.Sources{
		Catalogue: s.catalogue,
		Lists:     lists.byName,
		Revision:  loaded.digest[:revisionLength],
	})
	loaded.Problems = append(loaded.Problems, problems...)
	if program == nil || problems.HasErrors() {
		return
	}
	loaded.Program = program
	loaded.Problems = append(loaded.Problems, policy.Lint(doc, s.catalogue, now)...)
	if s.warnings != nil {
		loaded.Problems = append(loaded.Problems, s.warnings(program)...)
	}
	loaded.Failures = program.RunTests(now)
}

// changed reports whether the disk looks otherwise than when loaded was read,
// and when the newest of the policy's files was written.
// Policy files are read whole, since a file system without notification may
// also be one with coarse time stamps; lists are judged by size and time.
func (s *policySource) changed(loaded *Loaded) (changed bool, modified time.Time) {
	read := readPolicy(s.path)
	return fingerprint(read, s.lists.now()) != loaded.fingerprint, read.newest
}

// policyRead is a policy's files as they were at one moment.
type policyRead struct {
	files  []policy.File
	newest time.Time
	err    error
}

func (r *policyRead) names() []string {
	var names []string
	for _, f := range r.files {
		names = append(names, f.Name)
	}
	return names
}

// readPolicy reads a file, or every *.yaml of a folder in name order.
func readPolicy(path string) *policyRead {
	read := &policyRead{}
	names, err := policyNames(path)
	if err != nil {
		read.err = err
		return read
	}
	total := 0
	for _, name := range names {
		data, modified, err := readBounded(name, maxPolicyBytes)
		if err != nil {
			read.err = fmt.Errorf("cannot read the policy: %w", err)
			return read
		}
		if total += len(data); total > maxPolicyTotal {
			read.err = fmt.Errorf("the files of the folder hold more than %d MiB together: put long lists of domains into list files", maxPolicyTotal>>20)
			return read
		}
		if modified.After(read.newest) {
			read.newest = modified
		}
		read.files = append(read.files, policy.File{Name: name, Data: data})
	}
	return read
}

// policyNames lists the files that make up a policy.
func policyNames(path string) ([]string, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("there is no policy at %q: write one there, or name another with policy: or --policy", path)
	case err != nil:
		return nil, fmt.Errorf("cannot read the policy: %w", err)
	case !info.IsDir():
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the policy's folder: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if isPolicyName(entry.Name()) && !entry.IsDir() {
			names = append(names, filepath.Join(path, entry.Name()))
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("the folder %q holds no *.yaml: %s", path, remedyWithoutPolicy(entries))
	}
	if len(names) > maxPolicyFiles {
		return nil, fmt.Errorf("the folder %q holds %d *.yaml: at most %d", path, len(names), maxPolicyFiles)
	}
	return names, nil
}

// remedyWithoutPolicy is what to do about a folder in which no file is part of
// the policy, seeing what else is in it.
func remedyWithoutPolicy(entries []os.DirEntry) string {
	for _, entry := range entries {
		if name := entry.Name(); strings.HasSuffix(name, ".yml") && !entry.IsDir() {
			return fmt.Sprintf("only names that end in .yaml are read, so rename %q to %q", name, strings.TrimSuffix(name, ".yml")+".yaml")
		}
	}
	return "write the policy into one, or name another folder or file with policy: or --policy"
}

// isPolicyName reports whether a file of a folder belongs to the policy. Hidden
// files do not: editors keep locks and backups in them, Kubernetes its own.
func isPolicyName(name string) bool {
	return strings.HasSuffix(name, ".yaml") && !strings.HasPrefix(name, ".")
}

// readBounded reads a regular file of at most limit bytes. A pipe or a device
// could keep the reader waiting for ever.
func readBounded(path string, limit int64) ([]byte, time.Time, error) {
	// Without O_NONBLOCK the opening of a pipe waits for its writer.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer func() { _ = file.Close() }() // opened for reading: nothing to lose
	info, err := file.Stat()
	if err != nil {
		return nil, time.Time{}, err
	}
	if !info.Mode().IsRegular() {
		return nil, time.Time{}, fmt.Errorf("%q is not a regular file", path)
	}
	if info.Size() > limit {
		return nil, time.Time{}, fmt.Errorf("%q has %d bytes: at most %d", path, info.Size(), limit)
	}
	data := make([]byte, 0, info.Size()+1)
	data, err = appendAll(data, io.LimitReader(file, limit+1))
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("read %q: %w", path, err)
	}
	if int64(len(data)) > limit {
		return nil, time.Time{}, fmt.Errorf("%q has more than %d bytes", path, limit)
	}
	return data, info.ModTime(), nil
}

// appendAll reads r to its end into what data has room for, growing it only
// where the file grew since it was measured.
func appendAll(data []byte, r io.Reader) ([]byte, error) {
	for {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if err == io.EOF {
			return data, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// digest names every byte that a policy is made of: the files, and the lists.
// What the files are called does not count, so that a revision is the same
// wherever the policy is looked at.
func digest(read *policyRead, lists *loadedLists) string {
	h := sha256.New()
	hashFiles(h, read)
	for _, l := range lists.states {
		fmt.Fprintf(h, "list %q %s\n", l.Name, l.digest)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// fingerprint tells whether the disk has changed: what the files hold, or why
// they cannot be read, and how the lists look from outside.
func fingerprint(read *policyRead, lists []string) string {
	h := sha256.New()
	hashFiles(h, read)
	fmt.Fprintf(h, "names %q\n", read.names())
	if read.err != nil {
		fmt.Fprintf(h, "error %q\n", read.err)
	}
	for _, stamp := range lists {
		fmt.Fprintln(h, stamp)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func hashFiles(h hash.Hash, read *policyRead) {
	for _, f := range read.files {
		fmt.Fprintf(h, "file of %d bytes\n", len(f.Data))
		_, _ = h.Write(f.Data) // a hash never fails to write
	}
}
