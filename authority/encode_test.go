package authority

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// templateOf is the leaf that an encoder writes, for x509.CreateCertificate.
func templateOf(host policy.Host, owner []string, serial *big.Int, notBefore, notAfter time.Time) *x509.Certificate {
	template := &x509.Certificate{
		Subject:               pkix.Name{Organization: owner},
		SerialNumber:          serial,
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if name := host.String(); len(name) <= maxCommonName {
		template.Subject.CommonName = name
	}
	if host.IsAddr() {
		template.IPAddresses = []net.IP{host.Addr().AsSlice()}
	} else {
		template.DNSNames = []string{host.Name()}
	}
	return template
}

// issuers are of every kind that is taken.
func issuers(t testing.TB) []*issuer {
	t.Helper()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pairs := []Pair{mustCreate(t, options("zoom.us"))}
	for _, key := range []crypto.Signer{ecKey(t, elliptic.P384()), rsaKey} {
		pairs = append(pairs, foreign(t, key, func(c *x509.Certificate) { c.Subject.Organization = []string{"Ünion", "Example & Co"} }))
	}
	leafKey := ecKey(t, elliptic.P256())
	var all []*issuer
	for _, p := range pairs {
		i, err := parseIssuer(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := i.prepare(leafKey); err != nil {
			t.Fatal(err)
		}
		all = append(all, i)
	}
	noKeyID := *all[0]
	bare := *noKeyID.certificate
	bare.SubjectKeyId = nil
	noKeyID.certificate = &bare
	if err := noKeyID.prepare(leafKey); err != nil {
		t.Fatal(err)
	}
	return append(all, &noKeyID)
}

// compare holds a leaf against the standard library's: the same bytes, and a
// signature that it takes.
func compare(t *testing.T, i *issuer, host policy.Host, serial *big.Int, notBefore, notAfter time.Time) {
	t.Helper()
	der, err := i.encoder.sign(host, serial, notBefore, notAfter)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatalf("%v: %v", host, err)
	}
	template := templateOf(host, i.certificate.Subject.Organization, serial, notBefore, notAfter)
	der, err = x509.CreateCertificate(rand.Reader, template, i.certificate, &i.leafKey.PublicKey, i.key)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(ours.RawTBSCertificate, theirs.RawTBSCertificate) {
		t.Errorf("%v: ours\n%x\ntheirs\n%x", host, ours.RawTBSCertificate, theirs.RawTBSCertificate)
	}
	if ours.SignatureAlgorithm != theirs.SignatureAlgorithm {
		t.Errorf("signed with %v, want %v", ours.SignatureAlgorithm, theirs.SignatureAlgorithm)
	}
	if err := i.certificate.CheckSignature(ours.SignatureAlgorithm, ours.RawTBSCertificate, ours.Signature); err != nil {
		t.Errorf("%v: %v", host, err)
	}
}

func TestEncoder(t *testing.T) {
	now := time.Now()
	for _, i := range issuers(t) {
		for _, name := range []string{
			"zoom.us", "us", "_sip.us04web.zoom.us", "xn--mnchen-3ya.example", "192.0.2.7", "2001:db8::7",
			strings.Repeat("a", 56) + ".zoom.us", // as long as a common name may be
			strings.Repeat("a", 57) + ".zoom.us",
			strings.Repeat(strings.Repeat("a", 48)+".", 5) + "zoom.us",
		} {
			compare(t, i, mustHost(t, name), big.NewInt(now.UnixNano()), now, now.Add(leafLife))
		}
		for _, serial := range []int64{1, 127, 128, 255, 256} {
			compare(t, i, mustHost(t, "zoom.us"), big.NewInt(serial), now, now.Add(leafLife))
		}
		turn := time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC) // the last second of UTCTime
		compare(t, i, mustHost(t, "zoom.us"), big.NewInt(1), turn, turn.Add(time.Second))
	}
}

// FuzzEncoder writes certificates for any name and time.
func FuzzEncoder(f *testing.F) {
	all := issuers(f)
	f.Add("us04web.zoom.us", int64(1_800_000_000), []byte{1, 2, 3}, uint8(0))
	f.Add("2001:db8::1", int64(2_524_607_999), []byte{0x80}, uint8(1))
	f.Add("x.y", int64(0), []byte{0}, uint8(3))
	f.Fuzz(func(t *testing.T, name string, at int64, serial []byte, which uint8) {
		host, err := policy.ParseHost(name)
		notBefore := time.Unix(at, 0)
		number := new(big.Int).SetBytes(serial)
		if err != nil || !host.IsAddr() && !plainName(host.Name()) || number.Sign() <= 0 || len(serial) > 20 ||
			notBefore.Year() < 1950 || notBefore.Year() > 9000 {
			t.Skip("nothing that there could be a leaf of")
		}
		compare(t, all[int(which)%len(all)], host, number, notBefore, notBefore.Add(leafLife))
	})
}

func TestSerials(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		s, err := newSerial()
		if err != nil {
			t.Fatal(err)
		}
		if s.Sign() <= 0 || s.BitLen() != 127 || seen[s.String()] {
			t.Fatalf("serial %v", s)
		}
		seen[s.String()] = true
	}
}
