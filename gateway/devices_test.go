package gateway

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/sallyport/sallyport/identity"
)

const devicesPolicy = `
version: 1
groups:
  rooms: {devices: [Room-1.Corp.Example, "AA:BB:CC:DD:EE:0F"]}
  managed: {devices: [laptop-17.corp.example, room-1.corp.example]}
rules:
  - {name: rooms, who: {groups: [rooms]}, what: {apps: [zoom]}, action: allow}
  - {name: ceo, who: {users: [ceo@corp.example]}, what: {apps: [zoom]}, action: allow}
  - {name: zoom-memo, what: {apps: [zoom]}, action: block, reason: Privacy and security concerns}
  - {name: only-managed, who: {groups: [managed]}, action: allow}
default: block
`

// secureClient asks a gateway's encrypted listeners.
type secureClient struct {
	t      *testing.T
	name   string // of the gateway, in its certificate
	roots  *x509.CertPool
	client []tls.Certificate // what the client shows; empty: nothing
}

func (c *secureClient) config() *tls.Config {
	return &tls.Config{RootCAs: c.roots, ServerName: c.name, Certificates: c.client, MinVersion: tls.VersionTLS12}
}

// overTLS asks for the addresses of a name as RFC 7858 has it.
func (c *secureClient) overTLS(addr, name string) ([]netip.Addr, error) {
	dialer := tls.Dialer{Config: c.config()}
	conn, err := dialer.DialContext(c.t.Context(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	query := packedA(c.t, name)
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	reply := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, reply); err != nil {
		return nil, err
	}
	return addressesIn(reply)
}

// overHTTPS asks as RFC 8484 has it, at a path.
func (c *secureClient) overHTTPS(addr, path, name string) ([]netip.Addr, error) {
	transport := &http.Transport{
		TLSClientConfig: c.config(), ForceAttemptHTTP2: true, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
	}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, "https://"+c.name+path, bytes.NewReader(packedA(c.t, name)))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/dns-message")
	response, err := (&http.Client{Transport: transport, Timeout: patience}).Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(response.Status)
	}
	return addressesIn(reply)
}

