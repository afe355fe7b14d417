//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// networkFolder is what administrators copy from.
const networkFolder = "../deploy/network"

// lab is machines of a test's own, each a network namespace, joined by cables.
type lab struct {
	ip   string
	name string // of the lab, in the names of its namespaces
}

// labs counts them, so that no two share a name.
var labs atomic.Int64

// newLab makes machines, and takes them away when the test ends.
func newLab(t *testing.T, machines ...string) *lab {
	t.Helper()
	needRoot(t)
	l := &lab{ip: need(t, "ip"), name: fmt.Sprintf("ns-sp-lab-%d-%d", os.Getpid(), labs.Add(1))}
	for _, machine := range machines {
		name := l.namespace(machine)
		if got := run(t, t.TempDir(), l.ip, "netns", "add", name); got.code != 0 {
			if strings.Contains(got.stderr, "not permitted") && os.Getenv(requireEnv) != "1" {
				t.Skipf("network namespaces cannot be made here: %s", got.stderr)
			}
			t.Fatalf("ip netns add %s: %s", name, got.stderr)
		}
		t.Cleanup(func() {
			if out, err := exec.Command(l.ip, "netns", "del", name).CombinedOutput(); err != nil {
				t.Errorf("ip netns del %s: %v\n%s", name, err, out)
			}
		})
		l.do(t, "-n", name, "link", "set", "lo", "up")
	}
	return l
}

func (l *lab) namespace(machine string) string { return l.name + "-" + machine }

// do runs ip, which must succeed.
func (l *lab) do(t *testing.T, arguments ...string) {
	t.Helper()
	if got := run(t, t.TempDir(), l.ip, arguments...); got.code != 0 {
		t.Fatalf("ip %s: %s", strings.Join(arguments, " "), got.stderr)
	}
}

// cable joins a device of one machine to one of another.
func (l *lab) cable(t *testing.T, from, device, to, far string) {
	t.Helper()
	l.do(t, "-n", l.namespace(from), "link", "add", device, "type", "veth", "peer", "name", far, "netns", l.namespace(to))
	l.do(t, "-n", l.namespace(from), "link", "set", device, "up")
	l.do(t, "-n", l.namespace(to), "link", "set", far, "up")
}

// hub makes a machine a switch: a bridge, joined to eth0 of others.
func (l *lab) hub(t *testing.T, hub string, machines ...string) {
	t.Helper()
	l.do(t, "-n", l.namespace(hub), "link", "add", "br0", "type", "bridge")
	l.do(t, "-n", l.namespace(hub), "link", "set", "br0", "up")
	for _, machine := range machines {
		l.cable(t, machine, "eth0", hub, machine)
		l.do(t, "-n", l.namespace(hub), "link", "set", machine, "master", "br0")
	}
}

// address gives a device addresses, written with their prefix lengths.
func (l *lab) address(t *testing.T, machine, device string, prefixes ...string) {
	t.Helper()
	for _, prefix := range prefixes {
		arguments := []string{"-n", l.namespace(machine), "addr", "add", prefix, "dev", device}
		if strings.Contains(prefix, ":") {
			arguments = append(arguments, "nodad")
		}
		l.do(t, arguments...)
	}
}

// route leads everything that a machine knows no other way for to a router.
func (l *lab) route(t *testing.T, machine string, via ...string) {
	t.Helper()
	for _, router := range via {
		family := "-4"
		if strings.Contains(router, ":") {
			family = "-6"
		}
		l.do(t, "-n", l.namespace(machine), family, "route", "add", "default", "via", router)
	}
}

// forwards makes a machine a router.
func (l *lab) forwards(t *testing.T, machine string) {
	t.Helper()
	l.in(t, machine, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding")
	l.saysNo(t, machine)
}

// saysNo lets a machine send as many ICMP messages as it likes, as
// docs/network.md asks for.
func (l *lab) saysNo(t *testing.T, machine string) {
	t.Helper()
	l.in(t, machine, "sh", "-c", "echo 0 >/proc/sys/net/ipv4/icmp_ratelimit; echo 0 >/proc/sys/net/ipv6/icmp/ratelimit")
}

// in runs a program on a machine, which must succeed.
func (l *lab) in(t *testing.T, machine string, command ...string) string {
	t.Helper()
	got := l.try(t, machine, command...)
	if got.code != 0 {
		t.Fatalf("%s: %s: %s%s", machine, strings.Join(command, " "), got.stdout, got.stderr)
	}
	return got.stdout
}

// try runs a program on a machine.
func (l *lab) try(t *testing.T, machine string, command ...string) result {
	t.Helper()
	return run(t, t.TempDir(), l.ip, slices.Concat([]string{"netns", "exec", l.namespace(machine)}, command)...)
}

// spawn starts a server on a machine.
func (l *lab) spawn(t *testing.T, machine, dir string, command ...string) *child {
	t.Helper()
	return spawn(t, dir, l.ip, slices.Concat([]string{"netns", "exec", l.namespace(machine)}, command)...)
}

// echo says back what comes to some addresses of a machine, over UDP and TCP.
func (l *lab) echo(t *testing.T, machine string, addresses ...string) {
	t.Helper()
	var wait sync.WaitGroup
	t.Cleanup(wait.Wait) // after those below
	for _, address := range addresses {
		var packets net.PacketConn
		var listener net.Listener
		if err := inNamespace(l.namespace(machine), func() (err error) {
			if packets, err = net.ListenPacket("udp", address); err != nil {
				return err
			}
			listener, err = net.Listen("tcp", address)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = packets.Close(); _ = listener.Close() })
		wait.Go(func() {
			buffer := make([]byte, 2048)
			for {
				n, from, err := packets.ReadFrom(buffer)
				if err != nil {
					return
				}
				_, _ = packets.WriteTo(buffer[:n], from)
			}
		})
		wait.Go(func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				_ = conn.SetDeadline(time.Now().Add(patience))
				wait.Go(func() { defer conn.Close(); _, _ = io.Copy(conn, conn) })
			}
		})
	}
}

// What became of a word that was sent.
const (
	answered = "answered"
	refused  = "refused" // at once, by an ICMP message or a reset
)

// says sends a word from a machine, and tells what became of it. from is an
// address of the machine's, or empty.
func (l *lab) says(t *testing.T, machine, network, from, to string) string {
	t.Helper()
	dialer := net.Dialer{Timeout: patience}
	if from != "" {
		switch network {
		case "udp":
			dialer.LocalAddr = &net.UDPAddr{IP: net.ParseIP(from)}
		default:
			dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
		}
	}
	var conn net.Conn
	err := inNamespace(l.namespace(machine), func() (err error) {
		conn, err = dialer.Dial(network, to)
		return err
	})
	if err != nil {
		return fate(err)
	}
	defer conn.Close()
	// Packets may be lost while neighbours look for one another: what is sent
	// over UDP is sent again.
	again := patience
	if network == "udp" {
		again = 200 * time.Millisecond
	}
	word := make([]byte, 5)
	for deadline := time.Now().Add(patience); ; {
		if _, err := conn.Write([]byte("hello")); err != nil {
			return fate(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(again))
		_, err := io.ReadFull(conn, word)
		if err == nil {
			return answered
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().After(deadline) {
			return fate(err)
		}
	}
}

func fate(err error) string {
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EPERM) { // the latter: by the machine's own filter
		return refused
	}
	return err.Error()
}
