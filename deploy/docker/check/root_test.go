package check

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"debug/elf"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// file is a file or a folder of an image's root.
type file struct {
	header  *tar.Header
	content []byte
}

func (f file) String() string {
	return fmt.Sprintf("%s %d:%d", f.header.FileInfo().Mode(), f.header.Uid, f.header.Gid)
}

// unpack applies the layers, the lowest first. An upper layer may add and
// replace; what it would take away by a whiteout shows as a file of that name.
func unpack(t *testing.T, i image) map[string]file {
	t.Helper()
	root := map[string]file{}
	for _, layer := range i.layers {
		for r := tar.NewReader(bytes.NewReader(layer)); ; {
			header, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			root[strings.TrimSuffix(header.Name, "/")] = file{header, content}
		}
	}
	return root
}

// TestRoot wants the program and the certificates, the folders that they are in,
// one for state, and nothing else.
func TestRoot(t *testing.T) {
	want := map[string]string{
		"etc":                               "drwxr-xr-x 0:0",
		"etc/ssl":                           "drwxr-xr-x 0:0",
		"etc/ssl/certs":                     "drwxr-xr-x 0:0",
		"etc/ssl/certs/ca-certificates.crt": "-rw-r--r-- 0:0",
		"usr":                               "drwxr-xr-x 0:0",
		"usr/bin":                           "drwxr-xr-x 0:0",
		"usr/bin/sallyport":                 "-rwxr-xr-x 0:0",
		"var":                               "drwxr-xr-x 0:0",
		"var/lib":                           "drwxr-xr-x 0:0",
		"var/lib/sallyport":                 "drwx------ 65532:65532",
	}
	for architecture, i := range readImages(t, filepath.Join(built(t), "image")) {
		root := unpack(t, i)
		for path, f := range root {
			if want[path] != f.String() {
				t.Errorf("%s: %s is %s, want %q", architecture, path, f, want[path])
			}
			if !f.header.ModTime.Equal(time.Unix(1585378800, 0)) {
				t.Errorf("%s: %s is of %s", architecture, path, f.header.ModTime)
			}
		}
		for path := range maps.Keys(want) {
			if _, ok := root[path]; !ok {
				t.Errorf("%s: there is no %s", architecture, path)
			}
		}
		wantStatic(t, architecture, root["usr/bin/sallyport"].content)
		wantAuthorities(t, root["etc/ssl/certs/ca-certificates.crt"].content)
	}
}

// wantStatic wants a program for the architecture that needs no loader, which
// the image does not have.
func wantStatic(t *testing.T, architecture string, program []byte) {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[architecture]
	if f.Machine != machine {
		t.Errorf("%s: the program is for %s", architecture, f.Machine)
	}
	if slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		t.Errorf("%s: the program wants a loader", architecture)
	}
}

// wantAuthorities wants certificates of authorities, none twice.
func wantAuthorities(t *testing.T, text []byte) {
	t.Helper()
	seen := map[string]bool{}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if !c.IsCA || seen[string(c.Raw)] {
			t.Errorf("%s is no authority, or is there twice", c.Subject)
		}
		seen[string(c.Raw)] = true
	}
	if len(seen) < 50 || !x509.NewCertPool().AppendCertsFromPEM(text) {
		t.Errorf("there are %d authorities", len(seen))
	}
}

// lay writes an image's root to a folder, with its owners, for which one must be
// root.
func lay(t *testing.T, root map[string]file, dir string) {
	t.Helper()
	for _, path := range slices.Sorted(maps.Keys(root)) {
		f, to := root[path], filepath.Join(dir, path)
		var err error
		if f.header.Typeflag == tar.TypeDir {
			err = os.Mkdir(to, 0o700)
		} else {
			err = os.WriteFile(to, f.content, 0o600)
		}
		err = errors.Join(err,
			os.Chown(to, f.header.Uid, f.header.Gid),
			os.Chmod(to, f.header.FileInfo().Mode().Perm()),
		)
		if err != nil {
			t.Fatal(err)
		}
	}
}
