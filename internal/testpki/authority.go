package testpki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates. Its methods are safe for concurrent use, and
// fail the test that they are given where something goes wrong.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// New makes an authority of its own root.
func New(t testing.TB, name string) *Authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &Authority{certificate: certificate, key: key}
}

// Sign makes a certificate for 127.0.0.1, of the names and the end that subject
// has (an hour from now where it has none), and returns it and its key as PEM.
func (a *Authority) Sign(t testing.TB, subject x509.Certificate) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	subject.SerialNumber = big.NewInt(time.Now().UnixNano())
	subject.NotBefore = time.Now().Add(-time.Hour)
	if subject.NotAfter.IsZero() {
		subject.NotAfter = time.Now().Add(time.Hour)
	}
	subject.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	subject.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, &subject, a.certificate, &private.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}

// PEM is the authority's own certificate.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

// Pool is the authority as those have it who believe it alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// Client is the certificate of a client.
func (a *Authority) Client(t testing.TB, subject x509.Certificate) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(a.Sign(t, subject))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// Put writes a file as a careful administrator would: whole, then renamed.
func Put(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// ServerFiles writes the certificate of a server, dns.example or 127.0.0.1, and
// its key, and returns their paths.
func (a *Authority) ServerFiles(t testing.TB) (certificate, key string) {
	t.Helper()
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key")
	a.Renew(t, certificate, key, time.Now().Add(time.Hour))
	return certificate, key
}

// Renew replaces a server's certificate and key.
func (a *Authority) Renew(t testing.TB, certificate, key string, notAfter time.Time) {
	t.Helper()
	leaf, private := a.Sign(t, x509.Certificate{Subject: pkix.Name{CommonName: "dns.example"}, NotAfter: notAfter, DNSNames: []string{"dns.example"}})
	Put(t, certificate, leaf)
	Put(t, key, private)
}
