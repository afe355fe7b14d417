package gateway

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// everyDNSSetting has none at its default.
const everyDNSSetting = `
dns:
  listen: [127.0.0.1:53]
  tls: {listen: [":853"], certificate: dns.crt, key: dns.key, client_ca: clients.crt}
  https:
    listen: [":443", "[::1]:8443"]
    certificate: /etc/ssl/dns.crt
    key: /etc/ssl/dns.key
    client_ca: clients.crt
    path: /resolve
    http3: true
    device_key: device.key
  quic: {listen: ":853", certificate: dns.crt, key: dns.key, client_ca: clients.crt}
  designated: {name: DNS.Corp.Example., addresses: [192.0.2.53, "2001:db8::53"]}
  clients: [10.0.0.0/8]
  proxy_protocol: [10.0.0.1]
  client_subnet: [10.0.1.0/24]
  upstreams: [192.0.2.1, "tcp://192.0.2.2:5353", "tls://192.0.2.3#dns.example", tls://dns.example, "https://dns.example/dns-query", "quic://[2001:db8::1]:8853"]
  strategy: parallel
  bootstrap: [192.0.2.9, "tcp://192.0.2.9:53"]
  upstream_ca: upstreams.pem
  trust_ad: [192.0.2.1, 10.0.0.53]
  forward: {Corp.Example: [10.0.0.53, "tls://ns.corp.example"], 10.in-addr.arpa: 10.0.0.53}
  hosts: [/etc/hosts, office.hosts]
  records: ["nas.corp.example. 300 IN A 10.0.0.5", "nas.corp.example. 300 IN AAAA fd00::5"]
  strip_ech: all
  block: {answer: nxdomain, ttl: 1m}
  cache: {size: 1MiB, serve_stale: 0s, min_ttl: 5s, max_ttl: 1h, max_negative_ttl: 1m, prefetch: false}
  cookies: {secret: cookies.key, require: true}
  timeouts: {upstream: 1s, query: 3s}
  limits:
    queries: 1
    tcp_connections: 2
    client_connections: 3
    rate: 4
    burst: 5
    rate_exempt: [192.0.2.0/24]
`

func TestEveryDNSSetting(t *testing.T) {
	c, problems := parseConfig("/etc/sallyport/sallyport.yaml", []byte(everyDNSSetting))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := DNSConfig{
		Listen:    []string{"127.0.0.1:53"},
		TLS:       EndpointConfig{[]string{":853"}, "/etc/sallyport/dns.crt", "/etc/sallyport/dns.key", "/etc/sallyport/clients.crt"},
		HTTPS:     EndpointConfig{[]string{":443", "[::1]:8443"}, "/etc/ssl/dns.crt", "/etc/ssl/dns.key", "/etc/sallyport/clients.crt"},
		HTTPSPath: "/resolve",
		HTTP3:     true,
		DeviceKey: "/etc/sallyport/device.key",
		QUIC:      EndpointConfig{[]string{":853"}, "/etc/sallyport/dns.crt", "/etc/sallyport/dns.key", "/etc/sallyport/clients.crt"},
		Designated: Designated{
			Name: "dns.corp.example", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("2001:db8::53")},
		},
		Clients:    []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		ProxyFrom:  []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")},
		SubnetFrom: []netip.Prefix{netip.MustParsePrefix("10.0.1.0/24")},
		Upstreams:  []string{"192.0.2.1", "tcp://192.0.2.2:5353", "tls://192.0.2.3#dns.example", "tls://dns.example", "https://dns.example/dns-query", "quic://[2001:db8::1]:8853"},
		Strategy:   "parallel",
		Bootstrap:  []string{"192.0.2.9", "tcp://192.0.2.9:53"},
		UpstreamCA: "/etc/sallyport/upstreams.pem",
		TrustAD:    []string{"192.0.2.1", "10.0.0.53"},
		Forward: []ForwardZone{
			{"corp.example", []string{"10.0.0.53", "tls://ns.corp.example"}},
			{"10.in-addr.arpa", []string{"10.0.0.53"}},
		},
		Hosts:    []string{"/etc/hosts", "/etc/sallyport/office.hosts"},
		Records:  []string{"nas.corp.example. 300 IN A 10.0.0.5", "nas.corp.example. 300 IN AAAA fd00::5"},
		StripECH: "all",
		Answer:   policy.AnswerNXDOMAIN, TTL: time.Minute,
		CacheBytes: 1 << 20, MinTTL: 5 * time.Second, MaxTTL: time.Hour, MaxNegativeTTL: time.Minute,
		CookieSecret: "/etc/sallyport/cookies.key", RequireCookies: true,
		UpstreamTimeout: time.Second, QueryTimeout: 3 * time.Second,
		MaxQueries: 1, MaxConns: 2, MaxClientConns: 3, Rate: 4, Burst: 5,
		RateExempt: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
	}
	got, expected, byDefault := reflect.ValueOf(c.DNS), reflect.ValueOf(want), reflect.ValueOf(defaultDNS())
	for i := range got.NumField() {
		name := got.Type().Field(i).Name
		if !reflect.DeepEqual(got.Field(i).Interface(), expected.Field(i).Interface()) {
			t.Errorf("%s is %+v, want %+v", name, got.Field(i), expected.Field(i))
		}
		if reflect.DeepEqual(expected.Field(i).Interface(), byDefault.Field(i).Interface()) {
			t.Errorf("%s has its default here, which proves nothing", name)
		}
	}
}

