//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// member is a gateway of several, on a machine of its own.
type member struct {
	*gateway
	machine, address string
}

// membership fills in testdata/pair.yaml.
type membership struct {
	Name, Address, DNS, Proxy, Admin, Balancer string
}

// start runs a gateway on a machine. dir may hold what it needs besides.
func (l *lab) start(t *testing.T, dir string, m membership) *member {
	t.Helper()
	writeFile(t, filepath.Join(dir, "policy.yaml"), []byte(readFile(t, "testdata/transparent-policy.yaml")))
	config := render(t, dir, "pair.yaml", m)
	g := &gateway{dir: dir, child: l.spawn(t, m.Name, dir, sallyport(t), "serve", "--config", config)}
	g.waitReady(t)
	return &member{gateway: g, machine: m.Name, address: m.Address}
}

// keepalivedScript gives keepalived the files that it expects, in a mount
// namespace that it shares with nobody.
const keepalivedScript = `set -eu
mount -t tmpfs -o mode=755 tmpfs /etc/keepalived
cp "$1/keepalived.conf" "$1/sallyport-notify" "$1/sallyport" /etc/keepalived/
chmod 644 /etc/keepalived/keepalived.conf
chmod 755 /etc/keepalived/sallyport-notify /etc/keepalived/sallyport
mount -t tmpfs -o mode=755 tmpfs /run
PATH="$1/bin:$PATH" exec keepalived --vrrp --dont-fork --log-console --log-detail --config-id "$2"`

// keepalivedFiles is a folder for keepalivedScript: the files that are shipped,
// with the program where a test may put it, and a logger that writes a file.
func keepalivedFiles(t *testing.T) string {
	t.Helper()
	dir := openDir(t)
	shipped := filepath.Join(networkFolder, "keepalived")
	config := changed(t, readFile(t, filepath.Join(shipped, "keepalived.conf")), `"/usr/bin/sallyport health`, `"/etc/keepalived/sallyport health`)
	program, err := os.ReadFile(sallyport(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	logger := fmt.Sprintf("#!/bin/sh\necho \"$*\" >>%s/logged\n", dir)
	for name, data := range map[string]string{
		"keepalived.conf": config, "sallyport": string(program), "bin/logger": logger,
		"sallyport-notify": readFile(t, filepath.Join(shipped, "sallyport-notify")),
	} {
		writeFile(t, filepath.Join(dir, name), []byte(data))
		if err := os.Chmod(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestPair has two gateways share an address by deploy/network/keepalived. The
// one that has it is stopped, and comes back.
func TestPair(t *testing.T) {
	keepalived, dig, curl := need(t, "keepalived"), need(t, "dig"), need(t, "curl")
	l := newLab(t, "lan", "gateway-a", "gateway-b", "desk")
	l.hub(t, "lan", "gateway-a", "gateway-b", "desk")
	l.address(t, "gateway-a", "eth0", "10.20.0.2/24", "fd20::2/64")
	l.address(t, "gateway-b", "eth0", "10.20.0.3/24", "fd20::3/64")
	l.address(t, "desk", "eth0", "10.20.0.50/24", "fd20::50/64")
	start := func(machine string) *member {
		return l.start(t, t.TempDir(), membership{Name: machine, DNS: `[":53"]`, Proxy: `[":3128"]`, Admin: "127.0.0.1:9180"})
	}
	a, b := start("gateway-a"), start("gateway-b")
	noted := map[string]string{}
	told := map[string]*child{}
	for _, machine := range []string{a.machine, b.machine} {
		dir := keepalivedFiles(t)
		noted[machine] = filepath.Join(dir, "logged")
		told[machine] = l.spawn(t, machine, dir, "sh", "-c", keepalivedScript, keepalived, dir, machine)
	}

	// answers holds once clients are served at the shared addresses by one
	// gateway, and the other one has neither.
	answers := func(at, other *member) {
		t.Helper()
		eventually(t, at.machine+" has the shared addresses", func() error {
			for _, c := range told {
				if !c.running() {
					t.Fatalf("keepalived ended:\n%s%s", c.stdout.String(), c.stderr.String())
				}
			}
			for _, address := range []string{"10.20.0.10/24", "fd20::10/64"} {
				if !strings.Contains(l.in(t, at.machine, l.ip, "addr", "show", "dev", "eth0"), address) {
					return fmt.Errorf("%s has no %s", at.machine, address)
				}
				if strings.Contains(l.in(t, other.machine, l.ip, "addr", "show", "dev", "eth0"), address) {
					return fmt.Errorf("%s has %s too", other.machine, address)
				}
			}
			for _, server := range []string{"10.20.0.10", "fd20::10"} {
				got := l.try(t, "desk", dig, "+short", "+tries=1", "+time=1", "@"+server, "www.rockets.example")
				if got.stdout != "10.20.0.80\n" {
					return fmt.Errorf("dig @%s: %q", server, got.stdout)
				}
			}
			return nil
		})
		before := len(at.decisions(t))
		got := l.try(t, "desk", curl, "--silent", "--max-time", "10", "--output", "/dev/null", "--write-out", "%{http_code}", "--proxy", "http://10.20.0.10:3128", "http://zoom.us/")
		if got.stdout != "403" {
			t.Errorf("the proxy: status %s, %s", got.stdout, got.stderr)
		}
		eventually(t, "the decision is "+at.machine+"'s", func() error {
			if len(at.decisions(t)) <= before {
				return fmt.Errorf("%s has taken %d", at.machine, before)
			}
			return nil
		})
	}
	// Whichever comes first has it.
	eventually(t, "a gateway has the shared address", func() error {
		for _, m := range []*member{a, b} {
			if strings.Contains(l.in(t, m.machine, l.ip, "addr", "show", "dev", "eth0"), "10.20.0.10/24") {
				if m == b {
					a, b = b, a
				}
				return nil
			}
		}
		return errors.New("none has")
	})
	answers(a, b)

	stopped := time.Now()
	if code := a.stop(t); code != 0 {
		t.Errorf("the gateway ended with %d", code)
	}
	answers(b, a)
	t.Logf("the other gateway answers after %v", time.Since(stopped).Round(100*time.Millisecond))
	backups := strings.Count(told[a.machine].stdout.String()+told[a.machine].stderr.String(), "Entering BACKUP STATE")

	// Whoever comes back leaves the address where it is.
	again := start(a.machine)
	eventually(t, a.machine+" is ready to take over", func() error {
		said := told[a.machine].stdout.String() + told[a.machine].stderr.String()
		if n := strings.Count(said, "Entering BACKUP STATE"); n <= backups {
			return fmt.Errorf("it has been BACKUP %d times", n)
		}
		return nil
	})
	answers(b, again)
	b.signal(t, os.Kill)
	answers(again, b)

	for machine, words := range map[string][]string{
		a.machine: {"gateway: the shared address is here now", "this gateway is not ready", "the other gateway has the shared address"},
		b.machine: {"gateway: the shared address is here now", "this gateway is not ready"},
	} {
		eventually(t, "what was noted on "+machine, func() error {
			text, err := os.ReadFile(noted[machine])
			for _, word := range words {
				if err == nil && !strings.Contains(string(text), word) {
					err = fmt.Errorf("it does not say %q: %s", word, text)
				}
			}
			return err
		})
	}
}
