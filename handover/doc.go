// Package handover lets one process take over the listening sockets of another
// without a client noticing, and speaks with systemd about it.
//
// Sockets is where a process's listening sockets come from, and where they go:
//
//	sockets, err := handover.Inherit() // first of all: it reads and clears the environment
//	...
//	listener, err := sockets.Listen(ctx, &net.ListenConfig{}, "proxy http", "127.0.0.1:3128")
//	...
//	unused, err := sockets.Settle()    // everything listens
//	err = sockets.Ready()              // the old process may go
//	...
//	next, err := sockets.HandOver(ctx, program) // a new one has taken over: stop accepting, drain
//
// A listener gets its socket from one of three places: from systemd (socket
// activation), from the process that ran before, or from the kernel, now.
//
// # From systemd
//
// systemd says with LISTEN_PID and LISTEN_FDS that sockets wait as descriptors 3
// and following (sd_listen_fds(3)). Which is for which listener is told by the
// address that each is bound to, its type and its family, as the kernel says it;
// names (LISTEN_FDNAMES) only help people to find the line in the unit. A socket
// that no listener asks for is an error: systemd would let clients connect to it
// for ever, and nobody would answer them.
//
// # From the process before
//
// HandOver starts a program, most often the same one from its file on disk, with
// a duplicate of every socket in use, and waits until it says that it serves. In
// between both serve: the sockets are the same ones, so that a connection that
// waits in a queue is accepted by the one or the other, and a datagram read by
// the one or the other, whatever becomes of either. A program that fails is
// ended, and nothing has changed.
//
// Sockets are recognised by their address and type. Where the configuration
// leaves the port to the kernel, the name of the listener and the address as it
// is written decide, so that the port stays what it was. A socket that the new
// process has no use for is closed: its address is no longer configured.
//
// Nothing here calls shutdown(2) on a socket, which would end it for both
// processes, nor changes whether it blocks, which both see.
//
// # What cannot be shared
//
// Connections over TCP belong to the kernel, those of QUIC to the process that
// made them: of a socket that two processes read, each gets packets of the
// other's connections. So a socket from ListenAlone is read by one process at a
// time: the new one begins when the old one has closed it. What comes in between
// waits in the kernel. With Secret, which all processes share, the new one can tell
// clients of the old one that their connection is no more (RFC 9000 §10.3).
//
// Other things that two processes cannot have at a time, such as a file that one
// rewrites, are held (Hold), and the new process waits for them (Left).
//
// # The conversation
//
// Old and new process share a pair of connected sockets, whose number is in
// SALLYPORT_HANDOVER. Each message is a line of JSON: first the old one's list of
// sockets, then the new one's "ready" or "failed", then the old one's "left", for
// each thing that it held.
// Members that are not known are ignored, so that versions can differ; one that
// knows nothing of all this finds its addresses taken, and fails.
//
// Own code and not a library: those that exist keep one socket an address, while
// a UDP listener here has one a core, and know nothing of systemd's sockets.
//
// # systemd's notifications
//
// Notifier is the sending half of sd_notify(3): ready, reloading, stopping, the
// watchdog, and which process is the main one.
package handover
