package e2e

import (
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// startTries is how often a server is started anew because somebody took the
// port that was free a moment ago.
const startTries = 5

// startUnbound runs the resolver that stands for the rest of the internet, and
// gives its port.
func startUnbound(t *testing.T) int {
	t.Helper()
	path := need(t, "unbound")
	for range startTries {
		dir, port := t.TempDir(), freePort(t)
		writeFile(t, filepath.Join(dir, "root.zone"), []byte(readFile(t, "testdata/root.zone")))
		config := render(t, dir, "unbound.conf", map[string]any{"Port": port, "Dir": dir})
		c := spawn(t, dir, path, "-d", "-c", config)
		if answersSoon(t, c, port) {
			return port
		}
		t.Logf("unbound did not start on port %d:\n%s", port, c.stderr.String())
	}
	t.Fatal("unbound does not start")
	return 0
}

func answersSoon(t *testing.T, c *child, port int) bool {
	t.Helper()
	var ended bool
	eventually(t, "unbound answers", func() error {
		if ended = !c.running(); ended {
			return nil
		}
		_, err := ask(loopback(port), "www.rockets.example.", dnsmessage.TypeA, 200*time.Millisecond)
		return err
	})
	return !ended
}
