//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"sync"
	"testing"
)

// The versions that are packaged; an upgrade leads from the one to the other.
const (
	versionBefore = "v0.9.0-rc.1"
	versionAfter  = "v0.9.0"
)

// madePackages are the packages of both versions, made when the first test asks.
var madePackages = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(buildDir, "packages")
	return dir, errors.Join(
		beforePackages(filepath.Join(dir, versionAfter)),
		makePackages(filepath.Join(dir, versionBefore), versionBefore, "packages"),
		makePackages(filepath.Join(dir, versionAfter), versionAfter, "release"),
	)
})

// What lies in the folder for packages before any are made: other people's things, and
// one that a build of the same version has left.
var (
	othersFiles = []string{"image/index.json", "image-amd64.tar", "work/notes", "notes.txt", "sallyport_0.1.0_linux_amd64.cdx.json"}
	staleFile   = "sallyport_0.9.0_linux_mips.cdx.json"
)

func beforePackages(dist string) error {
	for _, name := range append([]string{staleFile}, othersFiles...) {
		path := filepath.Join(dist, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("mine\n"), 0o644)); err != nil {
			return err
		}
	}
	return nil
}

// makePackages has make make the packages, or all of a release, for this machine's
// architecture.
func makePackages(dist, version, target string) error {
	cmd := exec.Command("make", "--no-print-directory", target, "VERSION="+version)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "DIST="+dist, "ARCHES="+runtime.GOARCH)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make %s: %w\n%s", target, err, out)
	}
	return nil
}

// unfetched is how go says that it has no way to a module.
var unfetched = regexp.MustCompile(`dial tcp|module lookup disabled`)

// packages is where the package files of each version are.
func packages(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("end-to-end tests are not run with -short")
	}
	need(t, "make")
	dir, err := madePackages()
	if err != nil && os.Getenv(requireEnv) != "1" && unfetched.MatchString(err.Error()) {
		t.Skipf("nfpm is not here and cannot be fetched: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// packageOf is the file of a package.
func packageOf(t *testing.T, version, format string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(packages(t), version, "*."+format))
	if err != nil || len(files) != 1 {
		t.Fatalf("packages of %s: %q, %v", version, files, err)
	}
	return files[0]
}