func packedA(t *testing.T, name string) []byte {
	t.Helper()
	query := dnsmessage.Message{
		Header:    dnsmessage.Header{RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name + "."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	packed, err := query.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

func addressesIn(reply []byte) ([]netip.Addr, error) {
	var message dnsmessage.Message
	if err := message.Unpack(reply); err != nil {
		return nil, err
	}
	if message.RCode != dnsmessage.RCodeSuccess {
		return nil, errors.New(message.RCode.String())
	}
	var addrs []netip.Addr
	for _, answer := range message.Answers {
		if a, ok := answer.Body.(*dnsmessage.AResource); ok {
			addrs = append(addrs, netip.AddrFrom4(a.A))
		}
	}
	return addrs, nil
}

// deviceFiles are what a gateway and its devices need, in one folder. Every
// certificate has signed itself, and is its own authority.
type deviceFiles struct{ dir string }

func newDeviceFiles(t *testing.T) deviceFiles {
	t.Helper()
	f := deviceFiles{t.TempDir()}
	until := time.Now().Add(24 * time.Hour)
	var authorities []byte
	for _, c := range []struct {
		file  string
		names []string
	}{
		{"dns", []string{"dns.corp.example"}},
		{"room", []string{"ROOM-1.corp.example"}},
		{"laptop", []string{"laptop-17.corp.example"}},
		{"stranger", []string{"laptop-99.corp.example"}},
	} {
		writeCertificate(t, f.path(c.file+".crt"), f.path(c.file+".key"), until, c.names...)
		text, err := os.ReadFile(f.path(c.file + ".crt"))
		if err != nil {
			t.Fatal(err)
		}
		if c.file == "room" || c.file == "laptop" {
			authorities = append(authorities, text...)
		}
	}
	writeFile(t, f.path("clients.crt"), string(authorities))
	writePrivate(t, f.path("device.key"), identity.NewDeviceKey()+"\n")
	return f
}

func (f deviceFiles) path(name string) string { return filepath.Join(f.dir, name) }

// client trusts the gateway and shows a certificate, "" for none.
func (f deviceFiles) client(t *testing.T, show string) *secureClient {
	t.Helper()
	roots, err := readAuthorities(f.path("dns.crt"))
	if err != nil {
		t.Fatal(err)
	}
	c := &secureClient{t: t, name: "dns.corp.example", roots: roots}
	if show != "" {
		pair, err := tls.LoadX509KeyPair(f.path(show+".crt"), f.path(show+".key"))
		if err != nil {
			t.Fatal(err)
		}
		c.client = []tls.Certificate{pair}
	}
	return c
}

func (f deviceFiles) endpoint(clientCA string) EndpointConfig {
	e := EndpointConfig{Listen: []string{"127.0.0.1:0"}, Certificate: f.path("dns.crt"), Key: f.path("dns.key")}
	if clientCA != "" {
		e.ClientCA = f.path(clientCA)
	}
	return e
}

// told is an answer in one word.
func told(addrs []netip.Addr, err error) string {
	switch {
	case err != nil:
		return "error"
	case len(addrs) == 1 && addrs[0] == netip.IPv4Unspecified():
		return "blocked"
	case len(addrs) == 1 && addrs[0] == loopback():
		return "allowed"
	default:
		return fmt.Sprint(addrs)
	}
}

// TestProtectiveDNS is the gateway as Windows' Zero Trust DNS wants one: only
// clients with a certificate of ours are served over TLS and HTTPS, each by the
// policy for its device, and what is not allowed has no address.
func TestProtectiveDNS(t *testing.T) {
	files := newDeviceFiles(t)
	r := start(t, devicesPolicy, func(c *Config, _ *Dependencies) {
		c.DNS.TLS, c.DNS.HTTPS = files.endpoint("clients.crt"), files.endpoint("clients.crt")
	})
	for _, test := range []struct{ show, name, want, rule, device string }{
		{"room", "us04web.zoom.us", "allowed", "rooms", "[room-1.corp.example]"},
		{"room", "www.corp.example", "allowed", "only-managed", "[room-1.corp.example]"},
		{"laptop", "us04web.zoom.us", "blocked", "zoom-memo", "[laptop-17.corp.example]"},
		{"laptop", "www.corp.example", "allowed", "only-managed", "[laptop-17.corp.example]"},
		{"stranger", "www.corp.example", "error", "", ""},
		{"", "www.corp.example", "error", "", ""},
	} {
		client := files.client(t, test.show)
		before := len(r.entries())
		for transport, ask := range map[string]func() ([]netip.Addr, error){
			"tls":   func() ([]netip.Addr, error) { return client.overTLS(r.addr("dns tls"), test.name) },
			"https": func() ([]netip.Addr, error) { return client.overHTTPS(r.addr("dns https"), "/dns-query", test.name) },
		} {
			addrs, err := ask()
			if got := told(addrs, err); got != test.want {
				t.Errorf("%s over %s showing %q: %s (%v), want %s", test.name, transport, test.show, got, err, test.want)
			}
		}
		if test.rule == "" {
			continue
		}
		eventually(t, func() error {
			fresh := r.entries()[before:]
			if len(fresh) < 2 {
				return fmt.Errorf("%d entries, want 2", len(fresh))
			}
			for _, e := range fresh {
				if e["rule"] != test.rule || e["identity"] != "certificate" || fmt.Sprint(e["devices"]) != test.device {
					t.Errorf("%s showing %q: rule %v, identity %v, devices %v; want %s, certificate, %s",
						test.name, test.show, e["rule"], e["identity"], e["devices"], test.rule, test.device)
				}
			}
			return nil
		})
	}
	leaf, err := x509.ParseCertificate(files.client(t, "dns").client[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	const notAfter = "sallyport_dns_certificate_not_after_timestamp_seconds"
	for transport, want := range map[string]float64{"tls": float64(leaf.NotAfter.Unix()), "https": float64(leaf.NotAfter.Unix()), "quic": 0} {
		got, err := strconv.ParseFloat(cmp.Or(r.metric(notAfter+`{transport="`+transport+`"}`), "0"), 64)
		if err != nil || got != want {
			t.Errorf("the certificate of %s expires at %v, %v; want %v", transport, got, err, want)
		}
	}
	// Without a certificate the plain listener still answers, by the policy for
	// clients that nothing is known of.
	if addrs, _, err := queryA(r.addr("dns udp"), "www.corp.example"); told(addrs, err) != "blocked" {
		t.Errorf("in the clear: %v, %v; want blocked", addrs, err)
	}
}

// TestDevicePaths: a path names its device, whatever way it is written, and no
// other; without one the client is its address.
func TestDevicePaths(t *testing.T) {
	files := newDeviceFiles(t)
	keys, err := identity.LoadDeviceKeys(files.path("device.key"))
	if err != nil {
		t.Fatal(err)
	}
	id := func(device string) string {
		id, err := keys.Sign(device)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	r := start(t, devicesPolicy, func(c *Config, _ *Dependencies) {
		c.DNS.HTTPS, c.DNS.DeviceKey = files.endpoint(""), files.path("device.key")
	})
	client := files.client(t, "")
	room := id("room-1.corp.example")
	for _, test := range []struct{ path, want string }{
		{"/dns-query/" + room, "allowed"},
		{"/dns-query/" + strings.ToUpper(room), "allowed"},
		{"/dns-query/" + id("aa-bb-cc-dd-ee-0f"), "allowed"},
		{"/dns-query/" + id("laptop-17.corp.example"), "blocked"},
		{"/dns-query", "blocked"},
		{"/dns-query/" + strings.Replace(room, "room-1", "room-2", 1), "403 Forbidden"},
		{"/dns-query/room-1.corp.example", "403 Forbidden"},
		{"/dns-query/" + room + "/x", "404 Not Found"},
	} {
		addrs, err := client.overHTTPS(r.addr("dns https"), test.path, "us04web.zoom.us")
		got := told(addrs, err)
		if got == "error" {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.path, got, test.want)
		}
	}
}
