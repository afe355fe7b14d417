package localdata

import "net/netip"

// Config is what a Data is made of. The zero Config answers for special-use
// names only.
type Config struct {
	// Records are lines in zone-file form (RFC 1035 §5.1), each complete in
	// itself: owner, TTL (300 where it is left out; 3600 in $GENERATE, as miekg/dns
	// has it), class, type and data. Names
	// are absolute with or without a final dot. $INCLUDE is refused.
	Records []string

	// Hosts are paths of files in hosts(5) form.
	Hosts []string

	// Designated is what clients are told of our own encrypted listeners.
	Designated Designated

	// Forwarded are the zones that have resolvers of their own. Special-use
	// zones at or below them are left to those resolvers, as in BIND; Unbound
	// wants `nodefault` for the same.
	Forwarded []string

	// PrivateUpstreams says that the upstreams belong to this network and know
	// its own zones: home.arpa (RFC 8375) and the reverse zones of private
	// addresses are then theirs. Otherwise they are answered here, as RFC 6303 §3
	// asks and Unbound does unless it is told `unblock-lan-zones`.
	PrivateUpstreams bool
}

// Designated describes encrypted listeners for Discovery of Designated
// Resolvers (RFC 9462). Without a name or without endpoints there are none.
type Designated struct {
	Name      string       // in the listeners' certificates
	Addrs     []netip.Addr // of that name; given as hints
	Endpoints []Endpoint   // the one that clients should prefer first
}

// The transports of an Endpoint.
const (
	TransportTLS   = "tls"   // RFC 7858
	TransportHTTPS = "https" // RFC 8484
	TransportQUIC  = "quic"  // RFC 9250
)

// Endpoint is one encrypted listener.
type Endpoint struct {
	Transport string // tls, https or quic
	Port      uint16
	Path      string // of https: where queries go, "/dns-query"
	HTTP3     bool   // of https: it speaks HTTP/3 too
}
