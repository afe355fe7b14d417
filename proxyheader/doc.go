// Package proxyheader reads the header of the PROXY protocol, in which a load
// balancer says for whom it has connected (HAProxy's specification,
// https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt), in both of its
// versions:
//
//	client, err := proxyheader.Read(conn)       // a stream: not a byte more than the header
//	client, n, err := proxyheader.Parse(packet) // a datagram: version 2
//
// Whoever may connect can write such a header. It is for the caller to ask for
// one from listed peers only, and then always, and to bound the time.
package proxyheader
