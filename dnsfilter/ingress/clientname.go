package ingress

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
)

// sourceCertificate is the Source of a Peer that a certificate names.
const sourceCertificate = "certificate"

// maxNames is how many names of one certificate are taken, and maxNameBytes
// how long one may be.
const (
	maxNames     = 16
	maxNameBytes = 253
)

// peerOf is whom a connection's verified client certificate names; nil where
// there is none, or none that was verified.
func peerOf(state tls.ConnectionState) *Peer {
	if len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return nil
	}
	return CertificatePeer(state.VerifiedChains[0][0])
}

// CertificatePeer is whom a client certificate names: as user its first e-mail
// address, as devices its DNS names, or its common name where it has none (RFC
// 5280 §4.2.1.6). Names are taken in lower case; those that hold spaces or
// control characters are not taken. It returns nil where there is no name. The
// certificate must have been verified: nothing here checks it.
func CertificatePeer(certificate *x509.Certificate) *Peer {
	peer := Peer{Source: sourceCertificate}
	if users := plainNames(certificate.EmailAddresses); len(users) > 0 {
		peer.User = users[0]
	}
	peer.Devices = plainNames(certificate.DNSNames)
	if len(certificate.DNSNames) == 0 {
		peer.Devices = plainNames([]string{certificate.Subject.CommonName})
	}
	if peer.User == "" && len(peer.Devices) == 0 {
		return nil
	}
	return &peer
}

// plainNames is the names that can be used as such, in lower case.
func plainNames(names []string) []string {
	var plain []string
	for _, name := range names {
		if len(plain) == maxNames {
			break
		}
		if name == "" || len(name) > maxNameBytes || strings.ContainsFunc(name, unprintable) {
			continue
		}
		plain = append(plain, strings.ToLower(name))
	}
	return plain
}

func unprintable(r rune) bool { return r <= ' ' || r >= 0x7F && r <= 0xA0 || r == '\uFFFD' }
