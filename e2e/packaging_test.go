//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
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
		makePackages(filepath.Join(dir, versionBefore), versionBefore, "packages"),
		makePackages(filepath.Join(dir, versionAfter), versionAfter, "release"),
	)
})

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

// packages is where the package files of each version are.
func packages(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("end-to-end tests are not run with -short")
	}
	need(t, "make")
	dir, err := madePackages()
	if err != nil && os.Getenv(requireEnv) != "1" && strings.Contains(err.Error(), "proxy.golang.org") {
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
