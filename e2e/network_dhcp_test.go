//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// told is what udhcpc runs with a lease: it writes what the client was told.
const told = `#!/bin/sh
[ "$1" = bound ] || exit 0
echo "dns=$dns domain=$domain router=$router wpad=$wpad"
`

// TestDHCP has a client ask each of the DHCP servers by deploy/network/dhcp: it must
// be told of the gateway alone, and where the proxy's script is.
func TestDHCP(t *testing.T) {
	needRoot(t)
	busybox := need(t, "busybox")
	const want = "dns=10.20.0.10 domain=corp.example router=10.20.0.1 wpad=http://gateway.corp.example/proxy.pac"
	for _, c := range []struct {
		program, file string
		script        string // with the program, the file and a folder
	}{
		{"dnsmasq", "dnsmasq.conf", `exec "$1" --no-daemon --user=root --conf-file="$2" --dhcp-leasefile="$3/leases" --pid-file="$3/pid"`},
		{"dhcpd", "dhcpd.conf", `touch "$3/leases"; exec "$1" -f -q -cf "$2" -lf "$3/leases" -pf "$3/pid" eth0`},
		{"kea-dhcp4", "kea-dhcp4.conf", `mount -t tmpfs tmpfs /var/lib/kea; export KEA_PIDFILE_DIR="$3" KEA_LOCKFILE_DIR="$3"; exec "$1" -c "$2"`},
	} {
		t.Run(c.program, func(t *testing.T) {
			program := need(t, c.program)
			l := newLab(t, "server", "client")
			l.cable(t, "server", "eth0", "client", "eth0")
			l.address(t, "server", "eth0", "10.20.0.9/24", "fd20::9/64")
			dir := openDir(t)
			tells := filepath.Join(dir, "told")
			if err := os.WriteFile(tells, []byte(told), 0o755); err != nil {
				t.Fatal(err)
			}
			server := l.spawn(t, "server", dir, "sh", "-euc", c.script, "sh", program, absolute(t, filepath.Join(networkFolder, "dhcp", c.file)), dir)
			eventually(t, "a lease", func() error {
				if !server.running() {
					t.Fatalf("%s ended:\n%s%s", c.program, server.stdout.String(), server.stderr.String())
				}
				got := l.try(t, "client", busybox, "udhcpc", "-i", "eth0", "-f", "-n", "-q", "-t", "2", "-T", "1", "-O", "wpad", "-s", tells)
				if !strings.Contains(got.stdout, "dns=") {
					return fmt.Errorf("none: %s%s", got.stdout, got.stderr)
				}
				if strings.TrimRight(got.stdout, "\n") != want { // dhcpd.conf ends the address with one on purpose
					t.Fatalf("the client was told %q, want %q", got.stdout, want)
				}
				return nil
			})
		})
	}
}
