//go:build linux

package e2e

import (
	"fmt"

	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// doneWithout are the system calls that the unit refuses and the gateway tries
// all the same, with what becomes of that.
func doneWithout() map[string]string {
	return map[string]string{
		"prlimit64": "the Go runtime raises the soft limit of descriptors, which the unit has set already",
		"setrlimit": "the same, on other architectures",
	}
}

// TestSystemCalls watches what a gateway asks of the kernel that answers, relays,
// reloads, is replaced and stops, and holds it against the filter of the unit.
func TestSystemCalls(t *testing.T) {
	binary := sallyport(t)
	strace := need(t, "strace")
	allowed := allowedCalls(t)
	echo := echoServer(t)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "policy.yaml"), []byte(readFile(t, "testdata/policy.yaml")))
	l := prepareLine(t, dir, lineConfig("1s"))
	cmd := l.command(t)
	trace := filepath.Join(dir, "trace")
	cmd.Path = strace
	cmd.Args = []string{strace, "-f", "-qq", "--signal=none", "--daemonize", "-o", trace, binary, "serve", "--config", l.config}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l.began(t, cmd)

	for what, once := range map[string]func() error{
		"UDP": onceUDP(l.dns), "tunnel": onceTunnel(l.proxy, echo), "bulk": func() error { return bulk(l.proxy, echo) },
		"admin": onceGet(t, "http://"+l.admin+"/metrics", "", false), "portal": onceGet(t, "http://"+l.portal+"/proxy.pac", "", false),
		"plain": onceGet(t, "http://"+l.portal+"/", l.proxy, false),
	} {
		if err := once(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	l.kill(t, l.main(), syscall.SIGHUP)
	l.told.await(t, "RELOADING=1")
	l.told.await(t, "READY=1")
	before := l.main()
	l.upgrade(t)
	l.wantEnd(t, before)
	if err := onceTunnel(l.proxy, echo)(); err != nil {
		t.Error(err)
	}
	l.kill(t, l.main(), syscall.SIGTERM)
	l.wantEnd(t, l.main())

	used := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\d+\s+([a-z_0-9]+)\(`).FindAllStringSubmatch(readFile(t, trace), -1) {
		used[m[1]] = true
	}
	for _, must := range []string{"splice", "epoll_pwait", "recvmmsg", "accept4", "clone"} {
		if !used[must] && !used[must+"3"] {
			t.Errorf("it did not use %s: the scenario does too little", must)
		}
	}
	var refused []string
	for name := range used {
		if !allowed[name] && doneWithout()[name] == "" {
			refused = append(refused, name)
		}
	}
	if len(refused) > 0 {
		slices.Sort(refused)
		t.Errorf("the unit's SystemCallFilter= refuses %s", strings.Join(refused, ", "))
	}
	t.Logf("%d different system calls, of %d that the unit allows", len(used), len(allowed))
}

// allowedCalls are the system calls that the unit allows.
func allowedCalls(t *testing.T) map[string]bool {
	t.Helper()
	analyze := need(t, "systemd-analyze")
	allowed := map[string]bool{}
	var apply func(set string, allow bool)
	apply = func(set string, allow bool) {
		if !strings.HasPrefix(set, "@") {
			allowed[set] = allow
			return
		}
		r := run(t, "/", analyze, "syscall-filter", "--no-pager", set)
		if r.code != 0 {
			t.Fatalf("systemd-analyze syscall-filter %s: %s", set, r.stderr)
		}
		for line := range strings.Lines(r.stdout) {
			if name := strings.TrimSpace(line); strings.HasPrefix(line, "    ") && !strings.HasPrefix(name, "#") {
				apply(name, allow)
			}
		}
	}
	apply("@default", true)
	filters := regexp.MustCompile(`(?m)^SystemCallFilter=(~?)(.*)$`).FindAllStringSubmatch(readFile(t, "../deploy/systemd/sallyport.service"), -1)
	if len(filters) < 2 {
		t.Fatalf("filters of the unit: %q", filters)
	}
	for _, f := range filters {
		for set := range strings.FieldsSeq(f[2]) {
			apply(set, f[1] == "")
		}
	}
	for name, ok := range allowed {
		if !ok {
			delete(allowed, name)
		}
	}
	return allowed
}

// bulk sends so much through a tunnel that it is spliced.
func bulk(proxy, echo string) error {
	conn, reader, err := connectVia(proxy, echo)
	if err != nil {
		return err
	}
	defer conn.Close()
	sent := make(chan error, 1)
	block := make([]byte, 8<<20)
	go func() {
		_, err := conn.Write(block)
		sent <- err
	}()
	for left := len(block); left > 0; {
		n, err := reader.Read(make([]byte, min(left, 64<<10)))
		if err != nil {
			return fmt.Errorf("%d bytes before the end: %w", left, err)
		}
		left -= n
	}
	return <-sent
}
