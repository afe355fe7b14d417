// Package relay carries the bytes of tunnels between two connections, and keeps
// out of the way of those that say nothing.
//
//	r, err := relay.New(relay.Config{Idle: time.Hour})
//	...
//	flow, err := r.Start(relay.Ends{Client: client, Upstream: upstream}, early, handler)
//	...
//	flow.End()     // from any goroutine, at any moment; handler.Ended follows
//	...
//	err = r.Close() // ends what is left, and waits
//
// A [Handler] is told of everything: it judges what the client says first
// ([Handler.Greet]), counts what moves ([Handler.Moved]) and learns once, at the
// end, how it ended ([Handler.Ended]).
//
// # A flow that is busy
//
// Each of its two directions has a goroutine, which waits on the runtime's own
// poller with nothing in its hands: a buffer is taken from a pool when there is
// something to read, and given back when there is nothing more. Where a read
// fills its buffer, splice(2) takes over, through a pipe from a bounded pool;
// it is given back when there is nothing more, too. Without a free pipe, a
// larger buffer does the same work at more cost.
//
// A destination that does not read stops its direction. When that lasts, what
// was on its way is put into memory of exactly its size, and pipe and buffer
// go back.
//
// # A flow that is quiet
//
// After Config.Quiet without a byte, a direction is parked: its goroutine ends,
// and the descriptor that it waits for goes into an epoll set of the relay's
// own. The flow is then a struct of a few hundred bytes and its two
// connections. One goroutine waits on the set, through the runtime's poller,
// and starts a direction's goroutine again when its descriptor has something
// to say. The two directions of a flow park and wake apart.
//
// # Time
//
// One goroutine sweeps over the flows a few times a second: it sends quiet
// directions to park, reminds greetings that took too long, and ends flows that
// have been idle. It keeps the clock that the data path reads, so that moving
// bytes asks the system for no time, and arms no timer. Limits are therefore
// kept to within two sweeps, and never fall short.
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
// An end may be any [Stream]: a TLS connection, a stream of HTTP/2. A direction
// that reads from one has a goroutine as long as it lasts, waits with a small
// buffer, and copies. A direction that reads from a TCP connection parks
// wherever it leads. Anything but a *net.TCPConn itself is such a Stream, even
// if it embeds one: hand over the TCP connection that is inside.
//
// # Where it runs
//
// Parking and splice(2) need Linux. Elsewhere every end is treated as a Stream.
package relay
