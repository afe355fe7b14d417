//go:build linux

package e2e

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// Addresses outside: of a resolver that everybody knows, of Zoom, of Microsoft
// Teams, and of the resolver that the gateway asks.
const (
	outsideDNS    = "8.8.8.8"
	outsideDNS6   = "2001:4860:4860::8888"
	outsideZoom   = "3.7.35.9"
	outsideZoom6  = "2407:30c0::9"
	outsideTeams  = "13.107.64.9"
	outsideTrusty = "203.0.113.53"
)

// TestEgress has a router refuse what would go round the gateway, which runs on
// it, and what the policy refuses by address.
func TestEgress(t *testing.T) {
	binary := sallyport(t)
	nft := need(t, "nft")
	l := newLab(t, "desk", "router", "outside")
	l.cable(t, "desk", "eth0", "router", "eth1")
	l.cable(t, "router", "eth0", "outside", "eth0")
	l.address(t, "desk", "eth0", "10.20.0.50/24", "10.20.0.51/24", "fd20::50/64")
	l.address(t, "router", "eth1", "10.20.0.1/24", "fd20::1/64")
	l.address(t, "router", "eth0", "203.0.113.1/24", "2001:db8:99::1/64")
	l.address(t, "outside", "eth0", outsideTrusty+"/24", "2001:db8:99::53/64")
	l.address(t, "outside", "lo", outsideDNS+"/32", outsideDNS6+"/128", outsideZoom+"/32", outsideZoom6+"/128", outsideTeams+"/32")
	l.route(t, "desk", "10.20.0.1", "fd20::1")
	l.route(t, "router", outsideTrusty, "2001:db8:99::53")
	l.route(t, "outside", "203.0.113.1", "2001:db8:99::1")
	l.forwards(t, "router")
	for _, host := range []string{outsideDNS, outsideDNS6, outsideZoom, outsideZoom6, outsideTeams} {
		l.echo(t, "outside", net.JoinHostPort(host, "53"), net.JoinHostPort(host, "853"), net.JoinHostPort(host, "443"), net.JoinHostPort(host, "8801"))
	}
	answerNames(t, l, "outside", outsideTrusty+":53")

	want := func(t *testing.T, network, from, host, port, want string) {
		t.Helper()
		if got := l.says(t, "desk", network, from, net.JoinHostPort(host, port)); got != want {
			t.Errorf("%s from %q to %s port %s: %s, want %s", network, from, host, port, got, want)
		}
	}
	everywhere := func(t *testing.T, fate string, ports ...string) {
		t.Helper()
		for _, port := range ports {
			network, number, _ := strings.Cut(port, "/")
			for _, host := range []string{outsideDNS, outsideDNS6, outsideZoom, outsideZoom6} {
				want(t, network, "", host, number, fate)
			}
		}
	}

	t.Run("NoRules", func(t *testing.T) {
		everywhere(t, answered, "udp/53", "tcp/53", "udp/853", "tcp/853", "udp/443", "tcp/443", "udp/8801")
	})

	g := startAsUser(t, l, "router", binary)
	l.in(t, "router", nft, "-f", absolute(t, filepath.Join(networkFolder, "nftables", "sallyport-egress.nft")))
	t.Run("Clients", func(t *testing.T) {
		everywhere(t, refused, "udp/53", "tcp/53", "udp/853", "tcp/853", "udp/443")
		everywhere(t, answered, "tcp/443", "udp/8801")
		asksGateway(t, l)
		counted := l.in(t, "router", nft, "list", "counters", "table", "inet", "sallyport_egress")
		if strings.Count(counted, "packets 0 ") != 1 { // media, whose lines are comments
			t.Errorf("not everything is counted:\n%s", counted)
		}
	})
	t.Run("GatewaysElsewhere", func(t *testing.T) {
		l.address(t, "desk", "eth0", "10.20.0.2/24") // one of the addresses in the file
		want(t, "udp", "10.20.0.2", outsideDNS, "53", answered)
		want(t, "tcp", "10.20.0.2", outsideDNS, "853", answered)
	})

	t.Run("OwnPrograms", func(t *testing.T) {
		if got := l.says(t, "router", "tcp", "", outsideDNS+":53"); got != answered {
			t.Fatalf("without the rules: %s", got)
		}
		rules := readFile(t, filepath.Join(networkFolder, "nftables", "sallyport-egress-local.nft"))
		file := filepath.Join(t.TempDir(), "local.nft")
		writeFile(t, file, []byte(changed(t, rules, "define gateway = sallyport\n", "define gateway = "+gatewayUser+"\n")))
		l.in(t, "router", nft, "-f", file)
		for _, network := range []string{"udp", "tcp"} {
			if got := l.says(t, "router", network, "", outsideTrusty+":53"); got != refused {
				t.Errorf("%s: %s", network, got)
			}
		}
		asksGateway(t, l)
	})

	export := func(t *testing.T, arguments ...string) string {
		t.Helper()
		got := run(t, t.TempDir(), binary, append([]string{"export", "nftables", "--config", filepath.Join(g.dir, "sallyport.yaml")}, arguments...)...)
		if got.code != 0 {
			t.Fatal(got.stderr)
		}
		file := filepath.Join(t.TempDir(), "apps.nft")
		writeFile(t, file, []byte(got.stdout))
		return file
	}
	t.Run("Media", func(t *testing.T) {
		l.in(t, "router", nft, "-c", "-f", export(t))
		l.in(t, "router", nft, "-f", export(t))
		want(t, "udp", "10.20.0.50", outsideZoom, "8801", refused)
		want(t, "udp", "fd20::50", outsideZoom6, "8801", refused)
		want(t, "udp", "10.20.0.50", outsideTeams, "8801", answered)
		want(t, "udp", "10.20.0.51", outsideZoom, "8801", answered) // the liaison's desk
		want(t, "tcp", "10.20.0.50", outsideZoom, "443", answered)
		want(t, "udp", "10.20.0.50", outsideDNS, "8801", refused) // bypass-doh, at every port
	})
	t.Run("MediaTCP", func(t *testing.T) {
		l.in(t, "router", nft, "-f", export(t, "--tcp"))
		want(t, "tcp", "10.20.0.50", outsideZoom, "443", refused)
		want(t, "tcp", "10.20.0.50", outsideDNS, "443", refused)
		want(t, "tcp", "10.20.0.50", outsideTeams, "443", answered)
	})
	t.Run("MediaAfterEdit", func(t *testing.T) {
		g.rewrite(t, changed(t, readFile(t, "testdata/egress-policy.yaml"), "action: block # zoom", "action: allow"))
		l.in(t, "router", nft, "-f", export(t))
		want(t, "udp", "10.20.0.50", outsideZoom, "8801", answered)
		want(t, "tcp", "10.20.0.50", outsideZoom, "443", answered)
		want(t, "udp", "10.20.0.50", outsideDNS, "8801", refused)
	})
}

