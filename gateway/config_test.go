package gateway

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// contractSample is every key that a configuration of any version may carry,
// with the values that switch later capabilities off.
const contractSample = `policy: policy.yaml
tenant: default
dns:
  listen: [127.0.0.1:1053]
  upstreams: []
  block: {answer: "null", ttl: 30s}
  clients: [127.0.0.0/8]
  tls:   {listen: [], certificate: "", key: "", client_ca: ""}
  https: {listen: [], certificate: "", key: "", client_ca: "", path: /dns-query}
  quic:  {listen: [], certificate: "", key: "", client_ca: ""}
  cache: {size: 64MiB, serve_stale: 24h}
proxy:
  listen: [127.0.0.1:3128]
  clients: [127.0.0.0/8]
  deny_networks: private
  users: ""
  transparent: {listen: []}
  socks: {listen: []}
  tls: {listen: [], certificate: "", key: ""}
  interception: {ca: "", key: ""}
  timeouts: {dial: 10s, header: 10s, first_byte: 5s, idle: 1h}
admin:  {listen: 127.0.0.1:9180}
portal: {listen: 127.0.0.1:8080}
audit:
  file: ""
log: {level: info, format: console}
`

func TestContractSampleIsTaken(t *testing.T) {
	c, problems := parseConfig("etc/sallyport.yaml", []byte(contractSample))
	if c == nil {
		t.Fatal(problems)
	}
	if len(problems) > 0 {
		t.Error(problems)
	}
	if want := filepath.Join("etc", "policy.yaml"); c.Policy != want {
		t.Errorf("policy is %q, want %q: relative to the configuration", c.Policy, want)
	}
	want := DefaultConfig()
	want.Path, want.Policy = c.Path, c.Policy
	want.DNS.Clients = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	want.Proxy.Clients = want.DNS.Clients
	if !slices.Equal(c.DNS.Clients, want.DNS.Clients) || c.DNS.Answer != want.DNS.Answer || c.DNS.TTL != want.DNS.TTL {
		t.Errorf("dns is %+v, want %+v", c.DNS, want.DNS)
	}
	if c.Admin.Listen != want.Admin.Listen || c.Portal.Listen != want.Portal.Listen || c.Proxy.Idle != want.Proxy.Idle {
		t.Errorf("got %+v, want %+v", c, want)
	}
}

