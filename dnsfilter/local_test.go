package dnsfilter

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/policy"
)

func TestPrivateUpstreams(t *testing.T) {
	for server, want := range map[string]bool{
		"10.0.0.53": true, "udp://192.168.1.1:53": true, "tcp://[fd00::53]:53": true, "127.0.0.1:5300": true, "fe80::1": true,
		"tls://10.1.2.3#dns.corp.example": true, "https://10.0.0.1/dns-query": true,
		"192.0.2.1": false, "tls://dns.example": false, "https://192.0.2.1/dns-query": false, "": false,
	} {
		if isPrivate(server) != want {
			t.Errorf("%q: %v, want %v", server, !want, want)
		}
	}
}

func TestPorts(t *testing.T) {
	got := ports([]string{"127.0.0.1:853", "[::1]:853", "192.0.2.1:8853", "127.0.0.1:0", "nonsense"})
	if !slices.Equal(got, []uint16{853, 8853}) {
		t.Errorf("%v", got)
	}
}

// Local names are judged as any other: a record that leads into a ban is
// refused, whoever wrote it.
func TestLocalRecords(t *testing.T) {
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, []byte("10.0.0.9 printer.corp.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	up := newZone(t, "outside.example. 60 IN A 192.0.2.9")
	o := openDoor(t, memo(policy.Rule{}), func(c *Config) {
		c.Hosts = []string{hosts}
		c.Records = []string{
			"nas.corp.example. 300 IN A 10.0.0.5",
			"vanity.corp.example. 300 IN CNAME us04web.zoom.us.",
			"alias.corp.example. 300 IN CNAME outside.example.",
		}
	}, up)
	for name, want := range map[string]string{
		"nas.corp.example": "10.0.0.5", "printer.corp.example": "10.0.0.9", "vanity.corp.example": "0.0.0.0", "alias.corp.example": "192.0.2.9",
	} {
		reply := o.ask(query(name, dns.TypeA))
		if len(reply.Answer) == 0 {
			t.Errorf("%s: %v", name, reply)
			continue
		}
		if a, ok := reply.Answer[len(reply.Answer)-1].(*dns.A); !ok || a.A.String() != want {
			t.Errorf("%s: %v, want %s", name, reply.Answer, want)
		}
	}

	if err := os.WriteFile(hosts, []byte("10.0.0.10 printer.corp.example # moved\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.reloadHosts()
	if reply := o.ask(query("printer.corp.example", dns.TypeA)); reply.Answer[0].(*dns.A).A.String() != "10.0.0.10" {
		t.Errorf("after the file has changed: %v", reply.Answer)
	}
}

// Nothing under resolver.arpa ever leaves the house (RFC 9462 §6.5).
func TestResolverArpaIsOurs(t *testing.T) {
	up := newZone(t)
	o := openDoor(t, deciderFunc(allowAll), func(c *Config) {
		c.DesignatedName = "dns.corp.example"
		c.TLS.Listen = nil
		c.HTTPS.Listen = nil
	}, up)
	reply := o.ask(query("_dns.resolver.arpa", dns.TypeSVCB))
	if reply.Rcode != dns.RcodeSuccess || len(reply.Answer) != 0 || len(reply.Ns) != 1 {
		t.Errorf("without encrypted listeners: %v", reply)
	}
	if n := up.udp.Load(); n != 0 {
		t.Errorf("%d queries went upstream", n)
	}
}
