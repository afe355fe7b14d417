package check

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// secretsOf are Secrets as docs/kubernetes.md has them made, by name.
func secretsOf(t *testing.T) map[string]map[string]string {
	t.Helper()
	sallyport := needProgram(t)
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	mustRun(t, sallyport, "device", "key", "--out", in("device.key"))
	mustRun(t, sallyport, "ca", "init", "--policy", "../../../configs/policy.yaml", "--permit", "zoom.us", "--certificate", in("ca.crt"), "--key", in("ca.key"))
	certificate, key := certificateFor(t, "gate.corp.example")
	coaching := map[string]string{"key": strings.Repeat("0f", 32) + "\n"}
	cookies := map[string]string{"secret": strings.Repeat("1e", 16) + "\n"}
	return map[string]map[string]string{
		"gate-coaching":      coaching,
		"sallyport-coaching": coaching,
		"gate-pseudonyms":    {"key": strings.Repeat("2d", 32) + "\n"},
		"gate-cookies":       cookies,
		"sallyport-cookies":  cookies,
		// The password is U*U: a test vector of bcrypt's first implementation.
		"gate-users":     {"users.htpasswd": "alice@corp.example:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n"},
		"gate-devices":   {"device.key": string(readFile(t, in("device.key")))},
		"gate-tls":       {"tls.crt": certificate, "tls.key": key},
		"gate-authority": {"tls.crt": string(readFile(t, in("ca.crt"))), "tls.key": string(readFile(t, in("ca.key")))},
	}
}

// certificateFor is a certificate for a name, and its key, in PEM.
func certificateFor(t *testing.T, name string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	from := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, from, from, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}