func TestEverySetting(t *testing.T) {
	c, problems := parseConfig("/etc/sallyport/sallyport.yaml", []byte(`
policy: rules.d
tenant: rockets
dns:
  listen: [":53", "[::1]:5353", "localhost:54"]
  clients: [10.0.0.0/8, 192.0.2.7]
  upstreams: [192.0.2.53, "udp://192.0.2.54:5353", "tcp://[2001:db8::53]"]
  block: {answer: page, ttl: 1m}
  cache: {size: 0}
  timeouts: {upstream: 1s, query: 3s}
  limits: {queries: 10, tcp_connections: 20}
proxy:
  listen: 127.0.0.1:0
  clients: []
  deny_networks: [192.0.2.0/24]
  users: users.htpasswd
  advertise: Proxy.Corp.Example:3128
  drain: 0s
  timeouts: {dial: 1s, header: 2s, first_byte: 3s, idle: 2d}
  limits: {connections: 30, tunnels: 40}
admin: {listen: "", hosts: [Admin.corp.example]}
portal: {listen: "0.0.0.0:80", hosts: [portal.corp.example], addresses: [192.0.2.1, "2001:db8::1"]}
identity: {remember: 15m}
audit: {file: /var/log/decisions.jsonl, allows: sampled}
log: {level: debug, format: json}
reload: {poll: 1m}
upgrade: {ready: 5s}
`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	checks := []struct {
		name string
		ok   bool
	}{
		{"policy", c.Policy == "/etc/sallyport/rules.d" && c.Tenant == "rockets"},
		{"dns.listen", slices.Equal(c.DNS.Listen, []string{":53", "[::1]:5353", "127.0.0.1:54"})},
		{"dns.clients", slices.Equal(c.DNS.Clients, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32")})},
		{"dns.upstreams", len(c.DNS.Upstreams) == 3},
		{"dns.block", c.DNS.Answer == policy.AnswerPage && c.DNS.TTL == time.Minute},
		{"dns.cache", c.DNS.CacheBytes == 0},
		{"dns.timeouts", c.DNS.UpstreamTimeout == time.Second && c.DNS.QueryTimeout == 3*time.Second},
		{"dns.limits", c.DNS.MaxQueries == 10 && c.DNS.MaxConns == 20},
		{"proxy.listen", slices.Equal(c.Proxy.Listen, []string{"127.0.0.1:0"})},
		{"proxy.clients", len(c.Proxy.Clients) == 0},
		{"proxy.deny_networks", !c.Proxy.DenyNone && len(c.Proxy.DenyNetworks) == 1},
		{"proxy.users", c.Proxy.UsersFile == "/etc/sallyport/users.htpasswd"},
		{"proxy.advertise", c.Proxy.Advertise == "proxy.corp.example:3128"},
		{"proxy.drain", c.Proxy.Drain == 0},
		{"proxy.timeouts", c.Proxy.Dial == time.Second && c.Proxy.Header == 2*time.Second && c.Proxy.FirstByte == 3*time.Second && c.Proxy.Idle == 48*time.Hour},
		{"proxy.limits", c.Proxy.MaxConns == 30 && c.Proxy.MaxTunnels == 40},
		{"admin", c.Admin.Listen == "" && slices.Equal(c.Admin.Hosts, []string{"admin.corp.example"})},
		{"portal", c.Portal.Listen == "0.0.0.0:80" && len(c.Portal.Hosts) == 1 && len(c.Portal.Addresses) == 2},
		{"identity", c.Users.Remember == 15*time.Minute},
		{"audit", c.Audit.File == "/var/log/decisions.jsonl" && c.Audit.Allows == "sampled"},
		{"log", c.Log.Level == "debug" && c.Log.Format == "json"},
		{"reload", c.Reload.Poll == time.Minute},
		{"upgrade", c.Upgrade.Ready == 5*time.Second},
	}
	for _, check := range checks {
		if !check.ok {
			t.Errorf("%s was not read: %+v", check.name, c)
		}
	}
}

// TestBadConfigurations has one mistake a case: refused, at its place, with a
// word on what would be right.
func TestBadConfigurations(t *testing.T) {
	for _, test := range []struct{ name, yaml, want string }{
		{"empty", "", `f.yaml:1:1: the file is empty`},
		{"unknown key", "tennant: x", `f.yaml:1:1: unknown key "tennant" in the configuration: did you mean "tenant"?`},
		{"policy's key", "rules: []", `rules belong in the policy file`},
		{"unknown nested key", "dns:\n  lisen: [127.0.0.1:53]", `f.yaml:2:3: unknown key "lisen" in dns: did you mean "listen"?`},
		{"repeated key", "tenant: a\ntenant: b", `f.yaml:2:1: key "tenant" is written twice`},
		{"nothing to listen on", "dns: {listen: []}", `names no address to listen on`},
		{"a name to listen on", "dns: {listen: [foo:53]}", `f.yaml:1:16: "foo" in "foo:53" is not an address of this machine`},
		{"no port", "dns: {listen: [127.0.0.1]}", `address "127.0.0.1" is not host:port`},
		{"port too high", "proxy: {listen: [127.0.0.1:70000]}", `port "70000"`},
		{"name for an address", "proxy: {listen: [gateway.corp:3128]}", `write the address, not a name`},
		{"twice the same address", "dns: {listen: [127.0.0.1:53, 127.0.0.1:53]}", `written twice`},
		{"host bits", "dns: {clients: [10.1.2.3/8]}", `did you mean "10.0.0.0/8"?`},
		{"no network", "dns: {clients: [office]}", `"office" is not a network`},
		{"mapped network", `dns: {clients: ["::ffff:10.0.0.0/104"]}`, `is not a network`},
		{"answer mode", "dns: {block: {answer: nxdomian}}", `did you mean "nxdomain"?`},
		{"ttl", "dns: {block: {ttl: 2d}}", `must be from 0s to 1d`},
		{"cache", "dns: {cache: {size: lots}}", `must be a size`},
		{"deny word", "proxy: {deny_networks: all}", `use private or none`},
		{"deny nothing", "proxy: {deny_networks: []}", `is an empty list`},
		{"advertise", "proxy: {advertise: proxy.corp.example}", `is not host:port`},
		{"advertise port", "proxy: {advertise: 'proxy.corp.example:0'}", `port "0"`},
		{"advertise host", "proxy: {advertise: 'a b:1'}", `neither a name nor an address`},
		{"timeout", "proxy: {timeouts: {dial: fast}}", `must be a length of time`},
		{"limit", "proxy: {limits: {tunnels: 0}}", `must be a number from 1`},
		{"unknown key of a later section", "dns: {tls: {cert: x}}", `unknown key "cert"`},
		{"transparent mode", "proxy: {transparent: {listen: [':1'], mode: bridge}}", `f.yaml:1:45: unknown mode "bridge": use redirect or tproxy`},
		{"transparent on the port of another", "proxy: {listen: [':1'], transparent: {listen: [':1']}}", `proxy.listen and proxy.transparent.listen both want TCP :1`},
		{"peek", "proxy: {timeouts: {peek: 1m}}", `must be from 10ms to 10s`},
		{"socks without a port", "proxy: {socks: {listen: [127.0.0.1]}}", `f.yaml:1:26: address "127.0.0.1" is not host:port`},
		{"socks on the port of another", "proxy: {listen: [':1'], socks: {listen: [':1']}}", `proxy.listen and proxy.socks.listen both want TCP :1`},
		{"proxy in tls without a certificate", "proxy: {tls: {listen: [127.0.0.1:1]}}", `proxy.tls listens without a certificate`},
		{"proxy in tls without a key", "proxy: {tls: {listen: [127.0.0.1:1], certificate: a.crt}}", `proxy.tls has a certificate without its key`},
		{"proxy in tls on the port of DNS", "dns: {tls: {listen: [':1'], certificate: a, key: b}}\nproxy: {tls: {listen: [':1'], certificate: a, key: b}}", `proxy.tls.listen and dns.tls.listen both want TCP :1`},
		{"load balancers", "proxy: {proxy_protocol: [balancer]}", `f.yaml:1:26: "balancer" is not a network`},
		{"authority without key", "proxy: {interception: {ca: ca.crt}}", `f.yaml:1:23: proxy.interception has an authority without its key`},
		{"key without authority", "proxy: {interception: {key: ca.key}}", `f.yaml:1:23: proxy.interception has a key without its authority`},
		{"intercepted clients", "proxy: {interception: {clients: some}}", `use browsers or all`},
		{"admin name", "admin: {hosts: [10.0.0.1]}", `is not a name`},
		{"page address", "portal: {addresses: [0.0.0.0]}", `not an address that a client can reach`},
		{"allows", "audit: {allows: everything}", `use none, sampled or all`},
		{"level", "log: {level: loud}", `use debug, info, warn or error`},
		{"format", "log: {format: xml}", `use console or json`},
		{"poll", "reload: {poll: 1ms}", `must be from 1s`},
		{"upgrade", "upgrade: {ready: 1ms}", `must be from 1s`},
		{"half a file", "dns:\n  listen: [127.0.0.1:53", `f.yaml:`},
		{"empty key", "policy:", `"policy" has no value`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, problems := parseConfig("f.yaml", []byte(test.yaml))
			if !problems.HasErrors() {
				t.Fatal("it was taken")
			}
			text := problems.Err().Error()
			if !strings.Contains(text, test.want) {
				t.Errorf("got  %s\nwant %s", text, test.want)
			}
			for _, p := range problems {
				if p.Line == 0 {
					t.Errorf("no place: %v", p)
				}
			}
		})
	}
}

// TestCheckConfig tells the policy's path although the rest is wrong.
func TestCheckConfig(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sallyport.yaml")
	writeFile(t, path, "policy: rules\nnope: 1\nproxy: {users: none}\n")
	c, problems := CheckConfig(path)
	if c == nil || c.Policy != filepath.Join(dir, "rules") || len(problems) != 2 {
		t.Errorf("got %+v, %v; want the policy, an unknown key, and users that cannot be read", c, problems)
	}
	if c, _ := ReadConfig(path); c != nil {
		t.Error("a configuration with errors was given out")
	}
	if c, problems := CheckConfig(filepath.Join(dir, "none")); c != nil || !problems.HasErrors() {
		t.Errorf("got %+v, %v", c, problems)
	}
}

func TestEveryProblemAtOnce(t *testing.T) {
	_, problems := parseConfig("f.yaml", []byte("dns: {clients: [x], block: {ttl: x}}\nlog: {level: x}\nnope: 1"))
	var lines []int
	for _, p := range problems {
		lines = append(lines, p.Line)
	}
	if !slices.Equal(lines, []int{1, 1, 2, 3}) {
		t.Errorf("want four problems in source order; got %v", problems)
	}
}

func TestMissingConfiguration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sallyport.yaml")
	_, problems := ReadConfig(path)
	if want := path + ": cannot read the configuration: there is no such file"; len(problems) != 1 || problems[0].String() != want {
		t.Errorf("got %v, want %s", problems, want)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if c, problems := ReadConfig(path); c != nil || !strings.Contains(problems.Err().Error(), "not a regular file") {
		t.Errorf("a folder was read: %v", problems)
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(contractSample))
	f.Add([]byte("dns: {listen: ['[::1%eth0]:53'], upstreams: ['udp://[::1]:53']}"))
	f.Add([]byte("proxy: {advertise: '[::ffff:1.2.3.4]:1', deny_networks: [0.0.0.0/0]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, problems := parseConfig("f.yaml", data)
		if c == nil && !problems.HasErrors() {
			t.Fatal("nothing was read, and nothing is wrong")
		}
		if !problems.HasErrors() && (len(c.DNS.Listen) == 0 || len(c.Proxy.Listen) == 0) {
			t.Fatalf("a door without a listener was taken: %+v", c)
		}
	})
}
