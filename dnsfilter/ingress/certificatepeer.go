package ingress

import (
	"crypto/tls"

	"github.com/sallyport/sallyport/servercert"
)

// sourceCertificate is the Source of a Peer that a certificate names.
const sourceCertificate = "certificate"

// peerOf is whom a connection's verified client certificate names; nil where
// there is none.
func peerOf(state tls.ConnectionState) *Peer {
	client, ok := servercert.ClientOf(state)
	if !ok {
		return nil
	}
	return &Peer{User: client.User, Devices: client.Devices, Source: sourceCertificate}
}
