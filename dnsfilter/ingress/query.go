package ingress

import (
	"context"
	"net/netip"
	"time"
)

// Transport is the protocol that a query came in by.
type Transport uint8

// The transports.
const (
	UDP   Transport = iota // RFC 1035
	TCP                    // RFC 7766
	TLS                    // RFC 7858
	HTTPS                  // RFC 8484, over HTTP/2 and HTTP/3
	QUIC                   // RFC 9250
	TransportCount
)

// String is the transport's name in decisions and metric labels.
func (t Transport) String() string {
	switch t {
	case UDP:
		return "udp"
	case TCP:
		return "tcp"
	case TLS:
		return "tls"
	case HTTPS:
		return "https"
	case QUIC:
		return "quic"
	default:
		return "unknown"
	}
}

// Encrypted reports whether nobody on the way can read the query; replies are
// then padded where the client pads (RFC 8467).
func (t Transport) Encrypted() bool { return t == TLS || t == HTTPS || t == QUIC }

// Stream reports whether a reply may be as long as DNS allows, and whether the
// client has shown that its address is its own.
func (t Transport) Stream() bool { return t != UDP }

// Peer is who a client has proven to be, once a connection: by its certificate
// or by a signed DoH path. It is shared by the connection's queries and must
// not be changed.
type Peer struct {
	User    string   // lower case; empty where the proof names none
	Devices []string // lower case
	Source  string   // certificate or path
}

// Query is one query as it came in. The bytes are the reader's: whoever
// answers must not keep them.
type Query struct {
	Wire      []byte
	Client    netip.AddrPort // who asks; behind a trusted proxy, whom it names (PROXY protocol)
	Transport Transport
	Peer      *Peer // nil where nothing was proven

	// Arrived is when the query was read, for Door.Respond alone: a Desk has
	// the time from Begin, and its queries do not wait. Those that came
	// together share one look at the clock.
	Arrived time.Time
}

// Door is what answers queries: the seam between sockets and DNS. An ingress
// knows nothing of DNS beyond framing, and the door nothing of sockets. Safe
// for concurrent use.
type Door interface {
	// Desk gives one reader a Desk of its own.
	Desk() Desk

	// Respond answers a query, waiting for upstreams where it must, into dst's
	// memory where the reply fits; nil means to say nothing. It returns when
	// ctx ends, if not before.
	Respond(ctx context.Context, q *Query, dst []byte) (reply []byte)
}

// Desk answers what can be answered at once: it never waits and does not
// allocate. One goroutine uses it. A reader calls Begin when queries have
// arrived, Try for each of them, and End once their replies are sent; time is
// taken at Begin and at End, so that a batch costs two looks at the clock.
type Desk interface {
	Begin()
	// Try answers into dst's memory where the reply fits. A nil reply that is
	// done means to say nothing; one that is not done goes to Door.Respond,
	// and nothing of it has been counted yet.
	Try(q *Query, dst []byte) (reply []byte, done bool)
	End()
}

// Reasons for which a packet or connection was shed, as metric labels.
const (
	ShedMalformed         = "malformed"          // no header, a response, an impossible length
	ShedBusy              = "busy"               // too many queries under way
	ShedConnections       = "connections"        // too many connections
	ShedClientConnections = "client_connections" // too many from one client
	ShedProxyHeader       = "proxy_header"       // a PROXY header that is missing, broken or not trusted
	ShedHandshake         = "handshake"          // TLS or QUIC did not come about
	ShedDevicePath        = "device_path"        // a DoH path whose signature is not ours
)

// Address is a bound listener.
type Address struct {
	Name string // "dns udp", "dns tcp", "dns tls", "dns https", "dns quic"
	Addr string // host:port
}
