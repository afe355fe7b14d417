package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"path/filepath"
	"testing"
	"time"
)

// certificates are an authority of the test's own and what it signed, as files.
type certificates struct {
	authority string // PEM file to trust
	spki      string // base64 of SHA-256 over the origin's public key, for Chromium
	pool      *x509.CertPool
}

// certify writes origin.crt and origin.key for the given names into dir.
func certify(t *testing.T, dir string, names []string) certificates {
	t.Helper()
	authorityKey := newKey(t)
	authority := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "sallyport end-to-end tests"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	authorityDER := sign(t, authority, authority, authorityKey, authorityKey)

	originKey := newKey(t)
	origin := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: names[0]},
		DNSNames:     names,
		NotBefore:    authority.NotBefore,
		NotAfter:     authority.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	originDER := sign(t, origin, authority, originKey, authorityKey)
	originKeyDER, err := x509.MarshalPKCS8PrivateKey(originKey)
	if err != nil {
		t.Fatal(err)
	}

	c := certificates{authority: filepath.Join(dir, "authority.crt"), pool: x509.NewCertPool()}
	writePEM(t, c.authority, "CERTIFICATE", authorityDER)
	writePEM(t, filepath.Join(dir, "origin.crt"), "CERTIFICATE", originDER)
	writePEM(t, filepath.Join(dir, "origin.key"), "PRIVATE KEY", originKeyDER)

	signed, err := x509.ParseCertificate(authorityDER)
	if err != nil {
		t.Fatal(err)
	}
	c.pool.AddCert(signed)
	public, err := x509.MarshalPKIXPublicKey(&originKey.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(public)
	c.spki = base64.StdEncoding.EncodeToString(sum[:])
	return c
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, leaf, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, leaf, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	writeFile(t, path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
