//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestUpgradeFails has upgrades fail in every way that an administrator can
// bring about: the process that runs goes on, says why, and counts it; clients
// notice nothing. The next one, with all well, succeeds.
func TestUpgradeFails(t *testing.T) {
	echo := echoServer(t)
	l := startLine(t, lineConfig("1s"))
	good, policy := readFile(t, l.config), readFile(t, filepath.Join(l.dir, "policy.yaml"))
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	conn, reader, err := connectVia(l.proxy, echo)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := startCrowd()
	c.keep("UDP", onceUDP(l.dns))
	c.keep("TCP", onceStream(func() (net.Conn, error) { return net.DialTimeout("tcp", l.dns, patience) }))
	c.keep("tunnel", onceTunnel(l.proxy, echo))
	c.keep("admin", onceGet(t, "http://"+l.admin+"/healthz", "", false))
	c.wait(t, 10)

	failures := 0.0
	for _, test := range []struct {
		name   string
		config string
		want   []string // what the log must tell
	}{
		{"unknown key", strings.Replace(good, "tenant:", "tennant:", 1), []string{"sallyport.yaml:2:1", "tennant"}},
		{"not YAML", "][", []string{"sallyport.yaml:1"}},
		{"no policy", strings.Replace(good, "policy: policy.yaml", "policy: none.yaml", 1), []string{"none.yaml"}},
		{"address taken", strings.Replace(good, `portal: {listen: "127.0.0.1:0"}`, fmt.Sprintf("portal: {listen: %q}", taken.Addr()), 1), []string{"portal.listen", "in use"}},
		{"DNS address taken", strings.Replace(good, `listen: ["127.0.0.1:0"]`, fmt.Sprintf("listen: [\"127.0.0.1:0\", %q]", taken.Addr()), 1), []string{"dns.listen", "in use"}},
		{"log that cannot be written", strings.Replace(good, "decisions.jsonl", "nowhere/decisions.jsonl", 1), []string{"nowhere/decisions.jsonl"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			logged := len(l.log(t))
			writeFile(t, l.config, []byte(test.config))
			l.kill(t, l.main(), syscall.SIGUSR2)
			failures++
			eventually(t, "the failure is counted", func() error {
				if n := l.metric(t, "sallyport_upgrades_total", `result="failure"`); n != failures {
					return fmt.Errorf("%v failures are counted, want %v", n, failures)
				}
				return nil
			})
			text := l.log(t)[logged:]
			for _, want := range append(test.want, "no new process has taken over: this one goes on", "did not start") {
				if !strings.Contains(text, want) {
					t.Errorf("the log does not say %q:\n%s", want, text)
				}
			}
			if err := echoIn(conn, reader, "still here"); err != nil {
				t.Errorf("the tunnel that was open: %v", err)
			}
			c.wait(t, 5)
			if _, ended := l.ended(l.main()); ended {
				t.Fatal("the process has ended")
			}
			wantNoChildren(t, l.main())
		})
	}
	writeFile(t, l.config, []byte(good))
	t.Run("policy that fails its own tests", func(t *testing.T) {
		bad := changed(t, policy, "want: block, by: zoom-memo", "want: allow, by: approved")
		logged := len(l.log(t))
		writeFile(t, filepath.Join(l.dir, "policy.yaml"), []byte(bad))
		l.kill(t, l.main(), syscall.SIGUSR2)
		eventually(t, "the failure is told", func() error {
			if text := l.log(t)[logged:]; !strings.Contains(text, "no new process has taken over") || !strings.Contains(text, "policy.yaml:") {
				return errors.New(text)
			}
			return nil
		})
		c.wait(t, 5)
		writeFile(t, filepath.Join(l.dir, "policy.yaml"), []byte(policy))
	})

	before := l.main()
	l.upgrade(t)
	c.wait(t, 10)
	conn.Close()
	l.wantEnd(t, before)
	c.stop(t)
	l.wantMetric(t, failures+1, "sallyport_upgrades_total", `result="failure"`) // the new process knows of them
	l.wantMetric(t, 1, "sallyport_upgrades_total", `result="success"`)
}

// wantNoChildren wants nothing to be left of the processes that failed.
func wantNoChildren(t *testing.T, pid int) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if data, err := os.ReadFile(task); err == nil && strings.TrimSpace(string(data)) != "" {
			t.Errorf("processes that failed are left: %s", data)
		}
	}
}

// TestUpgradeOfAddresses replaces a process whose configuration has changed: new
// addresses are served, and those that it does not name any more are closed.
func TestUpgradeOfAddresses(t *testing.T) {
	echo := echoServer(t)
	l := startLine(t, lineConfig("1s"))
	old := *l.gateway
	config := changed(t, readFile(t, l.config), `  listen: ["127.0.0.1:0"]
  clients: [127.0.0.0/8]
  deny`, fmt.Sprintf(`  listen: ["127.0.0.2:0", %q]
  clients: [127.0.0.0/8]
  deny`, l.proxy))
	config = changed(t, config, `portal: {listen: "127.0.0.1:0"}`, `portal: {listen: ""}`)
	writeFile(t, l.config, []byte(config))
	before := l.main()
	l.upgrade(t)
	var added string
	for text := range strings.Lines(readFile(t, filepath.Join(l.dir, "stdout"))) {
		if address, ok := strings.CutPrefix(strings.TrimSpace(text), "proxy http 127.0.0.2:"); ok {
			added = "127.0.0.2:" + address
		}
	}
	for _, proxy := range []string{added, old.proxy} {
		if err := onceTunnel(proxy, echo)(); err != nil {
			t.Errorf("through %s: %v", proxy, err)
		}
	}
	if err := onceUDP(l.dns)(); err != nil {
		t.Error(err)
	}
	l.wantEnd(t, before)
	if err := closed(old.portal); err != nil {
		t.Errorf("the portal, which is switched off: %v", err)
	}
	if !strings.Contains(l.log(t), "no longer listening on an address of the process before") {
		t.Error("the log does not tell of the portal's address")
	}
}

// TestUpgradeOfTheFirstProcess asks a gateway to be replaced that is the first
// process of its container: everything would end with it.
func TestUpgradeOfTheFirstProcess(t *testing.T) {
	sallyport(t)
	needRoot(t)
	unshare := need(t, "unshare")
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "policy.yaml"), []byte(readFile(t, "testdata/policy.yaml")))
	l := prepareLine(t, dir, lineConfig("1s"))
	cmd := l.command(t)
	cmd.Args = append([]string{unshare, "--pid", "--fork", "--kill-child", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = unshare
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l.began(t, cmd)
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", l.main(), l.main()))
	if err != nil {
		t.Fatal(err)
	}
	var first int
	if _, err := fmt.Sscan(string(children), &first); err != nil {
		t.Fatal(err)
	}
	l.kill(t, first, syscall.SIGUSR2)
	eventually(t, "the log says why not", func() error {
		if text := l.log(t); !strings.Contains(text, "first of its container") || !strings.Contains(text, "this one goes on") {
			return errors.New(text)
		}
		return nil
	})
	if err := onceUDP(l.dns)(); err != nil {
		t.Error(err)
	}
	l.kill(t, first, syscall.SIGTERM)
	l.wantEnd(t, l.main())
}
