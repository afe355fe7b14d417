package keyfile

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func TestMake(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "coaching.key")
	made, err := Make("coaching key", path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	if folder, err := os.Stat(filepath.Dir(path)); err != nil || folder.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", folder, err)
	}
	again, err := Make("coaching key", path)
	if err != nil || again != made {
		t.Errorf("made anew: %v", err)
	}
	read, err := Read("coaching key", path)
	if err != nil || read != made {
		t.Errorf("read: %v", err)
	}
	if one, other := Random(), Random(); one == other || made == [Size]byte{} {
		t.Error("keys are not random")
	}
	if rest, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".part*")); err != nil || len(rest) > 0 {
		t.Errorf("left over: %v, %v", rest, err)
	}
}

// TestMakeAtOnce: gateways that start together share what one of them made.
func TestMakeAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "coaching.key")
	keys := make([][Size]byte, 8)
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() {
			var err error
			if keys[i], err = Make("coaching key", path); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, k := range keys {
		if k != keys[0] || k == [Size]byte{} {
			t.Fatal("two keys were made")
		}
	}
}

func TestReadRefuses(t *testing.T) {
	good := strings.Repeat("0f", Size)
	for _, test := range []struct {
		name, text string
		mode       fs.FileMode
		want       string // in the error; "": none
	}{
		{"good", good, 0o600, ""},
		{"good, line break", good + "\n", 0o400, ""},
		{"good, capitals", strings.ToUpper(good), 0o600, ""},
		{"open to the group", good, 0o640, "chmod 600"},
		{"open to others", good, 0o604, "chmod 600"},
		{"empty", "", 0o600, "64 hexadecimal digits"},
		{"short", good[:62], 0o600, "64 hexadecimal digits"},
		{"long", good + "00", 0o600, "64 hexadecimal digits"},
		{"no digits", strings.Repeat("zz", Size), 0o600, "64 hexadecimal digits"},
		{"two lines", good + "\n" + good, 0o600, "64 hexadecimal digits"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "coaching.key")
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, test.mode); err != nil {
				t.Fatal(err)
			}
			for _, read := range []func(noun, path string) ([Size]byte, error){Read, Make} {
				secret, err := read("coaching key", path)
				if test.want == "" {
					if err != nil || hex.EncodeToString(secret[:]) != good {
						t.Errorf("%v", err)
					}
					continue
				}
				if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), good[:20]) || errors.Is(err, ErrNotMade) {
					t.Errorf("got %v, want %q", err, test.want)
				}
			}
		})
	}
}

func TestFileThatIsNone(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read("coaching key", filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := Read("coaching key", dir); err == nil {
		t.Error("a folder was read")
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read("coaching key", pipe); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a pipe: %v", err)
	}
	// Where nothing can be made, the error says that it is that.
	if _, err := Make("coaching key", filepath.Join(pipe, "coaching.key")); !errors.Is(err, ErrNotMade) {
		t.Errorf("under a pipe: %v", err)
	}
}
