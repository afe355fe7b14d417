package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/sallyport/sallyport/policy"
)

const (
	// leafLife is how long a leaf is good for: longer than any client keeps a
	// block page open, shorter than anybody could make use of a stolen one.
	leafLife = 7 * 24 * time.Hour

	// leafRest is how much of it must be left where a leaf is used again.
	leafRest = 24 * time.Hour

	minRSA = 2048 // bits; what browsers take
)

// publishedKey is the SHA-256 of the public key of an authority whose private
// key everybody has: goproxy comes with it.
const publishedKey = "c012de113a81789eb5c392c0580156bbc281f9f93e07f08cafa3329672e6993b"

// issuer is an authority as its files had it at one time. Nothing of it changes
// but what is on its shelf.
type issuer struct {
	certificate *x509.Certificate
	key         crypto.Signer
	chain       [][]byte    // what clients are sent behind a leaf
	territories []territory // of the authority and of those above it
	files       [2]fs.FileInfo

	// Once it is prepared:
	leafKey *ecdsa.PrivateKey
	encoder *leafEncoder
	shelf   *shelf
}

// readIssuer reads an authority from its files.
func readIssuer(f Files) (*issuer, error) {
	pair, was, err := f.read()
	if err != nil {
		return nil, err
	}
	i, err := parseIssuer(pair)
	if err != nil {
		return nil, fmt.Errorf("read authority %q with private key %q: %w", f.Certificate, f.Key, err)
	}
	i.files = was
	return i, nil
}

// parseIssuer checks that a pair is an authority that can sign for servers.
func parseIssuer(p Pair) (*issuer, error) {
	pair, err := tls.X509KeyPair(p.Certificate, p.Key)
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("the key cannot sign: make one with sallyport ca init")
	}
	chain, err := parseChain(p.Certificate)
	if err != nil {
		return nil, err
	}
	i := &issuer{certificate: chain[0], key: key}
	for _, c := range chain {
		if err := maySign(c); err != nil {
			return nil, err
		}
		i.territories = append(i.territories, territoryOf(c))
		// Clients have the root, or else trust nothing of this.
		if !selfSigned(c) {
			i.chain = append(i.chain, c.Raw)
		}
	}
	return i, checkKey(chain[0].PublicKey)
}

// maySign says why a certificate cannot be above leaves for servers.
func maySign(c *x509.Certificate) error {
	servers := len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 ||
		slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
	switch {
	case !c.BasicConstraintsValid || !c.IsCA:
		return fmt.Errorf("certificate %q is not an authority's: make one with sallyport ca init", c.Subject)
	case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
		return fmt.Errorf("authority %q may not sign certificates (key usage): make one with sallyport ca init", c.Subject)
	case !servers:
		return fmt.Errorf("authority %q may not sign for servers (extended key usage): make one with sallyport ca init", c.Subject)
	case len(c.UnhandledCriticalExtensions) > 0:
		return fmt.Errorf("authority %q has the critical extension %s, which is not known here: make one with sallyport ca init", c.Subject, c.UnhandledCriticalExtensions[0])
	}
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	if hex.EncodeToString(sum[:]) == publishedKey {
		return fmt.Errorf("authority %q comes with a library, and everybody has its private key: make one with sallyport ca init", c.Subject)
	}
	return nil
}

func selfSigned(c *x509.Certificate) bool {
	return string(c.RawSubject) == string(c.RawIssuer) && c.CheckSignatureFrom(c) == nil
}

// checkKey refuses keys whose signatures browsers do not take.
func checkKey(public any) error {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() || k.Curve == elliptic.P384() {
			return nil
		}
		return fmt.Errorf("the key is on the curve %s, which browsers do not know: use P-256", k.Curve.Params().Name)
	case *rsa.PublicKey:
		if k.N.BitLen() >= minRSA {
			return nil
		}
		return fmt.Errorf("the key has %d bits: RSA needs %d, and P-256 is much faster", k.N.BitLen(), minRSA)
	default:
		return fmt.Errorf("a key of the kind %T is not known to browsers: use ECDSA P-256", public)
	}
}

// holds reports whether a leaf for host would be good, at a time.
func (i *issuer) holds(host policy.Host, now time.Time) bool {
	if now.Before(i.certificate.NotBefore) || now.After(i.certificate.NotAfter) || !host.IsAddr() && !plainName(host.Name()) {
		return false
	}
	for n := range i.territories {
		if !i.territories[n].holds(host) {
			return false
		}
	}
	return true
}

// prepare makes the issuer ready to sign, for the key that its leaves share.
func (i *issuer) prepare(leafKey *ecdsa.PrivateKey) error {
	encoder, err := newLeafEncoder(i.certificate, i.key, &leafKey.PublicKey)
	if err != nil {
		return err
	}
	i.leafKey, i.encoder = leafKey, encoder
	i.shelf = newShelf(maxLeaves, bucket{rate: leavesPerSecond, burst: leavesAtOnce})
	return nil
}

// sign makes a leaf for a host.
func (i *issuer) sign(host policy.Host, now time.Time) (*leaf, error) {
	notBefore := later(now.Add(-backdate), i.certificate.NotBefore)
	notAfter := earlier(now.Add(leafLife), i.certificate.NotAfter)
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	der, err := i.encoder.sign(host, serial, notBefore, notAfter)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	until := notAfter.Add(-leafRest)
	if !until.After(now) {
		until = notAfter // the authority ends, and its last leaves with it
	}
	return &leaf{
		certificate: &tls.Certificate{Certificate: append([][]byte{der}, i.chain...), PrivateKey: i.leafKey},
		until:       until,
	}, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
