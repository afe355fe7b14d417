package check

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
)

// What the tests have the image say of itself.
const (
	version  = "v1.2.3-check"
	revision = "0123456789ab"
	created  = "1585378800" // 2020-03-28T07:00:00Z
)

// architectures that the image is made for.
func architectures() []string { return []string{"amd64", "arm64"} }

// buildDir holds what `make image` made, from TestMain's start to its end.
var buildDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sallyport-image-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	buildDir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// buildOnce makes the image when the first test asks for it.
var buildOnce = sync.OnceValues(func() (string, error) {
	dist := filepath.Join(buildDir, "dist")
	return dist, makeImage(dist)
})

func makeImage(dist string, env ...string) error {
	cmd := exec.Command("make", "-C", "../../..", "image",
		"DIST="+dist, "VERSION="+version, "COMMIT="+revision, "SOURCE_DATE_EPOCH="+created)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make image: %w\n%s", err, out)
	}
	return nil
}

// built gives the folder that `make image` wrote to.
func built(t *testing.T) string {
	t.Helper()
	dist, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return dist
}

// builtProgram gives the program that is in the image for this machine.
func builtProgram(t *testing.T) string {
	t.Helper()
	if !slices.Contains(architectures(), runtime.GOARCH) || runtime.GOOS != "linux" {
		lacking(t, "no image is made for "+runtime.GOOS+"/"+runtime.GOARCH)
	}
	return filepath.Join(built(t), "image-programs", runtime.GOARCH)
}

// TestSameSourcesSameImage makes the image again, elsewhere, later and in another
// time zone: every byte must be the same.
func TestSameSourcesSameImage(t *testing.T) {
	first := built(t)
	second := filepath.Join(t.TempDir(), "elsewhere")
	if err := makeImage(second, "TZ=Asia/Kathmandu", "LC_ALL=C"); err != nil {
		t.Fatal(err)
	}
	a, b := readTree(t, first), readTree(t, second)
	if len(a) < 10 {
		t.Fatalf("only %d files were made", len(a))
	}
	for path, content := range a {
		if !bytes.Equal(content, b[path]) {
			t.Errorf("%s differs", path)
		}
		delete(b, path)
	}
	for path := range b {
		t.Errorf("only the second time there is %s", path)
	}
}

func readTree(t *testing.T, root string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files[path], err = os.ReadFile(filepath.Join(root, path))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// copyFiles copies the YAML files of a folder, readable for everybody as a mount
// must be.
func copyFiles(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(from, "*.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("there is nothing to copy in %s: %v", from, err)
	}
	for _, path := range paths {
		if err := os.WriteFile(filepath.Join(to, filepath.Base(path)), []byte(readFile(t, path)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
