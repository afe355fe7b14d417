package ingress

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
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// authority signs certificates of tests.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, name string) *authority {
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
	return &authority{certificate: certificate, key: key}
}

// sign makes a certificate for 127.0.0.1 and returns it and its key as PEM.
func (a *authority) sign(t testing.TB, subject x509.Certificate) (certificate, key []byte) {
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

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// client is the certificate of a client.
func (a *authority) client(t testing.TB, subject x509.Certificate) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(a.sign(t, subject))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// put writes a file as a careful administrator would: whole, then renamed.
func put(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// serverFiles writes a server's certificate and key.
func (a *authority) serverFiles(t testing.TB) CertificateFiles {
	t.Helper()
	dir := t.TempDir()
	files := CertificateFiles{Certificate: filepath.Join(dir, "dns.pem"), Key: filepath.Join(dir, "dns.key")}
	a.renew(t, files, time.Now().Add(time.Hour))
	return files
}

// renew replaces a server's certificate and key.
func (a *authority) renew(t testing.TB, files CertificateFiles, notAfter time.Time) {
	t.Helper()
	certificate, key := a.sign(t, x509.Certificate{Subject: pkix.Name{CommonName: "dns.example"}, NotAfter: notAfter, DNSNames: []string{"dns.example"}})
	put(t, files.Certificate, certificate)
	put(t, files.Key, key)
}

func loadCertificates(t testing.TB, files CertificateFiles) *Certificates {
	t.Helper()
	c, err := LoadCertificates(files, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCertificatesRefused(t *testing.T) {
	a := newAuthority(t, "root")
	other := a.serverFiles(t)
	tests := []struct {
		name  string
		spoil func(t *testing.T, files *CertificateFiles)
		want  string
	}{
		{"no file", func(t *testing.T, f *CertificateFiles) { f.Certificate += ".missing" }, "no such file"},
		{"no certificate named", func(t *testing.T, f *CertificateFiles) { f.Certificate = "" }, "no such file"},
		{"another key", func(t *testing.T, f *CertificateFiles) { f.Key = other.Key }, "does not match"},
		{"no PEM", func(t *testing.T, f *CertificateFiles) { put(t, f.Certificate, []byte("none")) }, "failed to find any PEM"},
		{"a folder", func(t *testing.T, f *CertificateFiles) { f.Certificate = filepath.Dir(f.Key) }, "not a regular file"},
		{"too large", func(t *testing.T, f *CertificateFiles) { put(t, f.Certificate, make([]byte, maxCertificateFile+1)) }, "larger than"},
		{"no authority", func(t *testing.T, f *CertificateFiles) { f.ClientCA = f.Key }, "no certificate in it"},
		{"key that all can read", func(t *testing.T, f *CertificateFiles) {
			if runtime.GOOS == "windows" {
				t.Skip("no such bits")
			}
			if err := os.Chmod(f.Key, 0o644); err != nil {
				t.Fatal(err)
			}
		}, "run chmod 600"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			files := a.serverFiles(t)
			test.spoil(t, &files)
			_, err := LoadCertificates(files, zap.NewNop())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestCertificatesReload(t *testing.T) {
	a := newAuthority(t, "root")
	files := a.serverFiles(t)
	core, logs := observer.New(zapcore.InfoLevel)
	c, err := LoadCertificates(files, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	c.every = 0
	first := c.NotAfter()

	c.look(time.Now())
	if !c.NotAfter().Equal(first) || logs.Len() != 0 {
		t.Fatalf("files that have not changed were read: %v", logs.All())
	}

	// Half of a new pair is no pair; it is said once, however often it is seen.
	later := first.Add(time.Hour).Truncate(time.Second)
	certificate, key := a.sign(t, x509.Certificate{NotAfter: later})
	put(t, files.Certificate, certificate)
	for range 3 {
		c.look(time.Now())
	}
	if !c.NotAfter().Equal(first) {
		t.Error("half a pair was taken")
	}
	if n := logs.FilterMessageSnippet("not reloaded").Len(); n != 1 {
		t.Errorf("%d complaints", n)
	}
	if err := c.Reload(); err == nil {
		t.Error("Reload takes half a pair")
	}

	put(t, files.Key, key)
	c.look(time.Now())
	if !c.NotAfter().Equal(later) {
		t.Errorf("expiry %v, want %v", c.NotAfter(), later)
	}
	if n := logs.FilterMessage("certificate reloaded").Len(); n != 1 {
		t.Errorf("%d reloads in the log", n)
	}

	// Looks are rare: another pair is not seen before its time, but by Reload.
	c.every = time.Hour
	a.renew(t, files, first.Add(2*time.Hour))
	c.look(time.Now())
	if !c.NotAfter().Equal(later) {
		t.Error("looked too soon")
	}
	if err := c.Reload(); err != nil {
		t.Fatal(err)
	}
	if c.NotAfter().Equal(later) {
		t.Error("Reload changed nothing")
	}
}

func TestCertificatesExpired(t *testing.T) {
	a := newAuthority(t, "root")
	files := a.serverFiles(t)
	a.renew(t, files, time.Now().Add(-time.Minute))
	core, logs := observer.New(zapcore.WarnLevel)
	if _, err := LoadCertificates(files, zap.New(core)); err != nil {
		t.Fatalf("an expired certificate keeps the door shut: %v", err)
	}
	if logs.FilterMessageSnippet("expired").Len() != 1 {
		t.Error("nobody was warned")
	}
}
