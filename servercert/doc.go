// Package servercert keeps the certificate that a TLS listener shows, and whom
// it wants certificates from:
//
//	store, err := servercert.Load(servercert.Files{Certificate: "dns.crt", Key: "dns.key"}, log)
//	conn := tls.Server(accepted, store.ServerConfig("h2", "http/1.1"))
//	...
//	client, ok := servercert.ClientOf(conn.ConnectionState())
//
// The files are read again when they have changed: a certificate is renewed by
// replacing them, with no restart and without disturbing anybody.
package servercert
