//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// fixedConfig is lineConfig on addresses that systemd holds sockets for.
func fixedConfig(dns, proxy, admin, portal string) string {
	config := lineConfig("1s")
	for _, address := range []string{dns, proxy} {
		config = strings.Replace(config, `listen: ["127.0.0.1:0"]`, fmt.Sprintf("listen: [%q]", address), 1)
	}
	config = strings.Replace(config, `admin: {listen: "127.0.0.1:0"}`, fmt.Sprintf("admin: {listen: %q}", admin), 1)
	return strings.Replace(config, `portal: {listen: "127.0.0.1:0"}`, fmt.Sprintf("portal: {listen: %q}", portal), 1)
}

// TestSocketActivation has systemd's own tool hold the sockets and start the
// gateway when the first client comes; then the gateway is replaced.
func TestSocketActivation(t *testing.T) {
	binary := sallyport(t)
	activate := need(t, "systemd-socket-activate")
	echo := echoServer(t)
	dns, proxy, admin, portal := loopback(freePort(t)), loopback(freePort(t)), loopback(freePort(t)), loopback(freePort(t))
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "policy.yaml"), []byte(readFile(t, "testdata/policy.yaml")))
	l := prepareLine(t, dir, fixedConfig(dns, proxy, admin, portal))
	cmd := l.command(t)
	cmd.Path = activate
	cmd.Args = []string{
		activate, "--listen=" + proxy, "--listen=" + admin, "--listen=" + dns, "--listen=" + portal, "--fdname=proxy:admin:dns:portal",
		"--setenv=NOTIFY_SOCKET", binary, "serve", "--config", l.config,
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "systemd-socket-activate listens", func() error {
		if !strings.Contains(l.log(t), "Listening on "+portal) {
			return errors.New(l.log(t))
		}
		return nil
	})
	// The first client has the gateway started.
	if err := onceTunnel(proxy, echo)(); err != nil {
		t.Fatal(err)
	}
	l.began(t, cmd)
	for name, once := range map[string]func() error{
		"UDP": onceUDP(dns), "TCP": onceStream(func() (net.Conn, error) { return net.Dial("tcp", dns) }),
		"admin": onceGet(t, "http://"+admin+"/healthz", "", false), "portal": onceGet(t, "http://"+portal+"/", "", false),
	} {
		if err := once(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	before := l.main()
	l.upgrade(t)
	l.wantEnd(t, before)
	if err := onceTunnel(proxy, echo)(); err != nil {
		t.Error(err)
	}
}

// held are sockets that a parent holds, as systemd does between two runs.
type held struct {
	files []*os.File
	names []string
}

// hold opens a socket and keeps it.
func (h *held) hold(t *testing.T, network, name string) string {
	t.Helper()
	var file *os.File
	var address string
	if network == "tcp" {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		address = listener.Addr().String()
		if file, err = listener.(*net.TCPListener).File(); err != nil {
			t.Fatal(err)
		}
	} else {
		conn, err := net.ListenPacket("udp", name) // which is the address here
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		address = conn.LocalAddr().String()
		if file, err = conn.(*net.UDPConn).File(); err != nil {
			t.Fatal(err)
		}
		name = "datagrams"
	}
	t.Cleanup(func() { file.Close() })
	h.files, h.names = append(h.files, file), append(h.names, name)
	return address
}

// start starts the gateway with the sockets. LISTEN_PID is the number of a
// process that is yet to come: a shell knows it, and becomes the gateway.
func (h *held) start(t *testing.T, l *line) *exec.Cmd {
	t.Helper()
	cmd := l.command(t, "LISTEN_FDS="+strconv.Itoa(len(h.files)), "LISTEN_FDNAMES="+strings.Join(h.names, ":"))
	cmd.Args = append([]string{"/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	cmd.ExtraFiles = h.files
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// TestSocketsOutliveTheGateway has clients come before the gateway is there,
// between two runs of it, and while it is replaced: they wait in the sockets, and
// are served.
func TestSocketsOutliveTheGateway(t *testing.T) {
	sallyport(t)
	echo := echoServer(t)
	h := &held{}
	dns := h.hold(t, "tcp", "dns")
	h.hold(t, "udp", dns)
	proxy, admin := h.hold(t, "tcp", "proxy"), h.hold(t, "tcp", "admin")
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "policy.yaml"), []byte(readFile(t, "testdata/policy.yaml")))
	l := prepareLine(t, dir, fixedConfig(dns, proxy, admin, "127.0.0.1:0"))

	for run := range 3 {
		waiting := make(chan error, 3)
		go func() { waiting <- onceTunnel(proxy, echo)() }()
		go func() { waiting <- onceStream(func() (net.Conn, error) { return net.Dial("tcp", dns) })() }()
		question, err := net.Dial("udp", dns)
		if err != nil {
			t.Fatal(err)
		}
		defer question.Close()
		_ = question.SetDeadline(time.Now().Add(patience))
		go func() {
			_, err := askOn(question, 9, "us04web.zoom.us.", dnsmessage.TypeA)
			waiting <- err
		}()
		time.Sleep(50 * time.Millisecond) // they are to be there first; later would be served as well
		l.began(t, h.start(t, l))
		for range cap(waiting) {
			if err := <-waiting; err != nil {
				t.Errorf("run %d: who came before the gateway got %v", run, err)
			}
		}
		if run == 1 {
			before := l.main()
			l.upgrade(t)
			l.wantEnd(t, before)
		}
		l.kill(t, l.main(), syscall.SIGTERM)
		l.wantEnd(t, l.main())
	}
}

// TestSocketsThatDoNotFit passes sockets that the configuration has no use for,
// or that are no listening sockets: the gateway does not start, and says why.
func TestSocketsThatDoNotFit(t *testing.T) {
	sallyport(t)
	for _, test := range []struct {
		name string
		hold func(t *testing.T, h *held)
		want []string
	}{
		{"address not configured", func(t *testing.T, h *held) { h.hold(t, "tcp", "extra") }, []string{"nothing is configured to listen there", `"extra"`, "socket unit"}},
		{"local socket", func(t *testing.T, h *held) {
			listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			file, err := listener.(*net.UnixListener).File()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { file.Close() })
			h.files, h.names = append(h.files, file), append(h.names, "local")
		}, []string{"not TCP", `"local"`, "ListenStream="}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := &held{}
			test.hold(t, h)
			dir := t.TempDir()
			writeFile(t, filepath.Join(dir, "policy.yaml"), []byte(readFile(t, "testdata/policy.yaml")))
			l := prepareLine(t, dir, lineConfig("1s"))
			cmd := h.start(t, l)
			err := cmd.Wait()
			var status *exec.ExitError
			if !errors.As(err, &status) || status.ExitCode() != 1 {
				t.Errorf("ended with %v, want status 1", err)
			}
			for _, want := range test.want {
				if !strings.Contains(l.log(t), want) {
					t.Errorf("the log does not say %q:\n%s", want, l.log(t))
				}
			}
		})
	}
}

