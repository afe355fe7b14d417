// Package upstream asks resolvers: over UDP, TCP, TLS, HTTPS and QUIC, by a
// strategy, around those that are ill, and each zone's own where it has some.
//
//	p, err := upstream.New(upstream.Config{
//		Servers:   []string{"tls://dns.example", "udp://192.0.2.1"},
//		Bootstrap: []string{"192.0.2.1"},
//		Forward:   []upstream.Zone{{Name: "corp.example", Servers: []string{"10.0.0.53"}}},
//	}, upstream.Dependencies{Log: log})
//	err = p.RefuseSelf(listeners)
//	answer, err := p.Ask(ctx, upstream.Query{Name: "\x03www\x07example\x00", Type: 1})
//	err = p.Close()
//
// It neither caches answers nor shares one query among several who ask the
// same: both is its caller's, and one flight per question also denies who
// forges answers the many open queries that make guessing likely (RFC 5452 §5).
//
// # The way of a query
//
//	pool.go       Ask: bounds, and the zone's group of resolvers
//	group.go      whom to ask, in which order, how often; race.go asks two
//	resolver.go   one try, and what is learnt from it; health.go keeps it
//	udp.go        a random socket of many; socket.go reads its answers
//	streams.go    a kept connection, TCP or TLS; stream.go is one of them
//	https.go      RFC 8484
//	quic.go       RFC 9250
//	response.go   whether a packet is the answer, and whether it is one to use
//
// Setting up is build.go: server.go reads what an admin wrote, endpoint.go and
// bootstrap.go find it on the network, self.go refuses the gateway itself.
//
// # Who can forge an answer
//
// Over UDP an answer must come from the server's address to one of many ports
// that change, with the query's id, its question, and the question's letters in
// the case that was drawn for them (0x20). What does not fit is passed over;
// when there is much of it on a socket, its queries go to TCP. A server that
// does not repeat letters is asked over TCP, and after three such answers in a
// row without this proof for an hour. Encrypted servers must prove the name or
// address that they are configured by (RFC 8310 §8.1); there is no mode without.
//
// Only NOERROR and NXDOMAIN are answers, and only when they are whole.
// SERVFAIL, REFUSED and the rest lead to the next resolver. EDNS is not
// negotiated: a server that does not know it (FORMERR) gives no answer.
//
// # Bounds
//
// Config.MaxInFlight Asks at a time, each within Config.Total. For one server
// 32 UDP sockets of at most 1,024 queries, 8 connections of at most 512 (32 of
// one for servers that take one query at a time), 4 HTTPS connections, one QUIC
// connection. A message is 65,535 bytes at most, over UDP 4,096. A resolver in
// back-off costs one query each time it ends, for which no client waits.
package upstream
