package keyfile

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ErrNotMade says that there was no key file, and that none could be made.
var ErrNotMade = errors.New("cannot make a key file")

// Random is a new secret that nothing keeps.
func Random() (secret [Size]byte) {
	rand.Read(secret[:]) // never fails: it crashes the process instead
	return secret
}

// Make reads a key file, and makes it first where there is none: with mode
// 0600, in a folder with mode 0700 where that has to be made as well. Of two
// processes that start at once both get the same key. Where the error wraps
// [ErrNotMade] there was no file and none could be made; any other error is
// about a file that is there. The noun is as for [Read].
func Make(noun, path string) ([Size]byte, error) {
	secret, err := Read(noun, path)
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return secret, err
	}
	secret = Random()
	switch err := write(path, secret); {
	case errors.Is(err, fs.ErrExist):
		return Read(noun, path) // another process was first
	case err != nil:
		return [Size]byte{}, fmt.Errorf("%w: %s: %w", ErrNotMade, noun, err)
	default:
		return secret, nil
	}
}

// write makes the file whole, and never in place of one that is there.
func write(path string, secret [Size]byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	part, err := os.CreateTemp(dir, ".part-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(part.Name()) }()
	_, err = part.WriteString(hex.EncodeToString(secret[:]) + "\n")
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
