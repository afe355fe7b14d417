//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
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

// Addresses of the road, as testdata/transparent.yaml has them too.
const (
	roadSite   = "93.184.216.10"
	roadSite6  = "2600:77::10"
	roadBanned = "93.184.216.66" // the site again, under an address that the policy refuses
)

// rulesFolder is what administrators load.
const rulesFolder = "../deploy/network/nftables"

// road is three machines in a row: a client that knows of no proxy, the gateway
// that its packets come by, and a site.
type road struct {
	*gateway
	ip, nft                         string
	clientName, gatewayName, server string // network namespaces
	certificates
}

// TestTransparent has real clients, which know of no proxy, redirected by the
// rules in deploy/network/nftables.
func TestTransparent(t *testing.T) {
	binary := sallyport(t)
	needRoot(t)
	r := newRoad(t)

	t.Run("Rules", r.rules)
	t.Run("NoRules", r.noRules)
	t.Run("Redirect", func(t *testing.T) {
		r := r.with(t, binary, "sallyport-redirect.nft", `[":3129"]`, "redirect")
		r.everything(t)
		t.Run("NotRedirected", r.notRedirected)
		t.Run("Reload", r.reload)
		t.Run("Stopped", r.stopped)
	})
	t.Run("TProxy", func(t *testing.T) {
		r.inGateway(t, filepath.Join(absolute(t, rulesFolder), "sallyport-tproxy-routes"), "add")
		r := r.with(t, binary, "sallyport-tproxy.nft", `["127.0.0.1:3129", "[::1]:3129"]`, "tproxy")
		r.everything(t)
		t.Run("Reload", r.reload)
		t.Run("Stopped", r.stopped)
	})
	t.Run("Local", func(t *testing.T) { r.local(t, binary) })
}

// everything is what holds whichever way connections come.
func (r *road) everything(t *testing.T) {
	t.Run("Allowed", r.allowed)
	t.Run("RefusedName", r.refusedName)
	t.Run("RefusedAddress", r.refusedAddress)
	t.Run("LyingName", r.lyingName)
	t.Run("PlainPage", r.plainPage)
	t.Run("KeptConnection", r.keptConnection)
	t.Run("ServerFirst", r.serverFirst)
	t.Run("Many", r.many)
}

