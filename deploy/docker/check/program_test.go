package check

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

const requireEnv = "SALLYPORT_E2E_REQUIRE"

// patience is spent only where a test fails anyway.
const patience = 20 * time.Second

// lacking skips a test that the machine cannot run, or fails it where everything
// is to be run.
func lacking(t *testing.T, what string) {
	t.Helper()
	if os.Getenv(requireEnv) == "1" {
		t.Fatalf("%s, and %s=1 asks for it: see doc.go", what, requireEnv)
	}
	t.Skipf("%s: see doc.go", what)
}

// need gives the path of a program.
func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		lacking(t, program+" is not installed")
	}
	return path
}

// result is what a program left behind.
type result struct {
	stdout, stderr string
	code           int
}

// run lets a program do its work to the end.
func run(t *testing.T, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%q: %v", args, err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// mustRun is run for what has to succeed; it gives standard output.
func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	r := run(t, args...)
	if r.code != 0 {
		t.Fatalf("%q: exit status %d\n%s%s", args, r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// child is a server that a test runs beside itself.
type child struct {
	cmd    *exec.Cmd
	output transcript
	ended  chan struct{} // closed when the process has gone
}

// spawn starts a server and makes sure that it goes when the test does.
func spawn(t *testing.T, env []string, args ...string) *child {
	t.Helper()
	c := &child{cmd: exec.Command(args[0], args[1:]...), ended: make(chan struct{})}
	c.cmd.Env, c.cmd.Stdout, c.cmd.Stderr = env, &c.output, &c.output
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = c.cmd.Wait() // the state is read from ProcessState
		close(c.ended)
	}()
	t.Cleanup(func() {
		c.stop(t)
		if t.Failed() {
			t.Logf("%q wrote:\n%s", args, c.output.String())
		}
	})
	return c
}

// stop asks the process to end, waits for it, and gives its exit status.
func (c *child) stop(t *testing.T) int {
	t.Helper()
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // may have gone already
	select {
	case <-c.ended:
	case <-time.After(patience):
		_ = c.cmd.Process.Kill()
		<-c.ended
		t.Errorf("%q did not end within %v and was killed", c.cmd.Args, patience)
	}
	return c.cmd.ProcessState.ExitCode()
}

func (c *child) running() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

// transcript keeps what a process writes. Safe for concurrent use.
type transcript struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *transcript) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *transcript) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// eventually asks again and again until check has nothing to complain of.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, patience, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
