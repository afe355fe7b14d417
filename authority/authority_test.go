package authority

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/elazarl/goproxy"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// foreignTemplate is an authority's certificate as other tools make it.
func foreignTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          big.NewInt(7),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(365 * 24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

// issue signs template for key; parent and signer are its own where it signs
// itself.
func issue(t testing.TB, template, parent *x509.Certificate, key, signer crypto.Signer) Pair {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return Pair{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
	}
}

// foreign is an authority of another tool.
func foreign(t testing.TB, key crypto.Signer, edit func(*x509.Certificate)) Pair {
	t.Helper()
	template := foreignTemplate("other tools")
	edit(template)
	return issue(t, template, template, key, key)
}

func TestLoadRefuses(t *testing.T) {
	good := mustCreate(t, options("zoom.us"))
	p256 := ecKey(t, elliptic.P256())
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		pair  Pair
		spoil func(t *testing.T, f *Files)
		want  string
	}{
		{"no certificate", good, func(t *testing.T, f *Files) { f.Certificate += ".missing" }, "no such file"},
		{"no key", good, func(t *testing.T, f *Files) { f.Key += ".missing" }, "no such file"},
		{"a folder", good, func(t *testing.T, f *Files) { f.Certificate = filepath.Dir(f.Key) }, "not a regular file"},
		{"too large", good, func(t *testing.T, f *Files) { put(t, f.Certificate, make([]byte, maxFile+1), 0o644) }, "larger than"},
		{"no PEM", good, func(t *testing.T, f *Files) { put(t, f.Certificate, []byte("none"), 0o644) }, "failed to find any PEM"},
		{"another key", good, func(t *testing.T, f *Files) { put(t, f.Key, mustCreate(t, options()).Key, 0o600) }, "does not match"},
		{"key that all can read", good, func(t *testing.T, f *Files) {
			if runtime.GOOS == "windows" {
				t.Skip("no such bits")
			}
			put(t, f.Key, good.Key, 0o640)
		}, "mode 0640 lets others than its owner at it: run chmod 600"},
		{"a server's", foreign(t, p256, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature }), nil, "not an authority's"},
		{"no signing", foreign(t, p256, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }), nil, "may not sign certificates"},
		{"for clients only", foreign(t, p256, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), nil, "may not sign for servers"},
		{"unknown and critical", foreign(t, p256, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, Critical: true, Value: []byte{5, 0}}}
		}), nil, "critical extension 1.3.6.1.4.1.99999.1"},
		{"small RSA", foreign(t, rsaKey, func(*x509.Certificate) {}), nil, "1024 bits: RSA needs 2048"},
		{"odd curve", foreign(t, ecKey(t, elliptic.P521()), func(*x509.Certificate) {}), nil, "on the curve P-521"},
		{"Ed25519", foreign(t, edKey, func(*x509.Certificate) {}), nil, "not known to browsers"},
		{"a whole bundle", Pair{Certificate: bytes.Repeat(good.Certificate, maxChain+1), Key: good.Key}, nil, "more than 8 certificates"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := filesOf(t, test.pair)
			if test.spoil != nil {
				test.spoil(t, &f)
			}
			_, err := Load(f, Dependencies{})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

// TestPublishedAuthority refuses the one whose key comes with a library.
func TestPublishedAuthority(t *testing.T) {
	der := goproxy.GoproxyCa.Certificate[0]
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(c.RawSubjectPublicKeyInfo); hex.EncodeToString(sum[:]) != publishedKey {
		t.Errorf("the library has another key now: %x", sum)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(goproxy.GoproxyCa.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	f := filesOf(t, Pair{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
	})
	if _, err := Load(f, Dependencies{}); err == nil || !strings.Contains(err.Error(), "everybody has its private key") {
		t.Errorf("error %v", err)
	}
}

// TestAuthorityBelowAnother signs under an authority that the organisation has
// already: clients trust its root, and must be sent what is between.
func TestAuthorityBelowAnother(t *testing.T) {
	rootKey, key := ecKey(t, elliptic.P384()), ecKey(t, elliptic.P256())
	rootTemplate := foreignTemplate("root")
	rootPair := issue(t, rootTemplate, rootTemplate, rootKey, rootKey)
	root := certificateOf(t, rootPair)
	middle := foreignTemplate("block pages")
	middle.PermittedDNSDomains, middle.PermittedDNSDomainsCritical = []string{"zoom.us"}, true
	pair := issue(t, middle, root, key, rootKey)
	pair.Certificate = append(pair.Certificate, rootPair.Certificate...)

	a, err := Load(filesOf(t, pair), Dependencies{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Leaf("www.zoom.us")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Certificate) != 2 || !bytes.Equal(c.Certificate[1], a.Certificate().Raw) {
		t.Errorf("clients are sent %d certificates: want the leaf and what is between it and the root", len(c.Certificate))
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root)
	between.AddCert(a.Certificate())
	if _, err := parsed(t, c).Verify(x509.VerifyOptions{DNSName: "www.zoom.us", Roots: roots, Intermediates: between}); err != nil {
		t.Error(err)
	}
	if a.Covers("zoom.com") {
		t.Error("the constraints of the authority between do not count")
	}
}

// TestConstraintsAbove obeys the constraints of an authority further up.
func TestConstraintsAbove(t *testing.T) {
	rootKey, key := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	rootTemplate := foreignTemplate("root")
	rootTemplate.ExcludedDNSDomains, rootTemplate.PermittedDNSDomainsCritical = []string{"bank.example"}, true
	rootPair := issue(t, rootTemplate, rootTemplate, rootKey, rootKey)
	pair := issue(t, foreignTemplate("block pages"), certificateOf(t, rootPair), key, rootKey)
	pair.Certificate = append(pair.Certificate, rootPair.Certificate...)
	a, err := Load(filesOf(t, pair), Dependencies{})
	if err != nil {
		t.Fatal(err)
	}
	if a.Covers("www.bank.example") || !a.Covers("zoom.us") {
		t.Error("the root excludes bank.example, and nothing else")
	}
}

// TestRSA signs with what an organisation may have, and says what it costs.
func TestRSA(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	a, err := Load(filesOf(t, foreign(t, key, func(*x509.Certificate) {})), Dependencies{})
	if err != nil {
		t.Fatal(err)
	}
	if err := verifies(t, a, "zoom.us"); err != nil {
		t.Error(err)
	}
	if text := strings.Join(Warnings(a.Certificate(), time.Now()), "\n"); !strings.Contains(text, "RSA with 2048 bits") || !strings.Contains(text, "no name constraints") {
		t.Errorf("warnings %s", text)
	}
}

func TestReload(t *testing.T) {
	first := mustCreate(t, options("zoom.us"))
	f := filesOf(t, first)
	core, logs := observer.New(zapcore.InfoLevel)
	a, err := Load(f, Dependencies{Log: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	a.every = 0
	before := leafOf(t, a, "zoom.us")
	if logs.Len() != 0 {
		t.Fatalf("logged %v", logs.All())
	}

	// Half of a new pair is no pair; it is said once, however often it is seen.
	second := mustCreate(t, options("zoom.us", "teams.example"))
	put(t, f.Certificate, second.Certificate, 0o644)
	for range 3 {
		if c := leafOf(t, a, "zoom.us"); !c.Equal(before) {
			t.Error("half a pair was taken")
		}
	}
	if n := logs.FilterMessage("authority not reloaded: the old one stays").Len(); n != 1 {
		t.Errorf("%d complaints", n)
	}
	if err := a.Reload(); err == nil {
		t.Error("Reload takes half a pair")
	}

	put(t, f.Key, second.Key, 0o600)
	if !a.Covers("teams.example") {
		t.Error("the new authority was not taken")
	}
	if n := logs.FilterMessage("authority reloaded").Len(); n != 1 {
		t.Errorf("%d reloads in the log", n)
	}
	if c := leafOf(t, a, "zoom.us"); c.CheckSignatureFrom(certificateOf(t, second)) != nil {
		t.Error("a leaf of the old authority is still given")
	}

	// Looks are rare: another pair is not seen before its time, but by Reload.
	a.every = time.Hour
	third := mustCreate(t, options("zoom.us"))
	put(t, f.Certificate, third.Certificate, 0o644)
	put(t, f.Key, third.Key, 0o600)
	if !a.Covers("teams.example") {
		t.Error("looked too soon")
	}
	if err := a.Reload(); err != nil || a.Covers("teams.example") {
		t.Errorf("Reload changed nothing: %v", err)
	}
}

// TestExpiredAuthority does not keep a gateway from starting, and says so.
func TestExpiredAuthority(t *testing.T) {
	for _, test := range []struct {
		name            string
		notBefore, life time.Duration
		covers          bool
		warning         string
	}{
		{"expired", -48 * time.Hour, 24 * time.Hour, false, "has expired on"},
		{"not yet", time.Hour, 24 * time.Hour, false, "is not valid before"},
		{"soon", -time.Hour, expiresSoon, true, "expires on"},
		{"long", -time.Hour, expiresSoon + 48*time.Hour, true, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := options("zoom.us")
			o.NotBefore = time.Now().Add(test.notBefore)
			o.NotAfter = o.NotBefore.Add(test.life)
			core, logs := observer.New(zapcore.WarnLevel)
			a, err := Load(filesOf(t, mustCreate(t, o)), Dependencies{Log: zap.New(core)})
			if err != nil {
				t.Fatal(err)
			}
			if a.Covers("zoom.us") != test.covers {
				t.Errorf("it covers its names: %v", !test.covers)
			}
			if test.warning == "" && logs.Len() > 0 || test.warning != "" && logs.FilterMessageSnippet(test.warning).Len() != 1 {
				t.Errorf("logged %v", logs.All())
			}
		})
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	f := Files{Certificate: filepath.Join(dir, "ca.crt"), Key: filepath.Join(dir, "ca.key")}
	first := mustCreate(t, options("zoom.us"))
	if err := first.Write(f); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{f.Certificate: 0o644, f.Key: 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if runtime.GOOS != "windows" && info.Mode() != want {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
	if _, err := Load(f, Dependencies{}); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v, %v", entries, err)
	}

	second := mustCreate(t, options("zoom.us"))
	other := filepath.Join(dir, "other")
	for _, files := range []Files{f, {Certificate: other, Key: f.Key}, {Certificate: f.Certificate, Key: other}} {
		if err := second.Write(files); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%v: error %v", files, err)
		}
	}
	if err := second.Write(Files{Certificate: other, Key: other}); err == nil || !strings.Contains(err.Error(), "name two files") {
		t.Errorf("both into one file: %v", err)
	}
	if err := second.Write(Files{Certificate: filepath.Join(dir, "none", "ca.crt"), Key: other}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("into a folder that is not there: %v", err)
	}
	if _, err := os.Stat(other); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key without its certificate was left: %v", err)
	}
	if data, err := os.ReadFile(f.Certificate); err != nil || !bytes.Equal(data, first.Certificate) {
		t.Errorf("the first authority was touched: %v", err)
	}
}

func TestReadCertificate(t *testing.T) {
	p := mustCreate(t, options("zoom.us"))
	f := filesOf(t, p)
	want := certificateOf(t, p)
	if c, err := ReadCertificate(f.Certificate); err != nil || !c.Equal(want) {
		t.Error(err)
	}
	put(t, f.Certificate, want.Raw, 0o644)
	if c, err := ReadCertificate(f.Certificate); err != nil || !c.Equal(want) {
		t.Errorf("DER: %v", err)
	}
	if _, err := ReadCertificate(f.Key); err == nil || !strings.Contains(err.Error(), "no certificate in it") {
		t.Errorf("a key: %v", err)
	}
	put(t, f.Certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), 0o644)
	if _, err := ReadCertificate(f.Certificate); err == nil || !strings.Contains(err.Error(), f.Certificate) {
		t.Errorf("broken: %v", err)
	}
}