// newRoad makes the namespaces and the site, and takes them away when the test
// ends.
func newRoad(t *testing.T) *road {
	t.Helper()
	name := func(machine string) string { return fmt.Sprintf("ns-sp-tr-%s-%d", machine, os.Getpid()) }
	r := &road{ip: need(t, "ip"), nft: need(t, "nft"), clientName: name("client"), gatewayName: name("gateway"), server: name("server")}
	nginx := need(t, "nginx")
	do := func(arguments ...string) {
		t.Helper()
		if got := run(t, t.TempDir(), r.ip, arguments...); got.code != 0 {
			if strings.Contains(got.stderr, "not permitted") && os.Getenv(requireEnv) != "1" {
				t.Skipf("network namespaces cannot be made here: ip %s: %s", strings.Join(arguments, " "), got.stderr)
			}
			t.Fatalf("ip %s: %s", strings.Join(arguments, " "), got.stderr)
		}
	}
	for _, machine := range []string{r.clientName, r.gatewayName, r.server} {
		do("netns", "add", machine)
		t.Cleanup(func() {
			if out, err := exec.Command(r.ip, "netns", "del", machine).CombinedOutput(); err != nil {
				t.Errorf("ip netns del %s: %v\n%s", machine, err, out)
			}
		})
		do("-n", machine, "link", "set", "lo", "up")
	}
	r.wire(do)
	r.inGateway(t, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding")

	r.startSite(t, nginx)
	return r
}

// wire joins the machines, and gives them addresses and routes.
func (r *road) wire(do func(...string)) {
	cable := func(from, device, to, far string) {
		do("-n", from, "link", "add", device, "type", "veth", "peer", "name", far, "netns", to)
		do("-n", from, "link", "set", device, "up")
		do("-n", to, "link", "set", far, "up")
	}
	cable(r.clientName, "eth0", r.gatewayName, "eth1") // the rules call the clients' side eth1
	cable(r.gatewayName, "eth0", r.server, "eth0")
	for _, a := range [][3]string{
		{r.clientName, "10.77.0.2/24", "eth0"}, {r.clientName, "fd77::2/64", "eth0"},
		{r.gatewayName, "10.77.0.1/24", "eth1"}, {r.gatewayName, "fd77::1/64", "eth1"},
		{r.gatewayName, "93.184.216.1/24", "eth0"}, {r.gatewayName, "2600:77::1/64", "eth0"},
		{r.server, roadSite + "/24", "eth0"}, {r.server, roadBanned + "/24", "eth0"}, {r.server, roadSite6 + "/64", "eth0"},
	} {
		arguments := []string{"-n", a[0], "addr", "add", a[1], "dev", a[2]}
		if strings.Contains(a[1], "::") {
			arguments = append(arguments, "nodad")
		}
		do(arguments...)
	}
	do("-n", r.clientName, "route", "add", "default", "via", "10.77.0.1")
	do("-n", r.clientName, "-6", "route", "add", "default", "via", "fd77::1")
	do("-n", r.server, "route", "add", "10.77.0.0/24", "via", "93.184.216.1")
	do("-n", r.server, "-6", "route", "add", "fd77::/64", "via", "2600:77::1")
}

// startSite serves the web and what greets its clients.
func (r *road) startSite(t *testing.T, nginx string) {
	t.Helper()
	dir := t.TempDir()
	r.certificates = certify(t, dir, originNames)
	config := render(t, dir, "transparent-nginx.conf", map[string]any{"Dir": dir})
	site := spawn(t, dir, r.ip, "netns", "exec", r.server, nginx, "-p", dir, "-c", config, "-e", "stderr")
	eventually(t, "nginx serves", func() error {
		if !site.running() {
			t.Fatalf("nginx ended: %s", site.stderr.String())
		}
		conn, err := dialIn(r.server, roadSite+":443")
		if err != nil {
			return err
		}
		return conn.Close()
	})
	for _, port := range []string{"22", "25"} {
		r.greets(t, net.JoinHostPort("", port))
	}
}

// greets has the site serve a protocol in which the server speaks first, and
// then says again what it is told.
func (r *road) greets(t *testing.T, address string) {
	t.Helper()
	var listener net.Listener
	err := inNamespace(r.server, func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.WriteString(conn, greeting)
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
}

const greeting = "220 mail.rockets.example ready\r\n"

// inNamespace does something on a thread that is in a network namespace, and
// ends with it. Sockets that are made there stay there.
func inNamespace(name string, do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good
		done <- func() error {
			space, err := os.Open("/run/netns/" + name)
			if err != nil {
				return err
			}
			defer space.Close()
			if err := unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter the namespace %s: %w", name, err)
			}
			return do()
		}()
	}()
	return <-done
}

// dialIn connects from inside a namespace.
func dialIn(name, address string) (conn *net.TCPConn, err error) {
	to, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, err
	}
	err = inNamespace(name, func() (err error) {
		conn, err = net.DialTCP("tcp", nil, to)
		return err
	})
	return conn, err
}

// with loads rules on the gateway and starts it, until the test ends.
func (r *road) with(t *testing.T, binary, rules, listen, mode string) *road {
	t.Helper()
	with := *r
	with.gateway = r.start(t, t.TempDir(), listen, mode, binary)
	r.inGateway(t, r.nft, "-f", filepath.Join(absolute(t, rulesFolder), rules))
	t.Cleanup(func() { r.flush(t) })
	return &with
}

// start runs the gateway on its machine. command is the binary, with what runs
// it before it.
func (r *road) start(t *testing.T, dir, listen, mode string, command ...string) *gateway {
	t.Helper()
	writeFile(t, filepath.Join(dir, "policy.yaml"), []byte(readFile(t, "testdata/transparent-policy.yaml")))
	config := render(t, dir, "transparent.yaml", map[string]any{"Listen": listen, "Mode": mode})
	arguments := append([]string{"netns", "exec", r.gatewayName}, command...)
	g := &gateway{dir: dir, child: spawn(t, dir, r.ip, append(arguments, "serve", "--config", config)...)}
	g.waitReady(t)
	return g
}