// gatewayUser is nobody else's number.
const gatewayUser = "64998"

// startAsUser runs the gateway with testdata/egress.yaml, and not as root.
func startAsUser(t *testing.T, l *lab, machine, binary string) *gateway {
	t.Helper()
	dir := openDir(t)
	data, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "sallyport")
	if err := os.WriteFile(program, data, 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "policy.yaml"), []byte(readFile(t, "testdata/egress-policy.yaml")))
	config := filepath.Join(dir, "sallyport.yaml")
	writeFile(t, config, []byte(readFile(t, "testdata/egress.yaml")))
	l.in(t, machine, "chown", "-R", gatewayUser+":"+gatewayUser, dir)
	g := &gateway{dir: dir, child: l.spawn(t, machine, dir, need(t, "setpriv"), "--reuid", gatewayUser, "--regid", gatewayUser, "--clear-groups",
		"--inh-caps", "+net_bind_service", "--ambient-caps", "+net_bind_service", program, "serve", "--config", config)}
	g.waitReady(t)
	return g
}

// asksGateway looks up a name at the gateway that only the resolver outside
// knows.
func asksGateway(t *testing.T, l *lab) {
	t.Helper()
	name := strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")) + ".rockets.example"
	for _, server := range []string{"@10.20.0.1", "@fd20::1"} {
		got := l.in(t, "desk", need(t, "dig"), "+short", "+tries=1", "+time=10", server, server[1:2]+name)
		if got != outsideTeams+"\n" {
			t.Errorf("%s: %q", server, got)
		}
	}
	if got := l.in(t, "desk", need(t, "dig"), "+short", "@10.20.0.1", "zoom.us"); got != "0.0.0.0\n" {
		t.Errorf("zoom.us: %q", got)
	}
}

