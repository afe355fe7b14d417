package main

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/sallyport/sallyport/authority"
)

// authorityResult is what there is to know of an authority's certificate.
type authorityResult struct {
	Subject           string    `json:"subject"`
	Issuer            string    `json:"issuer"`
	SelfSigned        bool      `json:"self_signed"`
	Serial            string    `json:"serial"` // hexadecimal
	SHA256            string    `json:"sha256"` // of the certificate, as dialogs show it
	Key               string    `json:"key"`
	NotBefore         time.Time `json:"not_before"`
	NotAfter          time.Time `json:"not_after"`
	Permitted         []string  `json:"permitted"` // empty: every name
	Excluded          []string  `json:"excluded"`
	PermittedNetworks []string  `json:"permitted_networks"` // empty: every address that is not excluded
	ExcludedNetworks  []string  `json:"excluded_networks"`
	Beyond            []string  `json:"beyond,omitempty"` // refused by the policy, and not permitted
	Warnings          []string  `json:"warnings"`
}

func describeAuthority(c *x509.Certificate, now time.Time) authorityResult {
	return authorityResult{
		Subject:           c.Subject.String(),
		Issuer:            c.Issuer.String(),
		SelfSigned:        string(c.RawSubject) == string(c.RawIssuer),
		Serial:            c.SerialNumber.Text(16),
		SHA256:            fingerprint(c),
		Key:               keyText(c.PublicKey),
		NotBefore:         c.NotBefore.UTC(),
		NotAfter:          c.NotAfter.UTC(),
		Permitted:         orEmpty(c.PermittedDNSDomains),
		Excluded:          orEmpty(c.ExcludedDNSDomains),
		PermittedNetworks: networkTexts(c.PermittedIPRanges),
		ExcludedNetworks:  networkTexts(c.ExcludedIPRanges),
		Warnings:          orEmpty(authority.Warnings(c, now)),
	}
}

// fingerprint is the SHA-256 of a certificate in the form in which operating
// systems and browsers show it, for comparing.
func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	pairs := make([]string, len(sum))
	for i, b := range sum {
		pairs[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(pairs, ":")
}

func keyText(public any) string {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Curve.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	default:
		return fmt.Sprintf("%T", public)
	}
}

func networkTexts(networks []*net.IPNet) []string {
	texts := make([]string, 0, len(networks))
	for _, n := range networks {
		texts = append(texts, n.String())
	}
	return texts
}
