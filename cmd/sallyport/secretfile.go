package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// writeNewSecret makes a file that only its owner can read, and never touches
// one that exists. because says why not, hint what to do instead.
func writeNewSecret(path, text, because, hint string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fail(hint, fmt.Errorf("%s exists already, and %s", path, because))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fail(fmt.Sprintf("make the folder first: mkdir -p %s", filepath.Dir(path)), fmt.Errorf("make the key file: %w", err))
	}
	if err != nil {
		return fail("", fmt.Errorf("make the key file: %w", err))
	}
	_, err = file.WriteString(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fail("", errors.Join(fmt.Errorf("write the key file: %w", err), os.Remove(path)))
	}
	return nil
}