// inGateway runs a program on the gateway's machine, which must succeed.
func (r *road) inGateway(t *testing.T, command ...string) string {
	t.Helper()
	got := run(t, t.TempDir(), r.ip, append([]string{"netns", "exec", r.gatewayName}, command...)...)
	if got.code != 0 {
		t.Fatalf("%s: %s", strings.Join(command, " "), got.stderr)
	}
	return got.stdout
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// curl fetches something from the client's machine, and gives what curl wrote.
func (r *road) curl(t *testing.T, arguments ...string) result {
	t.Helper()
	return r.curlIn(t, r.clientName, arguments...)
}

func (r *road) curlIn(t *testing.T, machine string, arguments ...string) result {
	t.Helper()
	return run(t, t.TempDir(), r.ip, append([]string{"netns", "exec", machine, need(t, "curl"),
		"--silent", "--show-error", "--max-time", "20", "--cacert", r.authority}, arguments...)...)
}

// at has curl go to an address for a name.
func at(name, address string) []string {
	if strings.Contains(address, ":") {
		address = "[" + address + "]"
	}
	return []string{"--resolve", name + ":80:" + address, "--resolve", name + ":443:" + address}
}

// rules are good for every nft, and can be loaded again.
func (r *road) rules(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(rulesFolder, "*.nft"))
	if err != nil || len(files) < 3 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		text := readFile(t, file)
		if strings.Contains(text, "define gateway = sallyport\n") {
			text = changed(t, text, "define gateway = sallyport\n", "define gateway = 64999\n") // a user of every machine
		}
		// The lines that are left to choose must be good too.
		chosen := text
		for _, option := range []string{"udp dport", "tcp dport", "oifname", "iifname", "meta l4proto", "chain dns", "\ttype nat hook", "}"} {
			chosen = strings.ReplaceAll(chosen, "\t# "+option, "\t"+option)
		}
		if chosen == text {
			t.Errorf("%s leaves nothing to choose", file)
		}
		for _, text := range []string{text, chosen} {
			copied := filepath.Join(t.TempDir(), filepath.Base(file))
			writeFile(t, copied, []byte(text))
			r.inGateway(t, r.nft, "-f", copied)
			r.inGateway(t, r.nft, "-f", copied)
			r.flush(t)
		}
	}
}

// noRules shows that clients reach everything by themselves: what is refused
// afterwards is refused by the gateway.
func (r *road) noRules(t *testing.T) {
	for _, c := range []struct{ name, address, from string }{
		{"www.rockets.example", roadSite, "10.77.0.2"}, {"zoom.us", roadSite, "10.77.0.2"}, {"zoom.us", roadSite6, "fd77::2"}, {"www.rockets.example", roadBanned, "10.77.0.2"},
	} {
		got := r.curl(t, append(at(c.name, c.address), "https://"+c.name+"/")...)
		if want := "host=" + c.name + "\nfrom=" + c.from + "\n"; got.stdout != want {
			t.Errorf("%s at %s: %q, %s", c.name, c.address, got.stdout, got.stderr)
		}
	}
}

func (r *road) allowed(t *testing.T) {
	for _, c := range []struct{ scheme, address, from string }{
		{"https", roadSite, "93.184.216.1"}, {"https", roadSite6, "2600:77::1"}, {"http", roadSite, "93.184.216.1"}, {"http", roadSite6, "2600:77::1"},
	} {
		got := r.curl(t, append(at("www.rockets.example", c.address), c.scheme+"://www.rockets.example/")...)
		if want := "host=www.rockets.example\nfrom=" + c.from + "\n"; got.stdout != want {
			t.Errorf("%s at %s: %q, %s", c.scheme, c.address, got.stdout, got.stderr)
		}
	}
	e := r.logged(t, "the client's own address", func(e entry) bool { return e.Client == "fd77::2" && e.Transport == "transparent" })
	if e.Host != "www.rockets.example" || e.Action != "allow" {
		t.Errorf("%+v", e)
	}
}

func (r *road) refusedName(t *testing.T) {
	for _, address := range []string{roadSite, roadSite6} {
		got := r.curl(t, append(at("zoom.us", address), "https://zoom.us/")...)
		if got.code != 35 || !strings.Contains(got.stderr, "access denied") {
			t.Errorf("%s: exit status %d, %q", address, got.code, got.stderr)
		}
	}
	r.logged(t, "the refusal", func(e entry) bool {
		return e.Host == "zoom.us" && e.Rule == "zoom-memo" && e.Transport == "transparent"
	})
}

func (r *road) refusedAddress(t *testing.T) {
	got := r.curl(t, "--insecure", "https://"+roadBanned+"/") // without a server name
	if got.code != 35 {
		t.Errorf("TLS: exit status %d, %q, %s", got.code, got.stdout, got.stderr)
	}
	conn, err := dialIn(r.clientName, roadBanned+":25")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if said, err := io.ReadAll(conn); len(said) > 0 || err != nil {
		t.Errorf("SMTP: %q, %v", said, err)
	}
	r.logged(t, "the refusal", func(e entry) bool { return e.Host == roadBanned && e.Rule == "no-annex" })
}

