//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// line is a gateway whose process is replaced by another, and that by another
// again. Its test is systemd: it is told which process is the main one.
type line struct {
	*gateway // of which there is no child
	config   string
	pids     []int // all there ever were; the last one is the main one
	told     *notified
	reaped   map[int]syscall.WaitStatus
}

// notified is what systemd is told.
type notified struct {
	mu       sync.Mutex
	messages []string
	read     int // by await
}

// startLine writes a configuration and runs the binary as systemd would.
// Whatever a process leaves behind becomes ours, so that we see how it ends.
func startLine(t *testing.T, config string, more ...string) *line {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "policy.yaml"), []byte(readFile(t, "testdata/policy.yaml")))
	l := prepareLine(t, dir, config, more...)
	cmd := l.command(t, more...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l.began(t, cmd)
	return l
}

// prepareLine is startLine up to the start.
func prepareLine(t *testing.T, dir, config string, more ...string) *line {
	t.Helper()
	sallyport(t)
	l := &line{gateway: &gateway{dir: dir}, config: filepath.Join(dir, "sallyport.yaml"), reaped: map[int]syscall.WaitStatus{}}
	writeFile(t, l.config, []byte(config))
	adopt(t)
	l.told = listenNotify(t, filepath.Join(dir, "notify"))
	return l
}

// command is the binary with everything that it is given.
func (l *line) command(t *testing.T, more ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(sallyport(t), "serve", "--config", l.config)
	cmd.Dir = l.dir
	cmd.Env = append(plainEnv(l.dir), append([]string{"NOTIFY_SOCKET=" + filepath.Join(l.dir, "notify")}, more...)...)
	// Files, since they outlive the first process and nobody need copy them.
	cmd.Stdout, cmd.Stderr = l.output(t, "stdout"), l.output(t, "stderr")
	return cmd
}

func (l *line) output(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(l.dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// began waits until the process serves, and sees to its end.
func (l *line) began(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	l.pids = append(l.pids, cmd.Process.Pid)
	t.Cleanup(func() { l.end(t) })
	eventually(t, "the gateway is ready", func() error {
		if status, ended := l.ended(cmd.Process.Pid); ended {
			t.Fatalf("it ended with status %d:\n%s", status.ExitStatus(), l.log(t))
		}
		return l.told.has("READY=1")
	})
	l.told.await(t, "READY=1")
	l.readAddresses(t)
}

func (l *line) readAddresses(t *testing.T) {
	t.Helper()
	l.dns, l.proxy = l.address(t, "dns udp"), l.address(t, "proxy http")
	l.admin, l.portal = l.address(t, "admin http"), l.address(t, "portal http")
}

// address is where the first process has printed that it listens.
func (l *line) address(t *testing.T, name string) string {
	t.Helper()
	for text := range strings.Lines(readFile(t, filepath.Join(l.dir, "stdout"))) {
		if address, ok := strings.CutPrefix(strings.TrimSpace(text), name+" "); ok {
			return address
		}
	}
	t.Fatalf("it does not say where %s listens", name)
	return ""
}

// log is what all processes have logged.
func (l *line) log(t *testing.T) string {
	t.Helper()
	return readFile(t, filepath.Join(l.dir, "stderr"))
}

// main is the number of the process that serves.
func (l *line) main() int { return l.pids[len(l.pids)-1] }

func (l *line) kill(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatalf("send %v to %d: %v", s, pid, err)
	}
}

// upgrade has the main process replaced, and says by which.
func (l *line) upgrade(t *testing.T) int {
	t.Helper()
	l.kill(t, l.main(), syscall.SIGUSR2)
	message := l.told.await(t, "MAINPID=")
	var pid int
	if _, err := fmt.Sscanf(message, "MAINPID=%d", &pid); err != nil {
		t.Fatalf("systemd is told %q: %v", message, err)
	}
	l.pids = append(l.pids, pid)
	return pid
}

// ended reports whether a process has ended, and how.
func (l *line) ended(pid int) (syscall.WaitStatus, bool) {
	if status, ok := l.reaped[pid]; ok {
		return status, true
	}
	var status syscall.WaitStatus
	if reaped, err := syscall.Wait4(pid, &status, syscall.WNOHANG, nil); err != nil || reaped != pid {
		return 0, false
	}
	l.reaped[pid] = status
	return status, true
}

// wantEnd waits until a process has ended well.
func (l *line) wantEnd(t *testing.T, pid int) {
	t.Helper()
	eventually(t, fmt.Sprintf("process %d ends", pid), func() error {
		status, ended := l.ended(pid)
		switch {
		case !ended:
			return errors.New("it runs")
		case status.ExitStatus() != 0:
			t.Errorf("process %d ended with %#x:\n%s", pid, int(status), lastLines(l.log(t), 20))
		}
		return nil
	})
}

// end ends every process that is left.
func (l *line) end(t *testing.T) {
	for _, pid := range l.pids {
		if _, ended := l.ended(pid); !ended {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
	}
	deadline := time.Now().Add(patience)
	for _, pid := range l.pids {
		for {
			if _, ended := l.ended(pid); ended {
				break
			}
			if time.Now().After(deadline) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
				t.Errorf("process %d had to be killed", pid)
				deadline = deadline.Add(time.Second)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	if t.Failed() {
		t.Logf("the processes wrote:\n%s", lastLines(l.log(t), 60))
	}
}

// adopt makes the test process the parent of orphans among its descendants.
func adopt(t *testing.T) {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
}

// listenNotify is systemd's end of the notifications.
func listenNotify(t *testing.T, path string) *notified {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	n := &notified{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var b [4096]byte
		for {
			size, err := conn.Read(b[:])
			if err != nil {
				return
			}
			n.mu.Lock()
			n.messages = append(n.messages, string(b[:size]))
			n.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return n
}

func (n *notified) has(begin string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, message := range n.messages[n.read:] {
		if strings.HasPrefix(message, begin) {
			return nil
		}
	}
	return fmt.Errorf("systemd is told %q", n.messages)
}

// await waits for a message, and forgets those before it.
func (n *notified) await(t *testing.T, begin string) string {
	t.Helper()
	eventually(t, "systemd is told "+begin, func() error { return n.has(begin) })
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		message := n.messages[n.read]
		n.read++
		if strings.HasPrefix(message, begin) {
			return message
		}
	}
}

// lineConfig is a gateway on free ports that needs no resolver.
func lineConfig(drain string, more ...string) string {
	return `policy: policy.yaml
tenant: e2e
dns:
  listen: ["127.0.0.1:0"]
  upstreams: ["udp://127.0.0.1:9"]
  clients: [127.0.0.0/8]
` + indented(more) + `proxy:
  listen: ["127.0.0.1:0"]
  clients: [127.0.0.0/8]
  deny_networks: [10.0.0.0/8]
  drain: ` + drain + `
admin: {listen: "127.0.0.1:0"}
portal: {listen: "127.0.0.1:0"}
audit: {file: decisions.jsonl, allows: all}
upgrade: {ready: 10s}
`
}

func indented(lines []string) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString("  " + l + "\n")
	}
	return b.String()
}
