// Package authority signs the certificates with which the gateway shows a
// block or coaching page over HTTPS, in the name of a site that the policy
// has refused already. It is for that and for nothing else: whoever calls it
// has a verdict that refuses, so that allowed traffic is never decrypted.
//
// [Create] makes an authority and [Pair.Write] puts it into two files. It is a
// certificate that the organisation's computers are told to trust, and a key
// that stays with the gateway. Its name constraints (RFC 5280 §4.2.1.10) say
// what it can ever sign for; [ReachOf] finds the names that a policy refuses,
// so that it can sign for these and no others.
//
// [Load] reads the two files, and again when they change:
//
//	a, err := authority.Load(authority.Files{Certificate: "ca.crt", Key: "ca.key"}, authority.Dependencies{
//		Registerer: registry,
//		Log:        log,
//	})
//	...
//	if a.Covers(name) {
//		// An explicit proxy says 200 only now, and then reads the ClientHello.
//	}
//	if !a.Serve(ctx, conn, hello, name, page) {
//		// Nothing was sent and nothing was read: refuse as without an authority.
//	}
//
// # A page over HTTPS
//
// Serve takes a connection whose ClientHello has been read, and the bytes of
// it. It does the TLS handshake with a certificate for the name, answers a few
// requests with the page, and closes. Every step has an end: the handshake, a
// request, its size, the number of requests and the whole. A client that does
// not trust the authority breaks off, which is counted and does no harm.
//
// # Leaves
//
// A leaf is an ECDSA P-256 certificate for exactly one name, good for a few
// days. All share one key that never leaves the process, so that a new name
// costs one signature; they are kept for thousands of names, signed once
// however many clients ask at the same time, and signed at a bounded rate, so
// that made-up names cannot use up the processor.
package authority
