package main

import (
	"bytes"
	"encoding/pem"
	"fmt"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// minCertificates is far below what Mozilla trusts, and above what a bundle
// could hold by accident.
const minCertificates = 50

// certificates are Mozilla's authorities as PEM. They come from a module whose
// hash go.sum knows, and not from the machine that builds: one commit makes one
// image. An authority that Mozilla trusts on a condition (say, for certificates
// from before some day) is left out, since a PEM file cannot say the condition.
func certificates() ([]byte, error) {
	var (
		text  bytes.Buffer
		count int
	)
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if err := pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, fmt.Errorf("write the certificates as PEM: %w", err)
		}
		count++
	}
	if count < minCertificates {
		return nil, fmt.Errorf("the bundle holds %d authorities: at least %d were expected", count, minCertificates)
	}
	return text.Bytes(), nil
}
