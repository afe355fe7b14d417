// Package relay carries the bytes of tunnels between two connections, and keeps
// out of the way of those that say nothing.
//
//	r, err := relay.New(relay.Config{Idle: time.Hour})
//	...
//	flow, err := r.Start(relay.Ends{Client: client, Upstream: upstream}, early, handler)
//	...
//	flow.End()      // from any goroutine, at any moment; handler.Ended follows
//	...
//	err = r.Close() // ends what is left, and waits
//
// A [Handler] is told of everything: it judges what the client says first
// ([Handler.Greet]), counts what moves ([Handler.Moved]) and learns once, at the
// end, how it ended ([Handler.Ended]).
//
// # Nobody waits
//
// The two directions of a flow, its ways, are worked for only while there is
// something to do. A way that can neither read nor write is parked: the
// descriptor that it waits for is armed in an epoll set, and nothing remains but
// a struct of a few hundred bytes and the two connections. There are as many
// sets as cores, each with one goroutine that wakes ways, and waits through the
// runtime's own poller, so that it takes no thread.
//
// A small burst, one read and one write, is carried by that goroutine itself.
// Everything else gets a goroutine of its own, until there is nothing more to
// do: a lot of data, a greeting, a paced flow.
//
// # Buffers and pipes
//
// They are taken from pools when there is something to read, and given back
// when there is nothing more. Where a read fills its buffer, splice(2) takes
// over, through a pipe of a bounded number; without a free one, a larger buffer
// does the same work at more cost. What a slow destination does not take stays
// in its pipe or buffer for a second, and then moves to memory of its size.
//
// # Time
//
// One goroutine sweeps a few times a second: it reminds greetings that take too
// long, takes pipes from stalled ways, and now and then ends flows that have
// been idle. It keeps the clock that the data path reads, so that moving bytes
// asks the system for no time, sets no deadline and arms no timer. Limits never
// fall short; they are exceeded by two sweeps at most, and Config.Idle by a
// sixteenth, or ten seconds if that is less.
//
// # The greeting
//
// What a client sends first goes to Handler.Greet, piece by piece, until it says
// [Carry]. What the upstream says meanwhile goes down at once, so that protocols
// in which the server speaks first do not wait. A client that says nothing is
// parked like any other.
//
// # Ends that are no bare TCP connections
//
// An end may be any [Stream]: a TLS connection, a stream of HTTP/2. A way that
// reads from one has a goroutine as long as it lasts, waits with a small
// buffer, and copies. A way that reads from a TCP connection is parked while
// there is nothing to read, wherever it leads. Anything but a *net.TCPConn itself is such a Stream, even if it
// embeds one: hand over the TCP connection that is inside.
//
// # Where it runs
//
// Parking and splice(2) need Linux. Elsewhere every end is treated as a Stream.
package relay
