package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// resolver is an unbound that a test can stop and start again at its port.
type resolver struct {
	*child
	dir    string
	config string
	port   int
}

// startResolver runs unbound over the root zone of all tests, with more records.
func startResolver(t *testing.T, more string) *resolver {
	t.Helper()
	path := need(t, "unbound")
	for range startTries {
		r := &resolver{dir: t.TempDir(), port: freePort(t)}
		writeFile(t, filepath.Join(r.dir, "root.zone"), []byte(readFile(t, "testdata/root.zone")+more))
		r.config = render(t, r.dir, "unbound.conf", map[string]any{"Port": r.port, "Dir": r.dir})
		r.child = spawn(t, r.dir, path, "-d", "-c", r.config)
		if answersSoon(t, r.child, r.port) {
			return r
		}
		t.Logf("unbound did not start on port %d:\n%s", r.port, r.stderr.String())
	}
	t.Fatal("unbound does not start")
	return nil
}

// kill ends unbound as a crash does.
func (r *resolver) kill(t *testing.T) {
	t.Helper()
	r.signal(t, os.Kill)
	r.wait(t)
}

// again starts it at the same port.
func (r *resolver) again(t *testing.T) {
	t.Helper()
	r.child = spawn(t, r.dir, need(t, "unbound"), "-d", "-c", r.config)
	if !answersSoon(t, r.child, r.port) {
		t.Fatalf("unbound does not start again:\n%s", r.stderr.String())
	}
}

// startKnot runs Knot Resolver in front of another resolver, and gives its port.
func startKnot(t *testing.T, behind int) int {
	t.Helper()
	path := need(t, "kresd")
	for range startTries {
		dir, port := t.TempDir(), freePort(t)
		config := filepath.Join(dir, "kresd.conf")
		writeFile(t, config, fmt.Appendf(nil, `net.listen('127.0.0.1', %d, { kind = 'dns' })
cache.open(10 * MB, 'lmdb://%s')
modules.unload('ta_update') modules.unload('ta_signal_query') modules.unload('priming')
modules.unload('detect_time_skew') modules.unload('detect_time_jump')
trust_anchors.remove('.')
policy.add(policy.all(policy.STUB('127.0.0.1@%d')))
`, port, dir, behind))
		c := spawn(t, dir, path, "-n", "-c", config, dir)
		if answersSoon(t, c, port) {
			return port
		}
		t.Logf("Knot Resolver did not start on port %d:\n%s", port, c.stderr.String())
	}
	t.Fatal("Knot Resolver does not start")
	return 0
}

func makeDir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
}
