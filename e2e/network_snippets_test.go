//go:build linux

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNetworkSnippets has every file of deploy/network read by the program that
// it is for, as an administrator would before using it. Files that other tests run
// for real are read here as well: a test that is skipped for want of a kernel does
// not hide a mistake in one.
func TestNetworkSnippets(t *testing.T) {
	at := func(t *testing.T, name string) string {
		t.Helper()
		path, err := filepath.Abs(filepath.Join(networkFolder, name))
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		file, program string
		arguments     []string // what stands before the file
		spoil         string   // a word of the file without which it is wrong
	}{
		{"haproxy/haproxy.cfg", "haproxy", []string{"-c", "-f"}, "default_backend proxies"},
		{"dnsdist/dnsdist.conf", "dnsdist", []string{"--check-config", "-C"}, "newServer({"},
		{"dhcp/dnsmasq.conf", "dnsmasq", []string{"--test", "-C"}, "dhcp-option=252"},
		{"dhcp/kea-dhcp4.conf", "kea-dhcp4", []string{"-t"}, `"code": 252,`},
		{"dhcp/dhcpd.conf", "dhcpd", []string{"-t", "-q", "-cf"}, "option wpad code 252 = text;"},
		{"dhcp/radvd.conf", "radvd", []string{"-c", "-C"}, "AdvSendAdvert on;"},
		{"dhcp/corp.example.zone", "named-checkzone", []string{"corp.example"}, "IN SOA"},
	} {
		t.Run(c.program, func(t *testing.T) {
			program := need(t, c.program)
			check := func(file string) result {
				return run(t, t.TempDir(), program, append(append([]string{}, c.arguments...), file)...)
			}
			if got := check(at(t, c.file)); got.code != 0 {
				t.Fatalf("exit status %d\n%s%s", got.code, got.stdout, got.stderr)
			}
			// A check that takes everything would be none.
			spoilt := filepath.Join(t.TempDir(), filepath.Base(c.file))
			writeFile(t, spoilt, []byte(changed(t, readFile(t, at(t, c.file)), c.spoil, "no-such-thing ")))
			if got := check(spoilt); got.code == 0 {
				t.Errorf("without %q it is good as well:\n%s%s", c.spoil, got.stdout, got.stderr)
			}
		})
	}
	t.Run("nft", func(t *testing.T) {
		nft := need(t, "nft")
		l := newLab(t, "router")
		files, err := filepath.Glob(at(t, "nftables/*.nft"))
		if err != nil || len(files) < 5 {
			t.Fatalf("%v, %v", files, err)
		}
		for _, file := range files {
			text := strings.Replace(readFile(t, file), "define gateway = sallyport\n", "define gateway = 64999\n", 1) // a user of every machine
			copied := filepath.Join(t.TempDir(), filepath.Base(file))
			writeFile(t, copied, []byte(text))
			l.in(t, "router", nft, "-c", "-f", copied)
		}
	})
	t.Run("keepalived", func(t *testing.T) { keepalivedReads(t) })
}

// keepalivedReads checks the file for both gateways. keepalived 2.2.7 ends itself
// while it checks a script that runs as another user, unless it is at the head of
// its process namespace.
func keepalivedReads(t *testing.T) {
	needRoot(t)
	keepalived := need(t, "keepalived")
	dir := keepalivedFiles(t)
	const check = `set -eu
mount -t tmpfs -o mode=755 tmpfs /etc/keepalived
cp "$1/keepalived.conf" "$1/sallyport-notify" "$1/sallyport" /etc/keepalived/
chmod 644 /etc/keepalived/keepalived.conf
exec unshare --pid --fork "$2" --config-test --config-id "$3"`
	reads := func(id string) result {
		return run(t, t.TempDir(), need(t, "unshare"), "--mount", "sh", "-c", check, "sh", dir, keepalived, id)
	}
	for _, id := range []string{"gateway-a", "gateway-b"} {
		if got := reads(id); got.code != 0 || got.stdout+got.stderr != "" {
			t.Errorf("%s: exit status %d\n%s%s", id, got.code, got.stdout, got.stderr)
		}
	}
	config := filepath.Join(dir, "keepalived.conf")
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(readFile(t, config), "nopreempt\n", "nopreempted\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := reads("gateway-a"); got.code == 0 {
		t.Errorf("a word that it does not know is taken: %s%s", got.stdout, got.stderr)
	}
}

// TestFirefoxPolicies reads the file as Firefox does: one object with policies.
func TestFirefoxPolicies(t *testing.T) {
	var file struct {
		Policies struct {
			DNSOverHTTPS struct{ Enabled, Locked bool }
			Proxy        struct {
				Mode          string
				AutoConfigURL string
				Locked        bool
			}
			Certificates                struct{ ImportEnterpriseRoots bool }
			DisableEncryptedClientHello bool
			Preferences                 map[string]struct {
				Value  bool
				Status string
			}
		} `json:"policies"`
	}
	decoder := json.NewDecoder(strings.NewReader(readFile(t, filepath.Join(clientsFolder, "firefox.json"))))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	p := file.Policies
	if p.DNSOverHTTPS.Enabled || !p.DNSOverHTTPS.Locked {
		t.Error("DNS over HTTPS is not locked off")
	}
	if p.Proxy.Mode != "autoConfig" || p.Proxy.AutoConfigURL != scriptURL || !p.Proxy.Locked {
		t.Errorf("proxy: %+v", p.Proxy)
	}
	if http3 := p.Preferences["network.http.http3.enable"]; http3.Value || http3.Status != "locked" {
		t.Errorf("HTTP/3: %+v", http3)
	}
}
