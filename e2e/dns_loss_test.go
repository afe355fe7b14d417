package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// leastSucceeded is how many of a hundred queries must succeed: six packets are
// sent for a query before it fails, so that 99 do on average.
const leastSucceeded = 97

// TestPacketLoss puts the gateway and the resolver behind it into two network
// namespaces, and drops packets between them, one in five each way: a third of
// all exchanges fail at the first try. Clients, whose own way is whole, get an
// answer to every query, and nearly always a good one.
func TestPacketLoss(t *testing.T) {
	binary := sallyport(t)
	needRoot(t)
	ip, nft, perf, unbound := need(t, "ip"), need(t, "nft"), need(t, "dnsperf"), need(t, "unbound")
	link := newLink(t, ip)

	// The resolver, on the far side.
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "root.zone"), []byte(readFile(t, "testdata/root.zone")+"*.many.rockets.example. A 127.0.0.1\n"))
	config := render(t, dir, "unbound.conf", map[string]any{"Port": 5300, "Dir": dir})
	edit("unbound.conf", "interface: 127.0.0.1@5300", "interface: "+link.far+"@5300\n    access-control: 0.0.0.0/0 allow\n    do-not-query-localhost: no")(t, dir)
	edit("unbound.conf", "    do-not-query-localhost: yes\n", "")(t, dir)
	spawn(t, dir, ip, "netns", "exec", link.farName, unbound, "-d", "-c", config)

	// The gateway, on the near side.
	home := t.TempDir()
	gatewayConfig := writeDoor(t, home, fmt.Sprintf("upstreams: [\"udp://%s:5300\"]\n", link.far))
	g := &gateway{dir: home, child: spawn(t, home, ip, "netns", "exec", link.nearName, binary, "serve", "--config", gatewayConfig)}
	g.waitReady(t)
	host, port := split(t, g.dns)
	near := func(arguments ...string) result {
		return run(t, t.TempDir(), ip, append([]string{"netns", "exec", link.nearName}, arguments...)...)
	}
	dig := need(t, "dig")
	eventually(t, "the resolver answers through the gateway", func() error {
		r := near(dig, "@"+host, "-p", strconv.Itoa(port), "+short", "+timeout=1", "+tries=1", "www.rockets.example")
		if !strings.Contains(r.stdout, "127.0.0.1") {
			return fmt.Errorf("dig printed %q", r.stdout)
		}
		return nil
	})

	rules := filepath.Join(dir, "loss.nft")
	writeFile(t, rules, []byte(`table inet loss {
  counter lost {}
  chain in { type filter hook input priority 0; numgen random mod 100 < 20 counter name lost drop; }
  chain out { type filter hook output priority 0; numgen random mod 100 < 20 counter name lost drop; }
}
`))
	if r := run(t, dir, ip, "netns", "exec", link.farName, nft, "-f", rules); r.code != 0 {
		t.Skipf("this kernel does not drop by nftables: %s", r.stderr)
	}

	const names = 400
	var questions strings.Builder
	for i := range names {
		fmt.Fprintf(&questions, "n%d.many.rockets.example A\n", i)
	}
	file := filepath.Join(home, "questions")
	writeFile(t, file, []byte(questions.String()))
	r := near(perf, "-s", host, "-p", strconv.Itoa(port), "-d", file, "-n", "1", "-c", "4", "-q", "20", "-t", "5")
	completed, lost := number(t, perfCompleted, r.stdout), number(t, perfLost, r.stdout)
	succeeded := number(t, perfSucceeded, r.stdout)
	dropped := run(t, dir, ip, "netns", "exec", link.farName, nft, "list", "counters").stdout
	if !strings.Contains(dropped, "packets ") || strings.Contains(dropped, "packets 0 ") {
		t.Fatalf("nothing was dropped, so this proves nothing:\n%s", dropped)
	}
	if completed != names || lost != 0 || 100*succeeded < leastSucceeded*names {
		t.Errorf("want an answer to every query, and %d %% of them good:\n%s", leastSucceeded, r.stdout)
	}
	t.Logf("%d answers, %d of them good, %s", completed, succeeded, strings.Join(strings.Fields(dropped), " "))
}

// link is two network namespaces and a cable between them.
type link struct {
	nearName, farName string
	near, far         string // addresses
}

// newLink makes them under names of this process's own, and takes them away
// when the test ends.
func newLink(t *testing.T, ip string) link {
	t.Helper()
	pid := os.Getpid()
	l := link{
		nearName: fmt.Sprintf("sallyport-near-%d", pid), farName: fmt.Sprintf("sallyport-far-%d", pid),
		near: "192.0.2.1", far: "192.0.2.2",
	}
	do := func(arguments ...string) {
		t.Helper()
		if r := run(t, t.TempDir(), ip, arguments...); r.code != 0 {
			if strings.Contains(r.stderr, "not permitted") && os.Getenv(requireEnv) != "1" {
				t.Skipf("network namespaces cannot be made here: ip %s: %s", strings.Join(arguments, " "), r.stderr)
			}
			t.Fatalf("ip %s: %s", strings.Join(arguments, " "), r.stderr)
		}
	}
	for _, name := range []string{l.nearName, l.farName} {
		do("netns", "add", name)
		t.Cleanup(func() { // when the test's own context has ended
			if out, err := exec.Command(ip, "netns", "del", name).CombinedOutput(); err != nil {
				t.Errorf("ip netns del %s: %v\n%s", name, err, out)
			}
		})
		do("-n", name, "link", "set", "lo", "up")
	}
	do("-n", l.nearName, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", l.farName)
	do("-n", l.nearName, "addr", "add", l.near+"/24", "dev", "wire")
	do("-n", l.farName, "addr", "add", l.far+"/24", "dev", "wire")
	do("-n", l.nearName, "link", "set", "wire", "up")
	do("-n", l.farName, "link", "set", "wire", "up")
	return l
}
