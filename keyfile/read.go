package keyfile

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/sallyport/sallyport/secretmode"
)

// Size is that of a secret in bytes; a file holds two digits for each.
const Size = 32

const maxFile = 1 << 10

// Read reads a key file: 64 hexadecimal digits, with or without line break. A
// file that anybody but its owner can read or write is refused. The noun says
// what the key is, for the error, which names the file and what to do, and
// never quotes the key.
func Read(noun, path string) ([Size]byte, error) {
	var secret [Size]byte
	data, err := readPrivate(noun, path)
	if err != nil {
		return secret, err
	}
	text := bytes.TrimSpace(data)
	if n, err := hex.Decode(secret[:], text[:min(len(text), 2*Size)]); err != nil || n != Size || len(text) != 2*Size {
		return [Size]byte{}, fmt.Errorf("%s %q is not %d hexadecimal digits: write one with openssl rand -hex %d, or remove it if nobody else uses it", noun, path, 2*Size, Size)
	}
	return secret, nil
}

// readPrivate reads a small file that only its owner may read or write.
func readPrivate(noun, path string) ([]byte, error) {
	// Without O_NONBLOCK the opening of a pipe waits for its writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", noun, err)
	}
	defer f.Close()
	info, err := f.Stat() // the open file, so that what is checked is what is read
	if err != nil {
		return nil, fmt.Errorf("check %s: %w", noun, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s %q is not a regular file", noun, path)
	}
	if !secretmode.Private(info) {
		return nil, fmt.Errorf("%s %q has mode %#o, which lets others than its owner at it: run chmod 600 %s", noun, path, info.Mode().Perm(), path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", noun, err)
	}
	return data, nil
}
