package servercert

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
)

// maxNames is how many names of one certificate are taken, and maxNameBytes
// how long one may be.
const (
	maxNames     = 16
	maxNameBytes = 253
)

// Client is whom a client's certificate names.
type Client struct {
	User    string   // lower case; empty: no user
	Devices []string // lower case
}

// ClientOf is whom a connection's client certificate names; false where there is
// none, none that was verified, or none with a name in it.
func ClientOf(state tls.ConnectionState) (Client, bool) {
	if len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return Client{}, false
	}
	return clientIn(state.VerifiedChains[0][0])
}

// clientIn is whom a certificate names: as user its first e-mail address, as
// devices its DNS names, or its common name where it has none (RFC 5280
// §4.2.1.6). Names are taken in lower case; those that hold spaces or control
// characters are not taken.
func clientIn(certificate *x509.Certificate) (Client, bool) {
	var client Client
	if users := plainNames(certificate.EmailAddresses); len(users) > 0 {
		client.User = users[0]
	}
	client.Devices = plainNames(certificate.DNSNames)
	if len(certificate.DNSNames) == 0 {
		client.Devices = plainNames([]string{certificate.Subject.CommonName})
	}
	return client, client.User != "" || len(client.Devices) > 0
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
