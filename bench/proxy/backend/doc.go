//go:build linux

// Command backend is what tunnels and requests of the load generator lead to: a
// server that echoes one byte and closes, one that echoes and stays, a small
// page in the clear and over TLS, and a stream without end whose every byte can
// be told from its place. It listens on loopback only:
//
//	backend -at 127.0.0.1 -port 19000
//
// Its ports follow each other: package bench/proxy/plan names them.
package main
