package check

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// program is what `make build` makes.
const program = "../../../bin/sallyport"

// patience is how long the machine may take: a busy one takes its time.
const patience = 30 * time.Second

// client is who asks: in the private networks that the doors serve, and in the
// groups of every policy here.
const client = "10.4.7.7"

// needProgram gives the gateway's program, which `make kubernetes` builds first.
func needProgram(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(program)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		lacking(t, "bin/sallyport is not built: run make build")
	}
	return path
}

// lacking skips a test that the machine cannot run, or fails it where nothing
// may be skipped.
func lacking(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("SALLYPORT_E2E_REQUIRE") == "1" {
		t.Fatalf("%s, and SALLYPORT_E2E_REQUIRE=1 asks for it", what)
	}
	t.Skip(what)
}

// island is a network namespace with nothing but a loopback: a pod's ports are
// fixed, and two pods must not meet.
type island struct{ name string }

func newIsland(t *testing.T) island {
	t.Helper()
	if os.Getuid() != 0 {
		lacking(t, "only root makes files of root's, chroots and network namespaces")
	}
	for _, tool := range []string{"ip", "chroot", "curl", "dig"} {
		if _, err := exec.LookPath(tool); err != nil {
			lacking(t, tool+" is not installed (iproute2, coreutils, curl, bind9-dnsutils)")
		}
	}
	i := island{fmt.Sprintf("sallyport-pod-%d", os.Getpid())}
	mustRun(t, "ip", "netns", "add", i.name)
	t.Cleanup(func() { mustRun(t, "ip", "netns", "del", i.name) })
	mustRun(t, "ip", "-n", i.name, "link", "set", "lo", "up")
	mustRun(t, "ip", "-n", i.name, "address", "add", client+"/32", "dev", "lo")
	return i
}

func mustRun(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// run lets a program do its work on the island, and gives what it printed.
func (i island) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", i.name}, args...)...).CombinedOutput()
	return string(out), err
}

// chroot is where that program is: the gateway's environment has no PATH.
func chroot(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("chroot")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// process is a program that goes on, with what it has printed.
type process struct {
	cmd  *exec.Cmd
	out  *output
	done chan struct{} // closed once it has ended
}

// output is written by the process and read by the test.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start starts a program on the island. ip and chroot put it in their own place,
// so that signals reach it.
func (i island) start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command("ip", append([]string{"netns", "exec", i.name}, args...)...), out: &output{}, done: make(chan struct{})}
	p.cmd.Env = env
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // ProcessState says how it ended
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
	})
	return p
}

// stop ends the process as the kubelet does, and gives its exit status.
func (p *process) stop(t *testing.T) int {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatalf("it does not stop:\n%s", p.out)
	}
	return p.cmd.ProcessState.ExitCode()
}

// eventually asks until there is no error.
func eventually(t *testing.T, p *process, what string, ask func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-p.done:
			t.Fatalf("%s: the gateway has ended:\n%s", what, p.out)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v\n%s", what, err, p.out)
		}
	}
}
