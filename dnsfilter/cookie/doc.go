// Package cookie makes and checks DNS cookies: proof that a client who asks
// over UDP receives what is sent to its address (RFC 7873). Server cookies
// are made as RFC 9018 says, so that every server that shares the secret, of
// whatever make, knows the others' cookies.
//
//	secrets, err := cookie.ReadSecrets("cookie.secret")
//	jar := cookie.New(secrets...)
//
//	proven := jar.Check(client, server, addr, now).Valid
//	option := jar.Make(client, addr, now) // client and server cookie, 24 bytes
//
// A reply has a new cookie, whatever the query had. The package knows nothing of messages: its caller finds the option in the query (code 10,
// RFC 7873 §4), and decides what a client without a valid cookie gets.
package cookie
