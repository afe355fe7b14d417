package cookie

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/sallyport/sallyport/secretmode"
)

// Bounds of a secret file: what is larger is some other file.
const (
	maxFile    = 16 << 10
	maxSecrets = 16
)

// ReadSecrets reads the secrets of a file: 32 hexadecimal digits a line; empty
// lines and lines that begin with # do not count. The first secret signs. A
// file that others than its owner can read, or that has no secret, is an
// error which names the remedy and quotes no secret.
func ReadSecrets(path string) ([][16]byte, error) {
	// Without O_NONBLOCK the opening of a pipe waits for its writer.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read cookie secret: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("read cookie secret %q: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read cookie secret %q: not a regular file", path)
	}
	if !secretmode.Private(info) {
		return nil, fmt.Errorf("read cookie secret %q: mode %#o lets others than its owner at the secret: run chmod 600 %s",
			path, info.Mode().Perm(), path)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read cookie secret %q: %w", path, err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("read cookie secret %q: it has more than %d bytes: is it the right file?", path, maxFile)
	}
	secrets, err := parseSecrets(data)
	if err != nil {
		return nil, fmt.Errorf("read cookie secret %q: %w", path, err)
	}
	return secrets, nil
}

// parseSecrets never quotes a line: its errors end up in logs.
func parseSecrets(data []byte) ([][16]byte, error) {
	var secrets [][16]byte
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		bytes, err := hex.DecodeString(line)
		if err != nil || len(bytes) != 16 {
			return nil, fmt.Errorf("line %d is not 32 hexadecimal digits: make one with openssl rand -hex 16", number)
		}
		if len(secrets) == maxSecrets {
			return nil, fmt.Errorf("line %d is one secret too many: keep the newest, %d at most", number, maxSecrets)
		}
		secrets = append(secrets, [16]byte(bytes))
	}
	if len(secrets) == 0 {
		return nil, errors.New("it has no secret: make one with openssl rand -hex 16")
	}
	return secrets, nil
}
