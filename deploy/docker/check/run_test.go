//go:build linux

package check

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// container is what an engine makes of an image, with chroot and a network
// namespace alone: the root, the configured user, environment and commands, and
// the files of compose.yaml mounted (copied).
type container struct {
	image     image
	root      string
	namespace string
}

// newContainer needs root.
func newContainer(t *testing.T) container {
	t.Helper()
	if os.Getuid() != 0 {
		lacking(t, "chroot and network namespaces want root")
	}
	need(t, "ip")
	builtProgram(t) // for this machine
	c := container{
		image:     readImages(t, filepath.Join(built(t), "image"))[runtime.GOARCH],
		root:      filepath.Join(t.TempDir(), "root"),
		namespace: "sallyport-image-" + strconv.Itoa(os.Getpid()),
	}
	if err := os.Mkdir(c.root, 0o755); err != nil {
		t.Fatal(err)
	}
	lay(t, unpack(t, c.image), c.root)
	if r := run(t, "ip", "netns", "add", c.namespace); r.code != 0 {
		lacking(t, "no network namespace can be made: "+r.stderr)
	}
	t.Cleanup(func() {
		// t.Context has ended already.
		if out, err := exec.Command("ip", "netns", "delete", c.namespace).CombinedOutput(); err != nil {
			t.Errorf("the namespace stays: %v: %s", err, out)
		}
	})
	mustRun(t, "ip", "-n", c.namespace, "link", "set", "lo", "up")
	return c
}

// inside is a command line that runs a program in the container, as its user.
func (c container) inside(args ...string) []string {
	return append([]string{"ip", "netns", "exec", c.namespace, "chroot", "--userspec=" + c.image.config.Config.User, c.root}, args...)
}

// beside is a command line that runs a program of this machine in the
// container's network.
func (c container) beside(args ...string) []string {
	return append([]string{"ip", "netns", "exec", c.namespace}, args...)
}

// serve is the command line of the image.
func (c container) serve() []string {
	config := c.image.config.Config
	return c.inside(append(config.Entrypoint, config.Cmd...)...)
}

// health gives what the image's health check says.
func (c container) health(t *testing.T) result {
	t.Helper()
	test := c.image.config.Config.Healthcheck.Test
	if test[0] != "CMD" {
		t.Fatalf("the health check is %q", test)
	}
	return run(t, c.inside(test[1:]...)...)
}

// mount copies what compose.yaml mounts, and what engines mount themselves.
func (c container) mount(t *testing.T) {
	t.Helper()
	for from, to := range map[string]string{"../sallyport": "etc/sallyport", "../../../configs": "etc/sallyport-policy"} {
		copyFiles(t, from, filepath.Join(c.root, to))
	}
	if err := os.WriteFile(filepath.Join(c.root, "etc/resolv.conf"), []byte("nameserver 127.0.0.11\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestContainerRuns runs the image as an engine would: without a configuration,
// with that of compose.yaml, and to the end.
func TestContainerRuns(t *testing.T) {
	dig, curl := need(t, "dig"), need(t, "curl")
	c := newContainer(t)

	r := run(t, c.serve()...)
	if r.code != 1 || !strings.Contains(r.stderr, "/etc/sallyport/sallyport.yaml: cannot read the configuration: there is no such file") {
		t.Errorf("without a configuration: exit status %d, %s", r.code, r.stderr)
	}

	c.mount(t)
	env := append(c.image.config.Config.Env, "HOME=/")
	gateway := spawn(t, append(env, "PATH="+os.Getenv("PATH")), c.serve()...)
	eventually(t, "the gateway is ready", func() error {
		if !gateway.running() {
			t.Fatal("it has ended")
		}
		if !strings.Contains(gateway.output.String(), "\nready\n") {
			return errors.New(gateway.output.String())
		}
		return nil
	})
	if r := c.health(t); r.code != 0 || r.stdout != "ready\n" {
		t.Errorf("health: exit status %d, %q, %s", r.code, r.stdout, r.stderr)
	}
	if out := mustRun(t, c.beside(dig, "+short", "-p", "1053", "@127.0.0.1", "us04web.zoom.us")...); out != "0.0.0.0\n" {
		t.Errorf("the DNS door says %q", out)
	}
	out := mustRun(t, c.beside(curl, "-s", "-i", "-x", "http://127.0.0.1:3128", "http://zoom.us/")...)
	if !strings.HasPrefix(out, "HTTP/1.1 403 ") || !strings.Contains(out, "X-Sallyport-Rule: zoom-memo") {
		t.Errorf("the proxy door says %s", out)
	}
	if out := mustRun(t, c.beside(curl, "-s", "http://127.0.0.1:8080/proxy.pac")...); !strings.Contains(out, "127.0.0.1:3128") {
		t.Errorf("the portal says %s", out)
	}
	if n := len(readTree(t, filepath.Join(c.root, "var/lib/sallyport"))); n == 0 {
		t.Error("nothing was written to the folder for state")
	}
	t.Run("demo", func(t *testing.T) { c.demo(t) })

	if code := gateway.stop(t); code != 0 {
		t.Errorf("stopped with exit status %d", code)
	}
	if !strings.Contains(gateway.output.String(), `"rule":"zoom-memo"`) {
		t.Error("the decision log is not on standard output")
	}
	if r := c.health(t); r.code != 1 || !strings.Contains(r.stderr, "refused") {
		t.Errorf("health of a gateway that has gone: exit status %d, %q, %s", r.code, r.stdout, r.stderr)
	}
}

// demo runs the employee of compose.yaml, with busybox's programs and no others,
// until both doors have refused and have let through something.
func (c container) demo(t *testing.T) {
	busybox, curl := need(t, "busybox"), need(t, "curl")
	programs := t.TempDir()
	mustRun(t, busybox, "--install", "-s", programs)
	script, err := filepath.Abs("../employee.sh")
	if err != nil {
		t.Fatal(err)
	}
	ip := need(t, "ip")
	employee := spawn(t, []string{"PATH=" + programs},
		ip, "netns", "exec", c.namespace, busybox, "sh", script, "127.0.0.1")
	eventually(t, "the employee is refused and let through", func() error {
		metrics := mustRun(t, c.beside(curl, "-s", "http://127.0.0.1:9180/metrics")...)
		for _, door := range []string{"dns", "proxy"} {
			for _, action := range []string{"allow", "block", "warn"} {
				if !hasSeries(metrics, "sallyport_decisions_total", `door="`+door+`"`, `action="`+action+`"`) {
					return fmt.Errorf("the %s door has decided nothing to %s", door, action)
				}
			}
		}
		return nil
	})
	if code := employee.stop(t); code != 0 {
		t.Errorf("the employee went with exit status %d", code)
	}
}

// hasSeries is whether a scrape has a series of a metric with all the labels.
func hasSeries(scrape, metric string, labels ...string) bool {
next:
	for line := range strings.Lines(scrape) {
		if !strings.HasPrefix(line, metric+"{") {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(line, label) {
				continue next
			}
		}
		return true
	}
	return false
}
