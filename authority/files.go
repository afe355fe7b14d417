package authority

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/sallyport/sallyport/secretmode"
)

const maxFile = 1 << 20 // bytes; a thousand name constraints are a thirtieth of it

// Files are where an authority is kept, in PEM form.
type Files struct {
	// Certificate is the authority's own, and behind it those between it and
	// the root where the organisation has an authority above it.
	Certificate string

	// Key is the private key, which only its owner may read or write.
	Key string
}

// paths are both of them.
func (f Files) paths() [2]string { return [2]string{f.Certificate, f.Key} }

// changed reports whether a file is not as it was, or not there.
func (f Files) changed(was [2]fs.FileInfo) bool {
	for i, path := range f.paths() {
		is, err := os.Stat(path)
		if err != nil || !os.SameFile(is, was[i]) || is.Size() != was[i].Size() ||
			is.Mode() != was[i].Mode() || !is.ModTime().Equal(was[i].ModTime()) {
			return true
		}
	}
	return false
}

// read reads both files, and says how they were before they were read.
func (f Files) read() (p Pair, was [2]fs.FileInfo, err error) {
	if p.Certificate, was[0], err = readFile(f.Certificate); err != nil {
		return Pair{}, was, err
	}
	if p.Key, was[1], err = readFile(f.Key); err != nil {
		return Pair{}, was, err
	}
	if !secretmode.Private(was[1]) {
		return Pair{}, was, fmt.Errorf("read private key %q: mode %#o lets others than its owner at it: run chmod 600 %s",
			f.Key, was[1].Mode().Perm(), f.Key)
	}
	return p, was, nil
}

// readFile reads a file, and says how it was before it was read.
func readFile(path string) ([]byte, fs.FileInfo, error) {
	// Without O_NONBLOCK the opening of a pipe waits for its writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("read certificate file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("read certificate file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("read certificate file %q: not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read certificate file: %w", err)
	}
	if len(data) > maxFile {
		return nil, nil, fmt.Errorf("read certificate file %q: larger than %d bytes", path, maxFile)
	}
	return data, info, nil
}

// Write puts a pair into two new files: the key with mode 0600, the
// certificate with mode 0644. Neither file may exist: an authority that
// computers trust is not replaced by accident (fs.ErrExist). Each file is
// there whole or not at all, and where one cannot be written there is none.
func (p Pair) Write(f Files) error {
	if f.Certificate == f.Key {
		return fmt.Errorf("certificate and key are both to be written to %q: name two files", f.Key)
	}
	for _, path := range f.paths() {
		if _, err := os.Lstat(path); err == nil {
			return &fs.PathError{Op: "write", Path: path, Err: fs.ErrExist}
		}
	}
	if err := writeNew(f.Key, p.Key, 0o600); err != nil {
		return err
	}
	if err := writeNew(f.Certificate, p.Certificate, 0o644); err != nil {
		return errors.Join(err, os.Remove(f.Key))
	}
	return nil
}

// writeNew makes a file that does not exist: under another name first, so that
// nobody finds half of it.
func writeNew(path string, data []byte, mode fs.FileMode) error {
	half, err := newHalf(path, mode)
	if err != nil {
		return fmt.Errorf("write certificate file: %w", err)
	}
	_, err = half.Write(data)
	if err = errors.Join(err, half.Sync(), half.Close()); err != nil {
		return fmt.Errorf("write certificate file: %w", errors.Join(err, os.Remove(half.Name())))
	}
	// A link does not replace what is there, as a rename would.
	if err := errors.Join(os.Link(half.Name(), path), os.Remove(half.Name())); err != nil {
		return fmt.Errorf("write certificate file: %w", err)
	}
	return nil
}

// newHalf opens a file beside path that has no other name's bits: its mode is
// there from the first moment, whatever the umask takes away.
func newHalf(path string, mode fs.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(mode); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return f, nil
}
