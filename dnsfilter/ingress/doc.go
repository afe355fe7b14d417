// Package ingress is where DNS queries come in: sockets, connections and
// framing, and nothing of what a query means. A Door answers; the two meet in
// query.go.
//
//	set, err := ingress.Open(ctx, ingress.Config{Listen: []string{":53"}}, dependencies)
//	...
//	defer set.Close()
//	go func() { <-stop; set.Stop() }()
//	set.Serve(ctx, door)
//
// # Two ways to an answer
//
// A reader asks its Desk first, which answers from memory or not at all. What
// the Desk declines goes to Door.Respond in another goroutine, and its reply
// leaves when it is ready. So no query waits for one that is slower.
//
// # UDP
//
// On Linux as many sockets as there are cores share an address (SO_REUSEPORT),
// each with one reader that takes and answers packets in batches (recvmmsg,
// sendmmsg). Workers, a bounded number for all of them, do what the readers
// cannot do at once; when too many queries wait for them, the oldest is shed.
//
// # TCP, TLS, HTTPS, QUIC
//
// All connections belong to one crowd, which bounds them together and for each
// client. When it is full, the one that has been idle longest goes, so that
// those who open connections and say nothing shut out nobody else. A TCP
// connection that waits for its client holds no buffer. Queries under way,
// other than those of Desks, take one of a bounded number of slots: over TCP
// and TLS they wait for one, over HTTPS they get status 503, and over QUIC
// DOQ_EXCESSIVE_LOAD.
//
// Clients that may not ask at all (Dependencies.Known) are answered once, by
// which they learn of it, and hold a sixteenth of the connections at most. Those
// that prove who they are may ask from anywhere, as often as others. Until then,
// through a handshake or to the first request over HTTPS, they are among those
// that may yet do so, which hold as many; and whoever comes when such places are
// taken gets that of the one that has been idle longest.
//
// # Whom a query is from
//
// The address of the socket, unless it is a listed proxy's: then the PROXY
// protocol header, which must be there (version 1 or 2; over UDP version 2).
// HTTP's forwarding headers are never read. A Peer is proven by a client
// certificate that the listener asked for, or over HTTPS by an id behind the
// path that Dependencies.PathPeer has verified; where there are both, the
// certificate counts.
package ingress
