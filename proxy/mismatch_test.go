package proxy

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"testing"

	"golang.org/x/crypto/cryptobyte"

	"github.com/sallyport/sallyport/policy"
)

// everyMismatch has one thing become of all kinds.
func everyMismatch(action MismatchAction, tlsPorts ...uint16) Mismatch {
	return Mismatch{ServerName: action, Host: action, Address: action, ECH: action, Protocol: action, TLSPorts: append([]uint16{}, tlsPorts...)}
}

// hidingHello is what crypto/tls sends first to a host that it hides behind
// outer.
func hidingHello(t testing.TB, outer, host string) []byte {
	t.Helper()
	return firstFlight(t, &tls.Config{ServerName: host, InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, EncryptedClientHelloConfigList: echConfigs(t, outer)})
}

// echConfigs is an ECHConfigList (RFC 9849 §4) for a key that nobody has.
func echConfigs(t testing.TB, outer string) []byte {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var b cryptobyte.Builder
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint16(0xfe0d) // version
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint8(1)       // config_id
			b.AddUint16(0x0020) // DHKEM(X25519, HKDF-SHA256)
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(key.PublicKey().Bytes()) })
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				b.AddUint16(0x0001) // HKDF-SHA256
				b.AddUint16(0x0001) // AES-128-GCM
			})
			b.AddUint8(32) // maximum_name_length
			b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(outer)) })
			b.AddUint16(0) // no extensions
		})
	})
	return b.BytesOrPanic()
}

func TestMismatchesInTunnels(t *testing.T) {
	hello := func(name string) []byte { return clientHello(t, name) }
	plain := func(host string) []byte { return []byte("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n") }
	for _, test := range []struct {
		name   string
		host   string // of the CONNECT
		first  []byte // that the client sends
		onTLS  bool   // the port is one for TLS
		kind   mismatch
		nobody bool // asked the resolver for the name
	}{
		{"same name", "a.example", hello("a.example"), true, "", false},
		{"same name in capitals, with a dot", "A.Example.", hello("a.EXAMPLE"), true, "", false},
		{"another name", "a.example", hello("b.example"), true, mismatchServerName, false},
		{"name below", "example.com", hello("www.example.com"), true, mismatchServerName, false},
		{"no name", "a.example", hello(""), true, "", false},
		{"no name at an address", "127.0.0.1", hello(""), true, "", false},
		{"name of the address", "127.0.0.1", hello("a.example"), true, "", false},
		{"name of another address", "127.0.0.1", hello("far.example"), true, mismatchAddress, false},
		{"name of none", "127.0.0.1", hello("nowhere.example"), true, mismatchAddress, false},
		{"hides behind a front", "a.example", hidingHello(t, "front.example", "zoom.us"), true, mismatchECH, false},
		{"hides behind a known front", "a.example", hidingHello(t, "cloudflare-ech.com", "zoom.us"), true, mismatchECH, false},
		{"hides behind a known front, and says so", "cloudflare-ech.com", hidingHello(t, "cloudflare-ech.com", "zoom.us"), true, mismatchECH, false},
		{"hides at an address", "127.0.0.1", hidingHello(t, "far.example", "zoom.us"), true, mismatchECH, false},
		{"pretends to hide", "a.example", hidingHello(t, "a.example", "zoom.us"), true, "", false},
		{"pretends to hide, at its address", "127.0.0.1", hidingHello(t, "a.example", "zoom.us"), true, "", false},
		{"known front that hides nothing", "a.example", hello("cloudflare-ech.com"), true, mismatchServerName, false},
		{"plain request", "a.example", plain("a.example:80"), false, "", false},
		{"plain request, another host", "a.example", plain("b.example"), false, mismatchHost, false},
		{"plain request at an address", "127.0.0.1", plain("a.example"), false, "", false},
		{"plain request at another address", "127.0.0.1", plain("far.example"), false, mismatchAddress, false},
		{"plain request for another address", "127.0.0.1", plain("127.0.0.2"), false, mismatchHost, false},
		{"plain request for TLS", "a.example", plain("a.example"), true, mismatchProtocol, false},
		{"SSH", "a.example", []byte("SSH-2.0-client\r\n"), false, "", false},
		{"SSH for TLS", "a.example", []byte("SSH-2.0-client\r\n"), true, mismatchProtocol, false},
		{"bytes for TLS", "a.example", []byte{0, 1, 2, 3}, true, mismatchProtocol, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, action := range []MismatchAction{MismatchReport, MismatchBlock} {
				where := origin(t, echoing)
				d := open(t, func(c *Config, _ *Dependencies) {
					c.Mismatch = everyMismatch(action)
					if test.onTLS {
						c.Mismatch.TLSPorts = []uint16{where.Port()}
					}
				})
				for _, name := range []string{"a.example", "b.example", "example.com", "cloudflare-ech.com"} {
					d.name(name, "192.0.2.1", "127.0.0.1")
				}
				d.name("far.example", "192.0.2.7")
				c := d.tunnel(at(where.Port(), test.host))
				c.send(string(test.first))
				if action == MismatchBlock && test.kind != "" {
					if rest := c.rest(); len(rest) > len(alertAccessDenied) {
						t.Errorf("%d bytes came back", len(rest))
					}
				} else if got := c.read(len(test.first)); got != string(test.first) {
					t.Errorf("%q came back", got)
				}
				_ = c.Close()
				decisions, ends := d.await(1, 1)
				verdict := decisions[0].Verdict
				if refused := test.kind != "" && action == MismatchBlock; verdict.Action.Refuses() != refused ||
					refused && (verdict.RuleName() != policy.RuleMismatch || verdict.Rule.Reason == "" || ends[0].Rule != policy.RuleMismatch || ends[0].BytesUp != 0) {
					t.Errorf("%s: %+v, %+v", action, verdict, ends[0])
				}
				d.counted(t, test.kind, action)
			}
		})
	}
}

