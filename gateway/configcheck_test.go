package gateway

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writeCertificate makes a certificate that has signed itself, and its key.
func writeCertificate(t *testing.T, certificate, key string, until time.Time, names ...string) {
	t.Helper()
	writeSigned(t, certificate, key, &x509.Certificate{NotAfter: until}, names...)
}

// writeSigned is writeCertificate for one that says more about itself.
func writeSigned(t *testing.T, certificate, key string, template *x509.Certificate, names ...string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.Subject = big.NewInt(1), pkix.Name{CommonName: "test"}
	template.NotBefore = template.NotAfter.Add(-90 * 24 * time.Hour)
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, certificate, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	writePrivate(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
}

func writePrivate(t *testing.T, path, text string) {
	t.Helper()
	writeFile(t, path, text)
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestCheckFiles has one file wrong at a time: named, at its setting's place.
func TestCheckFiles(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	later := time.Now().Add(60 * 24 * time.Hour)
	writeCertificate(t, in("dns.crt"), in("dns.key"), later, "dns.corp.example", "192.0.2.53")
	writeCertificate(t, in("other.crt"), in("other.key"), later, "other.corp.example")
	writeCertificate(t, in("old.crt"), in("old.key"), time.Now().Add(-time.Hour), "dns.corp.example")
	writeCertificate(t, in("soon.crt"), in("soon.key"), time.Now().Add(time.Hour), "dns.corp.example")
	writeCertificate(t, in("future.crt"), in("future.key"), time.Now().Add(120*24*time.Hour), "dns.corp.example")
	writeCertificate(t, in("open.crt"), in("open.key"), later, "dns.corp.example")
	signer := x509.Certificate{NotAfter: later, BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign}
	writeSigned(t, in("ca.crt"), in("ca.key"), &signer)
	expired, idle := signer, signer
	expired.NotAfter, idle.KeyUsage = time.Now().Add(-time.Hour), x509.KeyUsageDigitalSignature
	writeSigned(t, in("oldca.crt"), in("oldca.key"), &expired)
	writeSigned(t, in("idle.crt"), in("idle.key"), &idle)
	writeSigned(t, in("leaf.crt"), in("leaf.key"), &x509.Certificate{NotAfter: later, BasicConstraintsValid: true})
	joined, err := os.ReadFile(in("leaf.crt"))
	if err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile(in("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, in("both.crt"), string(joined)+string(authority))
	writePrivate(t, in("open.txt"), strings.Repeat("ab", 16)+"\n")
	for _, open := range []string{"open.key", "open.txt"} {
		if err := os.Chmod(in(open), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	writePrivate(t, in("device.key"), strings.Repeat("ab", 32)+"\n")
	writePrivate(t, in("cookies.key"), strings.Repeat("ab", 16)+"\n")
	writeFile(t, in("hosts"), "192.0.2.1 printer.corp.example\n")
	writePrivate(t, in("text"), "hello\n")
	if err := os.Mkdir(in("folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, dns, want string }{
		{"all good", "tls: {listen: [':853'], certificate: dns.crt, key: dns.key, client_ca: ca.crt}\n" +
			"  https: {device_key: device.key}\n  cookies: {secret: cookies.key}\n  upstream_ca: other.crt\n  hosts: [hosts]\n" +
			"  designated: {name: dns.corp.example, addresses: [192.0.2.53]}", ""},
		{"no certificate", "tls: {listen: [':853'], certificate: none, key: dns.key}",
			`:2:40: dns.tls.certificate: there is no file "` + in("none") + `": write the file's path`},
		{"no key", "https: {listen: [':443'], certificate: dns.crt, key: none}", `dns.https.key: there is no file`},
		{"open key", "quic: {listen: [':853'], certificate: open.crt, key: open.key}",
			`:2:56: dns.quic.key: "` + in("open.key") + `" has mode 0640, which lets others than its owner at the key: run chmod 600 ` + in("open.key")},
		{"another's key", "tls: {listen: [':853'], certificate: dns.crt, key: other.key}", `cannot be used together: tls: private key does not match public key`},
		{"no PEM", "tls: {listen: [':853'], certificate: text, key: dns.key}", `cannot be used together: tls: failed to find any PEM data`},
		{"expired", "tls: {listen: [':853'], certificate: old.crt, key: old.key}", `:2:40: warning: certificate "` + in("old.crt") + `" has expired on `},
		{"expires soon", "tls: {listen: [':853'], certificate: soon.crt, key: soon.key}", `warning: certificate "` + in("soon.crt") + `" expires on `},
		{"not yet valid", "tls: {listen: [':853'], certificate: future.crt, key: future.key}", `warning: certificate "` + in("future.crt") + `" is not valid before `},
		{"another name", "tls: {listen: [':853'], certificate: dns.crt, key: dns.key}\n  designated: {name: ns.corp.example}",
			`warning: certificate "` + in("dns.crt") + `" is not for "ns.corp.example", the name in dns.designated`},
		{"another address", "tls: {listen: [':853'], certificate: dns.crt, key: dns.key}\n  designated: {name: dns.corp.example, addresses: [192.0.2.54]}",
			`does not hold the address 192.0.2.54 of dns.designated`},
		{"client authorities", "tls: {client_ca: text}", `:2:20: dns.tls.client_ca: "` + in("text") + `" holds no certificate`},
		{"a leaf for authority", "tls: {client_ca: leaf.crt}", `:2:20: warning: dns.tls.client_ca: "` + in("leaf.crt") + `" holds no certificate authority: no client could be verified by it`},
		{"no word of an authority", "tls: {client_ca: other.crt}", `" holds no certificate authority`},
		{"an authority that may not sign", "quic: {client_ca: idle.crt}", `dns.quic.client_ca: "` + in("idle.crt") + `" holds no certificate authority`},
		{"an authority behind a leaf", "tls: {client_ca: both.crt}", ""},
		{"an expired authority", "https: {client_ca: oldca.crt}", `:2:22: warning: dns.https.client_ca: the authority "CN=test" in "` + in("oldca.crt") + `" has expired on `},
		{"upstream authorities", "upstream_ca: folder", `:2:16: dns.upstream_ca: "` + in("folder") + `" is not a regular file`},
		{"no device key", "https: {device_key: none}", `:2:23: dns.https.device_key: there is no file "` + in("none") + `": make one with sallyport device key --out ` + in("none")},
		{"bad device key", "https: {device_key: text}", `dns.https.device_key: ` + in("text") + `:1: neither hexadecimal nor base64`},
		{"no cookie secret", "cookies: {secret: none}", `make one with openssl rand -hex 16`},
		{"open cookie secret", "cookies: {secret: open.txt}", `run chmod 600 ` + in("open.txt")},
		{"hosts", "hosts: [hosts, none]", `:2:18: dns.hosts: there is no file "` + in("none") + `"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := in("sallyport.yaml")
			writeFile(t, path, "dns:\n  "+test.dns+"\n")
			c, problems := CheckConfig(path)
			if c == nil {
				t.Fatal("nothing was read")
			}
			if test.want == "" {
				if len(problems) > 0 {
					t.Error(problems)
				}
				return
			}
			if len(problems) != 1 || !strings.Contains(problems[0].String(), test.want) {
				t.Errorf("got  %v\nwant %s", problems, test.want)
			}
		})
	}
}
