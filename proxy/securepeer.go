package proxy

import (
	"crypto/tls"

	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/servercert"
)

// Peer is who a client has proven to be by its certificate.
type Peer struct {
	User    string   // lower case; empty: no user
	Devices []string // lower case; not to be changed
	Source  string   // of the proof, for the log
}

// sourceCertificate is the source of what a certificate proves. Where a password
// names the user, its own source comes first, with a plus sign between.
const sourceCertificate = "certificate"

// peerOf is whom a connection's client certificate names; nil: nobody.
func peerOf(state tls.ConnectionState) *Peer {
	client, ok := servercert.ClientOf(state)
	if !ok {
		return nil
	}
	return &Peer{User: client.User, Devices: client.Devices, Source: sourceCertificate}
}

// proven is the subject of a client that has shown a certificate: its devices
// and its user. A user with a password, whom bySecret names, comes before the
// certificate's.
func (x *exchange) proven(bySecret policy.Subject) policy.Subject {
	if x.peer == nil {
		return bySecret
	}
	peer := *x.peer
	if bySecret.User != "" {
		peer.User, peer.Source = bySecret.User, bySecret.Source+"+"+peer.Source
	}
	return x.server.dependencies.IdentifyPeer(x.client, peer)
}
