package identity

import (
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/sallyport/sallyport/secretmode"
)

// readSecretFile reads a file that keeps its secret, of at most limit bytes. The noun says what it is, for messages.
func readSecretFile(path, noun string, limit int64) ([]byte, error) {
	// Without O_NONBLOCK the opening of a pipe waits for its writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", noun, err)
	}
	defer f.Close()
	// The open file is asked, not the path, so that what is checked is what
	// is read.
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("check %s: %w", noun, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s %q: not a regular file", noun, path)
	}
	if !secretmode.Private(info) {
		return nil, fmt.Errorf("read %s %q: mode %#o lets others than its owner at the secrets in it: run chmod 600 %s",
			noun, path, info.Mode().Perm(), path)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", noun, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read %s %q: larger than %d bytes", noun, path, limit)
	}
	return data, nil
}