// answerNames runs a resolver that knows one address for every name.
func answerNames(t *testing.T, l *lab, machine, address string) {
	t.Helper()
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, asked *dns.Msg) {
		reply := new(dns.Msg).SetReply(asked)
		if asked.Question[0].Qtype == dns.TypeA {
			reply.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: asked.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.ParseIP(outsideTeams)}}
		}
		_ = w.WriteMsg(reply)
	})
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
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: listener, Handler: handler}} {
		begun, ended := make(chan struct{}), make(chan error, 1)
		server.NotifyStartedFunc = func() { close(begun) }
		go func() { ended <- server.ActivateAndServe() }()
		select {
		case <-begun:
		case err := <-ended:
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := errors.Join(server.Shutdown(), <-ended); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestEgressBridge has a bridge refuse what crosses it, by the same files.
func TestEgressBridge(t *testing.T) {
	binary := sallyport(t)
	nft := need(t, "nft")
	l := newLab(t, "desk", "bridge", "outside")
	l.do(t, "-n", l.namespace("bridge"), "link", "add", "br0", "type", "bridge")
	l.do(t, "-n", l.namespace("bridge"), "link", "set", "br0", "up")
	l.cable(t, "desk", "eth0", "bridge", "eth1")
	l.cable(t, "outside", "eth0", "bridge", "eth0")
	for _, port := range []string{"eth0", "eth1"} {
		l.do(t, "-n", l.namespace("bridge"), "link", "set", port, "master", "br0")
	}
	l.address(t, "desk", "eth0", "10.20.0.50/24", "fd20::50/64")
	l.address(t, "bridge", "br0", "10.20.0.4/24", "fd20::4/64") // from which it answers
	l.address(t, "outside", "eth0", "10.20.0.1/24", "fd20::1/64")
	l.address(t, "outside", "lo", outsideDNS+"/32", outsideDNS6+"/128", outsideZoom+"/32", outsideZoom6+"/128", outsideTeams+"/32")
	for _, machine := range []string{"desk", "bridge"} {
		l.route(t, machine, "10.20.0.1", "fd20::1")
	}
	hosts := []string{outsideDNS, outsideDNS6, outsideZoom, outsideZoom6, outsideTeams}
	for _, host := range hosts {
		l.echo(t, "outside", net.JoinHostPort(host, "53"), net.JoinHostPort(host, "8801"))
	}
	for _, host := range hosts {
		if got := l.says(t, "desk", "udp", "", net.JoinHostPort(host, "53")); got != answered {
			t.Fatalf("without rules: %s: %s", host, got)
		}
	}
	if _, err := os.Stat("/proc/sys/net/bridge"); err != nil {
		t.Skip("this kernel has no br_netfilter")
	}
	l.saysNo(t, "bridge")
	l.in(t, "bridge", "sysctl", "-q", "-w", "net.bridge.bridge-nf-call-iptables=1", "net.bridge.bridge-nf-call-ip6tables=1")
	rules := readFile(t, filepath.Join(networkFolder, "nftables", "sallyport-egress.nft"))
	egress := filepath.Join(t.TempDir(), "egress.nft")
	writeFile(t, egress, []byte(changed(t, rules, `define inside = "eth1"`, `define inside = "br0"`)))
	l.in(t, "bridge", nft, "-f", egress)
	apps := filepath.Join(t.TempDir(), "apps.nft")
	made := run(t, t.TempDir(), binary, "export", "nftables", "--policy", absolute(t, "testdata/egress-policy.yaml"))
	writeFile(t, apps, []byte(made.stdout))
	l.in(t, "bridge", nft, "-f", apps)
	for _, host := range hosts {
		for _, network := range []string{"udp", "tcp"} {
			if got := l.says(t, "desk", network, "", net.JoinHostPort(host, "53")); got != refused {
				t.Errorf("%s to %s: %s", network, host, got)
			}
		}
	}
	for host, want := range map[string]string{outsideZoom: refused, outsideZoom6: refused, outsideTeams: answered} {
		if got := l.says(t, "desk", "udp", "", net.JoinHostPort(host, "8801")); got != want {
			t.Errorf("media of %s: %s, want %s", host, got, want)
		}
	}
}