// counted looks whether this mismatch was counted once, and no other.
func (d *door) counted(t *testing.T, kind mismatch, action MismatchAction) {
	t.Helper()
	want := 0.0
	if kind != "" {
		want = 1
	}
	if all := d.metric("sallyport_proxy_mismatches_total"); all != want {
		t.Errorf("%s: %v mismatches, want %v", action, all, want)
	}
	if kind != "" && d.metric("sallyport_proxy_mismatches_total", string(kind), string(action)) != 1 {
		t.Errorf("no mismatch of kind %s was counted as %s", kind, action)
	}
}

// What is configured by default lets everything pass that the policy lets pass,
// and 443 is the one port for TLS.
func TestMismatchDefaults(t *testing.T) {
	m, err := Mismatch{}.complete()
	want := everyMismatch(MismatchReport, 443)
	want.ECH = MismatchAllow
	if err != nil || m.ServerName != want.ServerName || m.Host != want.Host || m.Address != want.Address || m.ECH != want.ECH ||
		m.Protocol != want.Protocol || !slices.Equal(m.TLSPorts, want.TLSPorts) {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := (Mismatch{ECH: "deny"}).complete(); err == nil {
		t.Error("no error for an action that there is not")
	}
}

// The policy is asked first: its reason is the better one.
func TestMismatchOfARefusedName(t *testing.T) {
	d := open(t, func(c *Config, _ *Dependencies) { c.Mismatch = everyMismatch(MismatchBlock) })
	d.name("a.example", "127.0.0.1")
	where := origin(t, echoing)
	c := d.tunnel(at(where.Port(), "a.example"))
	c.send(string(clientHello(t, "zoom.us")))
	_ = c.rest()
	if decisions, _ := d.await(1, 1); decisions[0].Verdict.RuleName() != "zoom-memo" {
		t.Errorf("%+v", decisions[0].Verdict)
	}
	d.counted(t, "", MismatchBlock)
}

// A server that speaks first is not waited for, on a port for TLS either, and
// a client that has said nothing has contradicted nothing.
func TestServerFirstIsNoMismatch(t *testing.T) {
	where := origin(t, func(conn *net.TCPConn) { _, _ = conn.Write([]byte("220 mail\r\n")) })
	d := open(t, func(c *Config, _ *Dependencies) { c.Mismatch = everyMismatch(MismatchBlock, where.Port()) })
	d.name("a.example", "127.0.0.1")
	c := d.tunnel(at(where.Port(), "a.example"))
	if got := c.read(10); got != "220 mail\r\n" {
		t.Errorf("read %q", got)
	}
	_ = c.CloseWrite()
	_ = c.rest()
	d.await(1, 1)
	d.counted(t, "", MismatchBlock)
}

func TestMismatchesOfPlainRequests(t *testing.T) {
	for _, test := range []struct {
		name  string
		host  string // of the Host field; the URI's is a.example
		onTLS bool
		kind  mismatch
	}{
		{"same host", "a.example", false, ""},
		{"same host in another form", "A.example.:81", false, ""},
		{"another host", "b.example", false, mismatchHost},
		{"port for TLS", "a.example", true, mismatchProtocol},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, action := range []MismatchAction{MismatchReport, MismatchBlock} {
				where := plainOrigin(t, func(http.ResponseWriter, *http.Request) {})
				d := open(t, func(c *Config, _ *Dependencies) {
					c.Mismatch = everyMismatch(action)
					if test.onTLS {
						c.Mismatch.TLSPorts = []uint16{where.Port()}
					}
				})
				d.name("a.example", "127.0.0.1")
				response, _, _ := d.say("GET http://" + at(where.Port(), "a.example") + "/ HTTP/1.1\r\nHost: " + test.host + "\r\n\r\n")
				want, rule := http.StatusOK, ""
				if test.kind != "" && action == MismatchBlock {
					want, rule = http.StatusForbidden, policy.RuleMismatch
				}
				if response.StatusCode != want || response.Header.Get("X-Sallyport-Rule") != rule {
					t.Errorf("%s: %s, rule %q", action, response.Status, response.Header.Get("X-Sallyport-Rule"))
				}
				d.counted(t, test.kind, action)
			}
		})
	}
}

