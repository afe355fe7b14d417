//go:build unix

package secretmode

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestPrivate(t *testing.T) {
	const root, service, other = 0, 65532, 1000
	for _, test := range []struct {
		name         string
		mode         fs.FileMode
		owner, group uint32
		want         bool
	}{
		{"one's own", 0o600, service, service, true},
		{"one's own, only to be read", 0o400, service, service, true},
		{"nobody's", 0o000, service, service, true},
		{"root's", 0o600, root, root, true},
		{"Kubernetes, with an fsGroup", 0o440, root, service, true},
		{"Debian's ssl-cert", 0o640, root, 113, true},
		{"one's own, open to the group", 0o640, service, service, false},
		{"one's own, read by the group alone", 0o440, service, service, false},
		{"another's, open to our group", 0o640, other, service, false},
		{"root's, open to root's group", 0o640, root, root, false},
		{"root's, a group that writes", 0o660, root, service, false},
		{"root's, a group that executes", 0o650, root, service, false},
		{"Kubernetes, with a mode for all", 0o444, root, service, false},
		{"root's, others that write", 0o642, root, service, false},
		{"root's, others that execute", 0o641, root, service, false},
		{"for all", 0o644, root, root, false},
	} {
		if got := private(test.mode, test.owner, test.group); got != test.want {
			t.Errorf("%s (%#o %d:%d): %t, want %t", test.name, test.mode, test.owner, test.group, got, test.want)
		}
	}
}

// TestPrivateOfFiles asks about real files: the owner is found.
func TestPrivateOfFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantPrivate(t, path, true)
	chmod(t, path, 0o440)
	wantPrivate(t, path, false) // ours, or root's with root's own group
	if os.Getuid() != 0 {
		t.Skip("the rest gives a file of root's to a group, which takes root")
	}
	const group = 65532
	if err := os.Chown(path, 0, group); err != nil {
		t.Fatal(err)
	}
	wantPrivate(t, path, true)
	chmod(t, path, 0o444)
	wantPrivate(t, path, false)
	chmod(t, path, 0o440)
	if err := os.Chown(path, group, group); err != nil {
		t.Fatal(err)
	}
	wantPrivate(t, path, false)
}

func wantPrivate(t *testing.T, path string, want bool) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := Private(info); got != want {
		t.Errorf("mode %#o: %t, want %t", info.Mode().Perm(), got, want)
	}
}

func chmod(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}
