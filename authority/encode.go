package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/sallyport/sallyport/policy"
)

// leafEncoder writes the certificates of leaves (RFC 5280 §4.1). All are alike
// but for name, serial and time. x509.CreateCertificate makes the same bytes,
// and then verifies its own signature, for more than twice the price of signing:
// a test holds the two against each other.
type leafEncoder struct {
	signer    crypto.Signer
	hash      crypto.Hash
	algorithm []byte   // AlgorithmIdentifier of the signature
	issuer    []byte   // Name
	owner     []string // organisations in the subject
	key       []byte   // SubjectPublicKeyInfo of every leaf
	keyID     []byte   // of the issuer; empty: it has none
}

// newLeafEncoder prepares what is the same in all leaves of an authority.
func newLeafEncoder(c *x509.Certificate, signer crypto.Signer, leafKey *ecdsa.PublicKey) (*leafEncoder, error) {
	key, err := x509.MarshalPKIXPublicKey(leafKey)
	if err != nil {
		return nil, fmt.Errorf("encode the key of leaves: %w", err)
	}
	e := &leafEncoder{signer: signer, issuer: c.RawSubject, owner: c.Subject.Organization, key: key, keyID: c.SubjectKeyId}
	var b cryptobyte.Builder
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		switch k := signer.Public().(type) {
		case *ecdsa.PublicKey:
			e.hash = crypto.SHA256
			oid := asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2} // ecdsa-with-SHA256, RFC 5758 §3.2
			if k.Curve == elliptic.P384() {
				e.hash, oid[6] = crypto.SHA384, 3
			}
			b.AddASN1ObjectIdentifier(oid)
		default: // RSA: checkKey lets no other through
			e.hash = crypto.SHA256
			b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}) // RFC 8017 appendix A.2.4
			b.AddASN1NULL()
		}
	})
	e.algorithm, err = b.Bytes()
	return e, err
}

// newSerial is a random serial number (RFC 5280 §4.1.2.2): 127 bits and never 0.
func newSerial() (*big.Int, error) {
	var bits [16]byte
	if _, err := rand.Read(bits[:]); err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	bits[0] = bits[0]&0x7f | 0x40
	return new(big.Int).SetBytes(bits[:]), nil
}

// sign gives the certificate for a host.
func (e *leafEncoder) sign(host policy.Host, serial *big.Int, notBefore, notAfter time.Time) ([]byte, error) {
	tbs, err := e.toBeSigned(host, serial, notBefore, notAfter)
	if err != nil {
		return nil, err
	}
	digest := e.hash.New()
	digest.Write(tbs)
	signature, err := e.signer.Sign(rand.Reader, digest.Sum(nil), e.hash)
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddBytes(e.algorithm)
		b.AddASN1BitString(signature)
	})
	return b.Bytes()
}

// toBeSigned is the TBSCertificate.
func (e *leafEncoder) toBeSigned(host policy.Host, serial *big.Int, notBefore, notAfter time.Time) ([]byte, error) {
	subject := pkix.Name{Organization: e.owner}
	if name := host.String(); len(name) <= maxCommonName {
		subject.CommonName = name // for people; clients read the alternative name
	}
	encoded, err := asn1.Marshal(subject.ToRDNSequence())
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(explicit(0), func(b *cryptobyte.Builder) { b.AddASN1Int64(2) }) // version 3
		b.AddASN1BigInt(serial)
		b.AddBytes(e.algorithm)
		b.AddBytes(e.issuer)
		b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addTime(b, notBefore)
			addTime(b, notAfter)
		})
		b.AddBytes(encoded)
		b.AddBytes(e.key)
		b.AddASN1(explicit(3), func(b *cryptobyte.Builder) {
			b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) { e.addExtensions(b, host) })
		})
	})
	return b.Bytes()
}

// addExtensions adds what RFC 5280 §4.2.1 and TLS want of a server's certificate.
func (e *leafEncoder) addExtensions(b *cryptobyte.Builder, host policy.Host) {
	addExtension(b, 15, true, func(b *cryptobyte.Builder) { // key usage: digitalSignature
		b.AddASN1(cryptobyteasn1.BIT_STRING, func(b *cryptobyte.Builder) { b.AddBytes([]byte{7, 0x80}) })
	})
	addExtension(b, 37, false, func(b *cryptobyte.Builder) { // extended key usage: serverAuth
		b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1})
		})
	})
	addExtension(b, 19, true, func(b *cryptobyte.Builder) { // basic constraints: no authority
		b.AddASN1(cryptobyteasn1.SEQUENCE, func(*cryptobyte.Builder) {})
	})
	if len(e.keyID) > 0 {
		addExtension(b, 35, false, func(b *cryptobyte.Builder) { // authority key identifier
			b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(implicit(0), func(b *cryptobyte.Builder) { b.AddBytes(e.keyID) })
			})
		})
	}
	addExtension(b, 17, false, func(b *cryptobyte.Builder) { // subject alternative name
		b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			if host.IsAddr() {
				b.AddASN1(implicit(7), func(b *cryptobyte.Builder) { b.AddBytes(host.Addr().AsSlice()) })
				return
			}
			b.AddASN1(implicit(2), func(b *cryptobyte.Builder) { b.AddBytes([]byte(host.Name())) })
		})
	})
}

// addExtension adds one of the extensions under id-ce (RFC 5280 §4.2.1).
func addExtension(b *cryptobyte.Builder, number int, critical bool, value cryptobyte.BuilderContinuation) {
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{2, 5, 29, number})
		if critical {
			b.AddASN1Boolean(true)
		}
		b.AddASN1(cryptobyteasn1.OCTET_STRING, value)
	})
}

// addTime adds a time in the form that its year wants (RFC 5280 §4.1.2.5).
func addTime(b *cryptobyte.Builder, t time.Time) {
	if t = t.UTC(); t.Year() < 2050 {
		b.AddASN1UTCTime(t)
		return
	}
	b.AddASN1GeneralizedTime(t)
}

func explicit(tag uint8) cryptobyteasn1.Tag {
	return cryptobyteasn1.Tag(tag).ContextSpecific().Constructed()
}

func implicit(tag uint8) cryptobyteasn1.Tag { return cryptobyteasn1.Tag(tag).ContextSpecific() }
