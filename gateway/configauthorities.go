package gateway

import (
	"crypto/x509"
	"encoding/pem"
	"time"
)

// checkAuthorities looks at the file that clients' certificates are verified
// with.
func (f *configFile) checkAuthorities(setting, path string, now time.Time) {
	_, err := readAuthorities(path)
	f.fileTrouble(setting, path, "clients' certificates are verified with it", err)
	if err != nil {
		return
	}
	data, err := readPEM(path)
	if err != nil {
		return // it went away between two reads
	}
	signs := false
	for _, c := range certificatesIn(data) {
		if !maySign(c) {
			continue
		}
		signs = true
		if now.After(c.NotAfter) {
			f.problems.Warnf(f.at[setting], "%s: the authority %q in %q has expired on %s: no client is verified by it; put its successor into the file",
				setting, c.Subject, path, c.NotAfter.UTC().Format(time.RFC3339))
		}
	}
	if !signs {
		f.problems.Warnf(f.at[setting], "%s: %q holds no certificate authority: no client could be verified by it, but one whose own certificate stands there; name the file of the authority that signs clients' certificates",
			setting, path)
	}
}

// certificatesIn are the certificates in PEM data, without what is none.
func certificatesIn(data []byte) []*x509.Certificate {
	var all []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all, c)
		}
	}
	return all
}

// maySign reports whether a certificate may be the issuer of others, by the
// rule of x509.Certificate.CheckSignatureFrom (RFC 5280 §4.2.1.3, §4.2.1.9):
// before version 3 nothing in it could say so.
func maySign(c *x509.Certificate) bool {
	if c.Version >= 3 && !c.BasicConstraintsValid || c.BasicConstraintsValid && !c.IsCA {
		return false
	}
	return c.KeyUsage == 0 || c.KeyUsage&x509.KeyUsageCertSign != 0
}
