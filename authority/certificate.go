package authority

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

// parseCertificate reads the first certificate in PEM data, which may hold
// others behind it, or a certificate in DER form.
func parseCertificate(data []byte) (*x509.Certificate, error) {
	chain, err := parseChain(data)
	if err != nil {
		return nil, err
	}
	return chain[0], nil
}

// ReadCertificate reads the first certificate in a PEM file, or the one in a DER
// file. No key is needed.
func ReadCertificate(path string) (*x509.Certificate, error) {
	data, _, err := readFile(path)
	if err != nil {
		return nil, err
	}
	c, err := parseCertificate(data)
	if err != nil {
		return nil, fmt.Errorf("read certificate %q: %w", path, err)
	}
	return c, nil
}

// maxChain bounds the certificates between a leaf and the root.
const maxChain = 8

// parseChain reads a certificate and those behind it; there is one at least.
func parseChain(data []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		if chain = append(chain, c); len(chain) > maxChain {
			return nil, fmt.Errorf("more than %d certificates: keep the authority's own, and those between it and the root", maxChain)
		}
	}
	if len(chain) > 0 {
		return chain, nil
	}
	c, err := x509.ParseCertificate(data)
	if err != nil {
		return nil, fmt.Errorf("no certificate in it: it must be PEM or DER")
	}
	return []*x509.Certificate{c}, nil
}
