package coaching

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const (
	keySize    = 32 // bytes: the size of the hash, as RFC 2104 §3 asks
	maxKeyFile = 1 << 10
)

// Key signs tickets. Immutable; safe for concurrent use.
type Key struct{ secret [keySize]byte }

// NewKey makes a random key that nothing keeps: links signed with it are void
// after a restart.
func NewKey() *Key {
	k := &Key{}
	rand.Read(k.secret[:]) // never fails: it crashes the process instead
	return k
}

// ReadKey reads a key file: 64 hexadecimal digits, with or without line break.
// A file that anybody but its owner can read or write is refused. The error
// names the file and what to do; it never quotes the key.
func ReadKey(path string) (*Key, error) {
	data, err := readSecret(path)
	if err != nil {
		return nil, err
	}
	k := &Key{}
	text := bytes.TrimSpace(data)
	if n, err := hex.Decode(k.secret[:], text[:min(len(text), 2*keySize)]); err != nil || n != keySize || len(text) != 2*keySize {
		return nil, fmt.Errorf("coaching key %q is not %d hexadecimal digits: write one with openssl rand -hex %d, or remove it if nobody else uses it", path, 2*keySize, keySize)
	}
	return k, nil
}

// readSecret reads a small file that only its owner may read or write.
func readSecret(path string) ([]byte, error) {
	// Without O_NONBLOCK the opening of a pipe waits for its writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open coaching key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat() // the open file, so that what is checked is what is read
	if err != nil {
		return nil, fmt.Errorf("check coaching key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("coaching key %q is not a regular file", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("coaching key %q has mode %#o, which lets others than its owner at it: run chmod 600 %s", path, info.Mode().Perm(), path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("read coaching key: %w", err)
	}
	return data, nil
}

// MakeKey reads a key file, and makes it first where there is none: with mode
// 0600, in a folder with mode 0700 where that has to be made as well. Of two
// processes that start at once both get the same key. Where the error wraps
// [ErrNoKeyFile] there was no file and none could be made; any other error is
// about a file that is there.
func MakeKey(path string) (*Key, error) {
	k, err := ReadKey(path)
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return k, err
	}
	k = NewKey()
	switch err := k.write(path); {
	case errors.Is(err, fs.ErrExist):
		return ReadKey(path) // another process was first
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrNoKeyFile, err)
	default:
		return k, nil
	}
}

// ErrNoKeyFile says that a key file could not be made.
var ErrNoKeyFile = errors.New("cannot make a coaching key file")

// write makes the file whole, and never in place of one that is there.
func (k *Key) write(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	part, err := os.CreateTemp(dir, ".part-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(part.Name()) }()
	_, err = part.WriteString(hex.EncodeToString(k.secret[:]) + "\n")
	if err = errors.Join(err, part.Sync(), part.Close()); err != nil {
		return err
	}
	if err := os.Link(part.Name(), path); err != nil {
		return err
	}
	return syncFolder(dir)
}

// syncFolder makes what was named in a folder outlive a loss of power.
func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