// What is left out keeps its default, in sections that are there as well.
func TestDNSDefaults(t *testing.T) {
	c, problems := parseConfig("f.yaml", []byte("dns: {https: {path: /x}, cache: {}, limits: {rate: 0}, cookies: {}, designated: {}, quic: {listen: []}, tls: {listen: \"\"}}"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := defaultDNS()
	want.HTTPSPath, want.Rate = "/x", 0
	if !reflect.DeepEqual(c.DNS, want) {
		t.Errorf("got  %+v\nwant %+v", c.DNS, want)
	}
}

// TestBadDNS has one mistake a case: at its place, with a word on what would
// be right.
func TestBadDNS(t *testing.T) {
	for _, test := range []struct{ name, yaml, want string }{
		{"no certificate", "dns:\n  tls:\n    listen: [':853']", `f.yaml:3:5: dns.tls listens without a certificate: name the files`},
		{"no key", "dns:\n  https: {listen: [':443'], certificate: a}", `f.yaml:2:10: dns.https has a certificate without its key`},
		{"key alone", "dns:\n  quic: {key: a}", `f.yaml:2:9: dns.quic has a key without its certificate`},
		{"unknown key", "dns: {tls: {cert: x}}", `f.yaml:1:13: unknown key "cert" in dns.tls`},
		{"a key of another endpoint", "dns: {tls: {http3: true}}", `unknown key "http3" in dns.tls`},
		{"no port", "dns: {tls: {listen: [127.0.0.1], certificate: a, key: b}}", `address "127.0.0.1" is not host:port`},
		{"path without slash", "dns: {https: {path: dns-query}}", `f.yaml:1:21: "dns-query" is not a path`},
		{"path with a template", "dns: {https: {path: '/dns-query{?dns}'}}", `is not a path`},
		{"path that ends in a slash", "dns: {https: {path: /dns-query/}}", `is not a path`},
		{"root path", "dns: {https: {path: /}}", `is not a path`},
		{"path upwards", "dns: {https: {path: /a/../b}}", `is not a path`},
		{"http3", "dns: {https: {http3: yes}}", `"http3" must be true or false`},
		{"http3 without HTTPS", "dns: {https: {http3: true}}", `f.yaml:1:22: dns.https.http3 takes the ports of dns.https.listen, and there are none`},
		{"designated without name", "dns: {designated: {addresses: [192.0.2.1]}}", `addresses without a name`},
		{"designated address", "dns: {designated: {name: 192.0.2.1}}", `is not a name`},
		{"believed network", "dns: {proxy_protocol: [10.0.0.1/8]}", `did you mean "10.0.0.0/8"?`},
		{"subnet network", "dns: {client_subnet: [office]}", `"office" is not a network`},

		{"upstream by name", "dns:\n  upstreams: [192.0.2.1, 'tls://dns.example']", `f.yaml:2:26: upstream "tls://dns.example`},
		{"unknown scheme", "dns: {upstreams: ['sdns://192.0.2.53']}", `unknown scheme "sdns"`},
		{"upstream with a path", "dns: {upstreams: ['udp://192.0.2.53/x']}", `f.yaml:1:19: upstream "udp://192.0.2.53/x"`},
		{"upstream port", "dns: {upstreams: ['192.0.2.53:0']}", `upstream "192.0.2.53:0"`},
		{"upstream certificate name", "dns: {upstreams: ['tls://192.0.2.53#']}", `is no name that a certificate can be for`},
		{"strategy", "dns: {strategy: failsafe}", `unknown strategy "failsafe": use failover, fastest or parallel`},
		{"bootstrap by name", "dns: {bootstrap: [dns.example]}", `f.yaml:1:19: `},
		{"encrypted bootstrap", "dns: {bootstrap: ['tls://192.0.2.1']}", `f.yaml:1:19: bootstrap "tls://192.0.2.1:853": use `},
		{"stranger trusted", "dns:\n  trust_ad: [192.0.2.2]\n  upstreams: [192.0.2.1]", `f.yaml:2:14: trusted upstream "192.0.2.2" is none of the upstreams`},
		{"trusted without upstreams", "dns: {trust_ad: [192.0.2.2]}", `is none of the upstreams`},
		{"forward to nobody", "dns: {forward: {corp.example: []}}", `f.yaml:1:31: zone "corp.example" has no resolver`},
		{"forward to nonsense", "dns: {forward: {corp.example: [10.0.0.53, x y]}}", `f.yaml:1:43: upstream "x y"`},
		{"ourselves", "dns:\n  upstreams: [192.0.2.1, '127.0.0.1:2053']\n  listen: ['127.0.0.1:2053']", `f.yaml:2:26: upstream "udp://127.0.0.1:2053" is this gateway itself, which listens on 127.0.0.1:2053`},
		{"ourselves, on every address", "dns: {listen: [':2053'], upstreams: ['tcp://127.0.0.1:2053']}", `f.yaml:1:38: upstream "tcp://127.0.0.1:2053" is this gateway itself, which listens on [::]:2053`},
		{"ourselves, for a zone", "dns: {listen: ['0.0.0.0:2053'], forward: {corp.example: ['127.0.0.1:2053']}}", `f.yaml:1:58: upstream "udp://127.0.0.1:2053" is this gateway itself`},
		{"ourselves, encrypted", "dns: {tls: {listen: ['[::1]:853'], certificate: a, key: b}, upstreams: ['tls://[::1]']}", `is this gateway itself, which listens on [::1]:853`},
		{"ourselves, by default", "dns: {upstreams: ['127.0.0.1:1053']}", `is this gateway itself, which listens on 127.0.0.1:1053`},
		{"forward everything", "dns: {forward: {.: [10.0.0.53]}}", `f.yaml:1:17: zone "." is every name: write its resolvers in dns.upstreams`},
		{"forward onion", "dns: {forward: {onion: [10.0.0.53]}}", `f.yaml:1:17: forwarded zone "onion" is Tor's and never in the DNS (RFC 7686 §2): it is never forwarded; take the line out`},
		{"forward localhost", "dns: {forward: {dev.localhost: [10.0.0.53]}}", `"dev.localhost" is always the machine that asks`},
		{"forward invalid", "dns: {forward: {Invalid.: [10.0.0.53]}}", `"invalid" never exists`},
		{"forward discovery", "dns: {forward: {_dns.resolver.arpa: [10.0.0.53]}}", `see dns.designated`},
		{"forward an address", "dns: {forward: {10.0.0.1: [10.0.0.53]}}", `"10.0.0.1" is not a zone`},
		{"forward twice", "dns: {forward: {corp.example: [10.0.0.53], CORP.example.: [10.0.0.53]}}", `zone "corp.example" is written twice`},
		{"record", "dns:\n  records:\n    - nas.corp.example. 300 IN A 10.0.0.5\n    - nas.corp.example. 300 IN A 10.0.0.500", `f.yaml:4:7: record "nas.corp.example. 300 IN A 10.0.0.500": `},
		{"records that disagree", "dns:\n  records:\n    - a.example. 300 IN A 10.0.0.5\n    - a.example. 300 IN CNAME b.example.", `record "a.example. 300 IN`},
		{"include", "dns: {records: [$INCLUDE /etc/passwd]}", `f.yaml:1:17: record "$INCLUDE /etc/passwd"`},
		{"strip", "dns: {strip_ech: some}", `use judged, all or never`},
		{"ttls crossed", "dns: {cache: {min_ttl: 2h, max_ttl: 1h}}", `min_ttl 2h0m0s is more than max_ttl 1h0m0s`},
		{"ttl", "dns: {cache: {max_ttl: 2d}}", `must be from 1s to 1d`},
		{"stale", "dns: {cache: {serve_stale: 8d}}", `must be from 0s to 7d`},
		{"rate", "dns: {limits: {rate: fast}}", `must be a number from 0`},
		{"exempt", "dns: {limits: {rate_exempt: [all]}}", `"all" is not a network`},

		{"TCP wanted twice", "dns:\n  tls: {listen: [':853'], certificate: a, key: b}\n  https: {listen: [':853'], certificate: a, key: b}",
			`f.yaml:3:19: dns.tls.listen and dns.https.listen both want TCP :853: give one of them another port`},
		{"the portal's default", "dns: {https: {listen: ['127.0.0.1:8080'], certificate: a, key: b}}", `portal.listen and dns.https.listen both want TCP 127.0.0.1:8080`},
		{"the door's own", "dns: {listen: ['127.0.0.1:853'], quic: {listen: ['127.0.0.1:853'], certificate: a, key: b}}", `both want UDP 127.0.0.1:853`},
		{"HTTP/3 and QUIC", "dns: {https: {listen: [':443'], certificate: a, key: b, http3: true}, quic: {listen: [':443'], certificate: a, key: b}}", `both want UDP :443`},
		{"a default, earlier", "proxy: {listen: ['127.0.0.1:9180']}", `f.yaml:1:17: proxy.listen and admin.listen both want TCP 127.0.0.1:9180`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, problems := parseConfig("f.yaml", []byte(test.yaml))
			if !problems.HasErrors() {
				t.Fatal("it was taken")
			}
			if text := problems.Err().Error(); !strings.Contains(text, test.want) || len(problems) != 1 && !strings.Contains(test.name, "disagree") {
				t.Errorf("got  %s\nwant %s", text, test.want)
			}
		})
	}
}

// What looks alike and is not the same is taken.
func TestListenersThatGoTogether(t *testing.T) {
	for name, yaml := range map[string]string{
		"TLS and QUIC on one port":   "dns: {tls: {listen: [':853'], certificate: a, key: b}, quic: {listen: [':853'], certificate: a, key: b}}",
		"HTTPS and QUIC on one port": "dns: {https: {listen: [':443'], certificate: a, key: b}, quic: {listen: [':443'], certificate: a, key: b}}",
		"any free port for each":     "dns: {listen: ['127.0.0.1:0'], tls: {listen: ['127.0.0.1:0', '127.0.0.1:0'], certificate: a, key: b}}",
		"two listeners that are off": "admin: {listen: ''}\nportal: {listen: ''}",
		"another address, same port": "dns: {https: {listen: ['127.0.0.2:8080'], certificate: a, key: b}}",
	} {
		if _, problems := parseConfig("f.yaml", []byte(yaml)); len(problems) > 0 {
			t.Errorf("%s: %v", name, problems)
		}
	}
}

func TestDNSWarnings(t *testing.T) {
	for _, test := range []struct{ yaml, want string }{
		{"dns:\n  designated: {name: dns.corp.example}", `f.yaml:2:15: warning: dns.designated names "dns.corp.example", and there is no encrypted listener`},
		{"dns: {proxy_protocol: [0.0.0.0/0]}", `f.yaml:1:23: warning: "proxy_protocol" holds 0.0.0.0/0: any client could then say that it is another`},
		{"dns: {client_subnet: ['::/0']}", `"client_subnet" holds ::/0`},
		{"dns: {clients: [10.0.0.0/8, 0.0.0.0/0], listen: ['127.0.0.1:53', ':53']}", `f.yaml:1:16: warning: "clients" holds 0.0.0.0/0, and dns.listen :53 is reached from other machines: that is an open resolver`},
		{"dns: {listen: ['192.0.2.1:53'], clients: ['::/0', 0.0.0.0/0]}", `"clients" holds ::/0, and dns.listen 192.0.2.1:53 is reached`},
		{"dns:\n  timeouts: {query: 1s}", `f.yaml:2:13: warning: dns.timeouts.upstream 1.5s is more than dns.timeouts.query 1s`},
		{"dns: {tls: {certificate: a, key: b}}", `f.yaml:1:12: warning: dns.tls has a certificate, and is off`},
		{"dns: {https: {certificate: a, key: b, listen: ''}}", `dns.https has a certificate, and is off`},
		{"dns: {quic: {certificate: a, key: b, listen: []}}", `dns.quic has a certificate, and is off`},
	} {
		_, problems := parseConfig("f.yaml", []byte(test.yaml))
		if len(problems) != 1 || problems.HasErrors() || !strings.Contains(problems[0].String(), test.want) {
			t.Errorf("got %v, want %s", problems, test.want)
		}
	}
}

// What would be doubtful in another place is taken without a word.
func TestNoDNSWarning(t *testing.T) {
	for name, yaml := range map[string]string{
		"everybody, on this machine": "dns: {clients: [0.0.0.0/0], listen: ['127.0.0.1:53', '[::1]:53']}",
		"everybody, with cookies":    "dns: {clients: [0.0.0.0/0], listen: [':53'], cookies: {require: true}}",
		"half of everybody":          "dns: {clients: [0.0.0.0/1], listen: [':53']}",
		"one try is the whole time":  "dns: {timeouts: {upstream: 2s, query: 2s}}",
		"another port of ours":       "dns: {listen: [':2053'], upstreams: ['127.0.0.1:2054']}",
		"forward a longer name":      "dns: {forward: {myonion: [10.0.0.53], home.arpa: [10.0.0.53]}}",
	} {
		if _, problems := parseConfig("f.yaml", []byte(yaml)); len(problems) > 0 {
			t.Errorf("%s: %v", name, problems)
		}
	}
}
