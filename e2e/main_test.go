package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// buildDir holds the binary under test, from TestMain's start to its end.
var buildDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sallyport-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	buildDir = dir
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// build compiles the binary once, when the first test asks for it.
var build = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(buildDir, "sallyport")
	cmd := exec.Command("go", "build", "-trimpath", "-o", binary, "./cmd/sallyport")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the gateway: %w\n%s", err, out)
	}
	return binary, nil
})

func sallyport(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("end-to-end tests are not run with -short")
	}
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}