// lyingName names what is allowed, and goes to what is not.
func (r *road) lyingName(t *testing.T) {
	for scheme, code := range map[string]int{"https": 35, "http": 22} {
		got := r.curl(t, append(at("www.rockets.example", roadBanned), "--fail", scheme+"://www.rockets.example/")...)
		if got.code != code || got.stdout != "" {
			t.Errorf("%s: exit status %d, %q, %s", scheme, got.code, got.stdout, got.stderr)
		}
	}
	// A name that leads nowhere is no reason to refuse an address that is not.
	got := r.curl(t, append(at("alias.rockets.example", roadSite), "https://alias.rockets.example/")...)
	if !strings.HasPrefix(got.stdout, "host=alias.rockets.example\n") {
		t.Errorf("%q, %s", got.stdout, got.stderr)
	}
	r.logged(t, "the address in its place", func(e entry) bool { return e.Host == roadSite && e.Action == "allow" })
}

func (r *road) plainPage(t *testing.T) {
	got := r.curl(t, append(at("zoom.us", roadSite), "--write-out", "%{http_code}", "http://zoom.us/meeting")...)
	if !strings.HasSuffix(got.stdout, "403") || !strings.Contains(got.stdout, "Privacy and security concerns") {
		t.Errorf("%q, %s", got.stdout, got.stderr)
	}
}

// keptConnection asks for another host on a connection that is open already.
func (r *road) keptConnection(t *testing.T) {
	ask := []string{"--output", "/dev/null", "--write-out", "%{http_code} %{num_connects} ", "http://www.rockets.example/"}
	arguments := append(at("www.rockets.example", roadSite), ask...)
	arguments = append(append(arguments, "--next", "--header", "Host: zoom.us"), ask...)
	arguments = append(append(arguments, "--next"), ask...)
	if got := r.curl(t, arguments...); got.stdout != "200 1 403 0 200 0 " {
		t.Errorf("status and new connections: %q, %s", got.stdout, got.stderr)
	}
}

