//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// machine is a Debian system whose first process is systemd, with a network of its
// own in which there is nobody else.
type machine struct {
	root string
	init int // systemd's process number here
}

// boot starts a root folder as systemd-nspawn starts containers, and ends it with the
// test.
func boot(t *testing.T, root string) *machine {
	t.Helper()
	nspawn := need(t, "systemd-nspawn")
	need(t, "nsenter")
	var console transcript
	cmd := exec.Command(nspawn, "--quiet", "--directory", root, "--machine", fmt.Sprintf("sallyport-%d", os.Getpid()),
		"--boot", "--register=no", "--keep-unit", "--private-network", "--console=pipe",
		"--link-journal=no", "--resolv-conf=off", "--timezone=off", "systemd.unit=multi-user.target")
	// Control groups of the present kind, also where the machine has the former.
	cmd.Env = append(plainEnv(root), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1")
	cmd.Stdout, cmd.Stderr = &console, &console
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		// The second one does not wait for the services.
		for range 2 {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			select {
			case <-ended:
				return
			case <-time.After(patience):
			}
		}
		_ = cmd.Process.Kill()
		<-ended
		t.Error("the machine had to be killed")
	})
	m := &machine{root: root}
	eventually(t, "the machine is up", func() error {
		select {
		case <-ended:
			t.Fatalf("the machine does not start: %s", console.String())
		default:
		}
		m.init = childOf(cmd.Process.Pid)
		if m.init == 0 {
			return errors.New("nobody is in it")
		}
		r := run(t, "/", "nsenter", m.enter("systemctl", "is-system-running")...)
		if state := strings.TrimSpace(r.stdout); state != "running" && state != "degraded" {
			return fmt.Errorf("systemd is %q: %s\n%s", state, r.stderr, console.String())
		}
		return nil
	})
	return m
}

// childOf is the only child of a process; 0 where it has none.
func childOf(pid int) int {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0
	}
	child, _ := strconv.Atoi(strings.TrimSpace(string(children)))
	return child
}

func (m *machine) enter(command ...string) []string {
	return append([]string{"--target", strconv.Itoa(m.init), "--all", "--wdns=/"}, command...)
}

// try runs a command in the machine, as its root.
func (m *machine) try(t *testing.T, command ...string) result {
	t.Helper()
	return run(t, "/", "nsenter", m.enter(append([]string{"env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive"}, command...)...)...)
}

// do runs a command in the machine that has to succeed, and gives what it printed.
func (m *machine) do(t *testing.T, command ...string) string {
	t.Helper()
	r := m.try(t, command...)
	if r.code != 0 {
		t.Fatalf("%s: status %d\n%s%s\n%s", strings.Join(command, " "), r.code, r.stdout, r.stderr,
			lastLines(m.try(t, "journalctl", "--no-pager", "-n", "40").stdout, 40))
	}
	return strings.TrimSpace(r.stdout)
}

// client runs one of this machine's programs in the other one's network.
func (m *machine) client(t *testing.T, program string, args ...string) result {
	t.Helper()
	return run(t, t.TempDir(), "nsenter", append([]string{"--target", strconv.Itoa(m.init), "--net", program}, args...)...)
}

// path is where a file of the machine is here.
func (m *machine) path(name string) string { return filepath.Join(m.root, name) }

// within calls f on a thread that is in the machine's network: sockets that f opens
// are there, and stay there.
func (m *machine) within(t *testing.T, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		// Not unlocked: the thread ends with the goroutine, and no other gets one
		// that is in a foreign network.
		runtime.LockOSThread()
		space, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", m.init))
		if err != nil {
			done <- err
			return
		}
		defer space.Close()
		if err := unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter the machine's network: %w", err)
			return
		}
		done <- f()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
