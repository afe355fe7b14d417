// Package testpki makes certificates for tests: of servers on 127.0.0.1, and of
// clients that prove who they are.
//
//	root := testpki.New(t, "root")
//	certificate, key := root.ServerFiles(t)
//	config := &tls.Config{RootCAs: root.Pool()}
//
// Nothing but tests uses it.
package testpki