// serverFirst measures what waiting for the client costs a protocol in which it
// waits for the server.
func (r *road) serverFirst(t *testing.T) {
	for _, address := range []string{roadSite + ":22", net.JoinHostPort(roadSite6, "25")} {
		conn, err := dialIn(r.clientName, address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		began := time.Now()
		_ = conn.SetDeadline(began.Add(patience))
		said := make([]byte, len(greeting))
		if _, err := io.ReadFull(conn, said); err != nil || string(said) != greeting {
			t.Fatalf("%s: %q, %v", address, said, err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("%s: the greeting took %v", address, took)
		}
		if _, err := conn.Write([]byte("EHLO\r\n")); err != nil {
			t.Fatal(err)
		}
		_ = conn.CloseWrite()
		if rest, err := io.ReadAll(conn); string(rest) != "EHLO\r\n" || err != nil {
			t.Errorf("%s: %q, %v", address, rest, err)
		}
	}
}

// many connect at once.
func (r *road) many(t *testing.T) {
	const clients = 50
	before := r.answered200(t)
	arguments := append(at("www.rockets.example", roadSite), "--parallel", "--parallel-immediate", "--parallel-max", strconv.Itoa(clients), "--http1.1")
	for i := range clients {
		arguments = append(arguments, "https://www.rockets.example/"+strconv.Itoa(i))
	}
	got := r.curl(t, arguments...)
	if n := strings.Count(got.stdout, "host=www.rockets.example\n"); n != clients || got.code != 0 {
		t.Errorf("%d answers, exit status %d, %s", n, got.code, got.stderr)
	}
	if n := r.answered200(t) - before; n < clients/2 { // curl may use some again
		t.Errorf("%d connections", n)
	}
}

func (r *road) answered200(t *testing.T) int {
	t.Helper()
	text := r.inGateway(t, need(t, "curl"), "--silent", "http://"+r.admin+"/metrics")
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, `sallyport_proxy_requests_total{code="200",method="transparent"} `); ok {
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return 0
}

// notRedirected connects to the door itself.
func (r *road) notRedirected(t *testing.T) {
	if _, err := dialIn(r.clientName, "10.77.0.1:3129"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v", err)
	}
}

// reload ends what a new policy forbids, and nothing else.
func (r *road) reload(t *testing.T) {
	open := func(address string) *net.TCPConn {
		conn, err := dialIn(r.clientName, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(conn, make([]byte, len(greeting))); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	ended, kept := open(roadSite+":22"), open(net.JoinHostPort(roadSite6, "22"))
	r.rewrite(t, changed(t, readFile(t, "testdata/transparent-policy.yaml"), roadBanned+"/32", roadBanned+"/32, "+roadSite+"/32"))
	if rest, err := io.ReadAll(ended); len(rest) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%q, %v", rest, err)
	}
	if _, err := kept.Write([]byte("NOOP\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(kept, make([]byte, len("NOOP\r\n"))); err != nil {
		t.Errorf("the other connection: %v", err)
	}
	r.logged(t, "the end", func(e entry) bool { return e.ClosedBy == "policy" && e.Host == roadSite })
}

// stopped shows that nothing goes past a gateway that is not there.
func (r *road) stopped(t *testing.T) {
	r.stop(t)
	for _, address := range []string{roadSite, roadSite6} {
		got := r.curl(t, append(at("www.rockets.example", address), "https://www.rockets.example/")...)
		if got.code != 7 || got.stdout != "" { // could not connect
			t.Errorf("%s: exit status %d, %q, %s", address, got.code, got.stdout, got.stderr)
		}
	}
}

// local redirects what the gateway's own machine asks for.
func (r *road) local(t *testing.T, binary string) {
	const user = 64999
	dir := t.TempDir()
	program := filepath.Join(dir, "sallyport") // where another user finds it
	data, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(program, data, 0o755), os.Chown(dir, user, user), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	rules := filepath.Join(t.TempDir(), "local.nft")
	writeFile(t, rules, []byte(changed(t, readFile(t, rulesFolder+"/sallyport-local.nft"), "define gateway = sallyport\n", fmt.Sprintf("define gateway = %d\n", user))))
	home := filepath.Join(dir, "home")
	if err := errors.Join(os.Mkdir(home, 0o755), os.Chown(home, user, user)); err != nil {
		t.Fatal(err)
	}
	with := *r
	with.gateway = r.start(t, home, `["127.0.0.1:3129", "[::1]:3129"]`, "redirect",
		"sh", "-c", fmt.Sprintf("chown %d . ./*; exec setpriv --reuid %d --regid %d --clear-groups %s \"$@\"", user, user, user, program), "sh")
	r.inGateway(t, r.nft, "-f", rules)
	t.Cleanup(func() { r.flush(t) })
	for _, address := range []string{roadSite, roadSite6} {
		if got := with.curlIn(t, r.gatewayName, append(at("www.rockets.example", address), "https://www.rockets.example/")...); !strings.HasPrefix(got.stdout, "host=www.rockets.example\n") {
			t.Errorf("%s: %q, %s", address, got.stdout, got.stderr)
		}
		if got := with.curlIn(t, r.gatewayName, append(at("zoom.us", address), "https://zoom.us/")...); got.code != 35 || !strings.Contains(got.stderr, "access denied") {
			t.Errorf("%s: exit status %d, %q", address, got.code, got.stderr)
		}
	}
	with.logged(t, "the machine's own request", func(e entry) bool { return e.Rule == "zoom-memo" && e.Client == "2600:77::1" })

	// Rules that do not leave the gateway alone: its connections come back.
	writeFile(t, rules, []byte(changed(t, readFile(t, rules), fmt.Sprintf("define gateway = %d\n", user), fmt.Sprintf("define gateway = %d\n", user+1))))
	r.inGateway(t, r.nft, "-f", rules)
	before := len(with.decisions(t))
	if got := with.curlIn(t, r.gatewayName, append(at("www.rockets.example", roadSite), "https://www.rockets.example/")...); got.code == 0 {
		t.Errorf("%q", got.stdout)
	}
	eventually(t, "the log tells of it", func() error {
		if !strings.Contains(with.stderr.String(), "of the gateway's own was redirected to it") {
			return errors.New("it does not")
		}
		return nil
	})
	if n := len(with.decisions(t)) - before; n > 4 { // one connection, and its end
		t.Errorf("%d entries: the connection went round", n)
	}
}

// flush takes the rules away, when the test's own context has ended.
func (r *road) flush(t *testing.T) {
	if out, err := exec.Command(r.ip, "netns", "exec", r.gatewayName, r.nft, "flush", "ruleset").CombinedOutput(); err != nil {
		t.Errorf("flush the rules: %v\n%s", err, out)
	}
}