// A redirected connection is compared with where it was going, before anybody
// is dialled, and once.
func TestMismatchesOfRedirectedConnections(t *testing.T) {
	plain := func(host string) []byte {
		return []byte("GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
	}
	for _, test := range []struct {
		name  string
		first []byte
		onTLS bool
		kind  mismatch
	}{
		{"leads there", clientHello(t, "a.example"), true, ""},
		{"leads elsewhere", clientHello(t, "far.example"), true, mismatchAddress},
		{"hides", hidingHello(t, "far.example", "zoom.us"), true, mismatchECH},
		{"pretends to hide", hidingHello(t, "a.example", "zoom.us"), true, ""},
		{"hides behind a known front", hidingHello(t, "cloudflare-ech.com", "zoom.us"), true, mismatchECH},
		{"plain", plain("a.example"), false, ""},
		{"plain, leads elsewhere", plain("far.example"), false, mismatchAddress},
		{"plain on a port for TLS", plain("a.example"), true, mismatchProtocol},
		{"bytes on a port for TLS", []byte{0, 1, 2, 3}, true, mismatchProtocol},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, action := range []MismatchAction{MismatchReport, MismatchBlock} {
				where := origin(t, func(conn *net.TCPConn) {
					_, _ = conn.Read(make([]byte, 1))
					_, _ = conn.Write([]byte("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"))
				})
				d := redirecting(t, where, func(c *Config, _ *Dependencies) {
					c.Mismatch = everyMismatch(action)
					if test.onTLS {
						c.Mismatch.TLSPorts = []uint16{where.Port()}
					}
				})
				d.name("a.example", "127.0.0.1")
				d.name("cloudflare-ech.com", "127.0.0.1")
				d.name("far.example", "192.0.2.7")
				c := d.client()
				c.send(string(test.first))
				_ = c.rest()
				decisions, _ := d.await(1, -1)
				verdict := decisions[0].Verdict
				if refused := test.kind != "" && action == MismatchBlock; verdict.Action.Refuses() != refused || refused && verdict.RuleName() != policy.RuleMismatch {
					t.Errorf("%s: %+v", action, verdict)
				}
				d.counted(t, test.kind, action)
			}
		})
	}
}
