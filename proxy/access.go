package proxy

import (
	"net/netip"
	"time"
)

// Access is one exchange with a client that is over, as access logs tell it: a
// refusal, a request that was answered, a tunnel that has ended. There is one
// for each request that a client made, also where only its beginning came or it
// could not be read. Unlike a policy.Decision it says how
// the exchange went, and not why.
//
// What the client chose (method, URL, user, headers) is as it came, and may
// hold any bytes: whoever writes it down escapes it.
type Access struct {
	// End is when the client had its answer, or when the tunnel was closed.
	End time.Time

	// Duration is from when the request's head was read to End.
	Duration time.Duration

	// Client is who asked, and User the name it has proven; empty: none.
	Client netip.Addr
	User   string

	// Outcome is how the exchange ended.
	Outcome Outcome

	// ClientLeft says that the client went away before its answer was whole. A
	// tunnel may end by any side and has no such thing.
	ClientLeft bool

	// Status is that of the last answer that the client was sent: 200 for a
	// tunnel, also in a protocol that has no such numbers; 0: none was.
	Status int

	// Sent is how many bytes the client was sent, heads included. SentBody is
	// without the heads: bodies, and what a tunnel carries.
	Sent, SentBody int64

	// Method is that of the request, CONNECT for every kind of tunnel but a
	// WebSocket. URL is what was asked for: for a CONNECT the canonical host and
	// port, as in example.com:443 or [2001:db8::1]:443, else the scheme,
	// the canonical host, the port where it is not the scheme's own, and path (a
	// / at least) and query as they came. What made no sense is as it came.
	// Credentials in it are left out by whoever writes it down. Either is empty
	// where it could not be read.
	Method, URL string

	// Major and Minor are the version of HTTP in which the client asked; both
	// 0: it did not ask in HTTP.
	Major, Minor int

	// Server is the address that was connected to, or tried last; the zero
	// Addr: none was. Parent says that it is another proxy's.
	Server netip.Addr
	Parent bool

	// ContentType is that of the answer, Referer and UserAgent those of the
	// request; empty: there was none.
	ContentType, Referer, UserAgent string
}

// Outcome is how an exchange ended.
type Outcome uint8

// The outcomes.
const (
	// OutcomeUnread: no request came, or none that could be read.
	OutcomeUnread Outcome = iota

	// OutcomeRefused: the policy, the list of clients, the list of networks or
	// the missing name of a user stood against it. A tunnel is refused with
	// status 200 where what it began with was the reason.
	OutcomeRefused

	// OutcomeFailed: it was allowed, and the answer is ours all the same. The
	// origin was not found, not reached or made no sense, or we were busy.
	OutcomeFailed

	// OutcomeForwarded: the client got the origin's answer, or its beginning.
	OutcomeForwarded

	// OutcomeTunnelled: a tunnel was open, a WebSocket's included.
	OutcomeTunnelled
)