// TestToldSystemd follows what systemd is told in the life of a gateway.
func TestToldSystemd(t *testing.T) {
	l := startLine(t, lineConfig("3s"), "WATCHDOG_USEC=200000")
	l.told.await(t, "WATCHDOG=1")
	l.told.await(t, "WATCHDOG=1")
	l.kill(t, l.main(), syscall.SIGHUP)
	reloading := l.told.await(t, "RELOADING=1")
	if !regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]+$`).MatchString(reloading) {
		t.Errorf("told %q", reloading)
	}
	l.told.await(t, "READY=1")
	before := l.main()
	l.upgrade(t)
	l.wantEnd(t, before)
	l.told.await(t, "WATCHDOG=1") // by the new process: the old one has ended
	l.kill(t, l.main(), syscall.SIGTERM)
	if told := l.told.await(t, "STOPPING=1"); told != "STOPPING=1\nEXTEND_TIMEOUT_USEC=13000000" {
		t.Errorf("told %q", told)
	}
	l.wantEnd(t, l.main())
}

// TestWatchdogBites stops the process, as one stands still that hangs: systemd
// hears nothing of it.
func TestWatchdogBites(t *testing.T) {
	l := startLine(t, lineConfig("1s"), "WATCHDOG_USEC=100000")
	l.told.await(t, "WATCHDOG=1")
	l.kill(t, l.main(), syscall.SIGSTOP)
	time.Sleep(100 * time.Millisecond) // what it had said may be on its way
	l.told.mu.Lock()
	before := len(l.told.messages)
	l.told.mu.Unlock()
	time.Sleep(300 * time.Millisecond)
	l.told.mu.Lock()
	after := len(l.told.messages)
	l.told.mu.Unlock()
	if after != before {
		t.Errorf("%d more messages of a process that stands still", after-before)
	}
	l.kill(t, l.main(), syscall.SIGCONT)
	l.told.await(t, "WATCHDOG=1")
}

// TestUnits has systemd read the units that we ship, and rate how much the
// service could do if it were taken over.
func TestUnits(t *testing.T) {
	binary := sallyport(t)
	analyze := need(t, "systemd-analyze")
	dir := t.TempDir()
	for _, name := range []string{"sallyport.service", "sallyport.socket"} {
		text := readFile(t, filepath.Join("..", "deploy", "systemd", name))
		writeFile(t, filepath.Join(dir, name), []byte(strings.ReplaceAll(text, "/usr/bin/sallyport", binary)))
	}
	service := filepath.Join(dir, "sallyport.service")
	if r := run(t, dir, analyze, "verify", service, filepath.Join(dir, "sallyport.socket")); r.code != 0 || strings.TrimSpace(r.stdout+r.stderr) != "" {
		t.Errorf("systemd-analyze verify: status %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	r := run(t, dir, analyze, "security", "--offline=yes", "--threshold=20", service)
	if r.code != 0 {
		t.Errorf("systemd-analyze security: status %d\n%s%s", r.code, lastLines(r.stdout, 5), r.stderr)
	}
	t.Log(lastLines(r.stdout, 1))
}

// TestSocketUnitFitsItsConfiguration has the gateway read the configuration that
// the socket unit recommends, and compares the addresses.
func TestSocketUnitFitsItsConfiguration(t *testing.T) {
	binary := sallyport(t)
	unit := readFile(t, filepath.Join("..", "deploy", "systemd", "sallyport.socket"))
	var config strings.Builder
	for _, m := range regexp.MustCompile(`(?m)^#   ([a-z]+: +\{listen: .*\})$`).FindAllStringSubmatch(unit, -1) {
		config.WriteString(m[1] + "\n")
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "policy.yaml"), []byte("version: 1\ndefault: allow\nrules: [{name: memo, what: {domains: [zoom.us]}, action: block}]\n"))
	writeFile(t, filepath.Join(dir, "sallyport.yaml"), []byte("policy: policy.yaml\n"+config.String()))
	if r := run(t, dir, binary, "check", "--config", "sallyport.yaml"); r.code != 0 {
		t.Errorf("check: status %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	configured := map[string]bool{}
	for _, m := range regexp.MustCompile(`(dns|[a-z]+): +\{listen: \[?"([^"]+)"`).FindAllStringSubmatch(config.String(), -1) {
		configured["Stream "+strings.TrimPrefix(m[2], ":")] = true
		if m[1] == "dns" {
			configured["Datagram "+strings.TrimPrefix(m[2], ":")] = true
		}
	}
	held := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^Listen(Stream|Datagram)=(.*)$`).FindAllStringSubmatch(unit, -1) {
		held[m[1]+" "+m[2]] = true
	}
	if fmt.Sprint(held) != fmt.Sprint(configured) || len(held) != 5 {
		t.Errorf("the unit holds %v, its configuration names %v", held, configured)
	}
}
